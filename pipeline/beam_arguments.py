"""`beam_args` of the config on their way to Beam, with `${NAME}` replaced as late as can be.

TFX gets placeholders, which its launcher resolves when it starts an executor: what it stores and logs of a pipeline has
the names alone.
"""

from functools import reduce
from operator import add

from components.errors import UsageError
from components.secrets import REFERENCE, resolved

_FIELD = "beam_args"


def check_form(argument: str) -> None:
    """Sees to it that an argument is one of Beam's options.

    Raises:
      ValueError: if not.
    """
    if not argument.startswith("--"):
        raise ValueError(f"{argument!r} is no option of Beam; write it as --name=value")


def values(arguments: list[str]) -> list[str]:
    """The arguments as Beam reads them, for a pipeline that starts right away.

    Raises:
      UsageError: see `check`.
    """
    check(arguments)
    return [resolved(argument, _FIELD) for argument in arguments]


def placeholders(arguments: list[str]) -> list:
    """The arguments for a TFX pipeline: strings, and placeholders of environment variables.

    Raises:
      UsageError: see `check`.
    """
    from tfx.dsl.placeholder.placeholder import environment_variable

    check(arguments)
    found = []
    for argument in arguments:
        # Odd pieces are names.
        pieces = enumerate(REFERENCE.split(argument))
        parts = [environment_variable(p) if i % 2 else p for i, p in pieces if p]
        found.append(reduce(add, parts))
    return found


def check(arguments: list[str]) -> None:
    """Sees to it, before anything starts, that each `${NAME}` is set and stands in an option that Beam knows.

    Raises:
      UsageError: if not: Beam would write an option that it does not know into the log, value and all.
    """
    named = [argument for argument in arguments if REFERENCE.search(argument)]
    for argument in named:
        resolved(argument, _FIELD)
    if not named:
        return
    from apache_beam.options.pipeline_options import PipelineOptions

    known = PipelineOptions([]).get_all_options()
    for argument in named:
        name = argument.partition("=")[0]
        if name.removeprefix("--") not in known:
            raise UsageError(f"{_FIELD}: {name} is no option that Beam knows; mend its name or drop it")
