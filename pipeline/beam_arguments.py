"""The `beam` section of the config on its way to Beam, with `${NAME}` replaced as late as can be.

TFX gets placeholders, which its launcher resolves when it starts an executor: what it stores and logs of a pipeline has
the names alone.
"""

import os
from collections.abc import Iterable
from functools import reduce
from operator import add

from components.errors import UsageError
from components.secrets import REFERENCE, resolved
from pipeline.beam_settings import BEAM_NODES, DataflowRunner, DirectRunner
from pipeline.config import Config
from pipeline.vertex_settings import PLACEHOLDER, VertexSettings

_FIELD = "beam"


def arguments_of(config: Config, node: str) -> list[str]:
    """The options of Beam for one of `BEAM_NODES`, as the config writes them."""
    runner = config.beam.runner_of(node)
    options = runner.options()
    if isinstance(runner, DataflowRunner):
        options = _of_vertex(config.vertex) | options
    return [*(f"--{name}={value}" for name, value in options.items()), *runner.flags, *runner.arguments]


def _of_vertex(vertex: VertexSettings) -> dict[str, str]:
    options = {
        "runner": DataflowRunner.__name__,
        "project": vertex.project,
        "region": vertex.region,
        "temp_location": f"{vertex.root}/dataflow",
        "sdk_container_image": vertex.image,
    }
    return options | ({"service_account_email": vertex.service_account} if vertex.service_account else {})


def values(config: Config, node: str) -> list[str]:
    """The options as Beam reads them, for a pipeline that starts right away on this machine; see `arguments_of`.

    Raises:
      UsageError: see `check` and `check_files`.
    """
    check(config, [node])
    check_files(config, [node])
    return [resolved(argument, _FIELD) for argument in arguments_of(config, node)]


def ingest_values(config: Config) -> list[str] | None:
    """The options of `values` for ingest; None where the config says nothing of it, which needs no Beam.

    Raises:
      UsageError: see `values`.
    """
    return None if config.beam.runner_of("ingest") == DirectRunner() else values(config, "ingest")


def placeholders(arguments: list[str]) -> list:
    """Options for TFX: strings, and placeholders of environment variables.

    Raises:
      UsageError: see `_check_references`.
    """
    from tfx.dsl.placeholder.placeholder import environment_variable

    _check_references(arguments)
    found = []
    for argument in arguments:
        # Odd pieces are names.
        pieces = enumerate(REFERENCE.split(argument))
        parts = [environment_variable(p) if i % 2 else p for i, p in pieces if p]
        found.append(reduce(add, parts))
    return found


def equip(config: Config, nodes: Iterable) -> None:
    """Gives those of a pipeline's nodes that Beam runs their options.

    Raises:
      UsageError: see `_check_references`.
    """
    from tfx.dsl.components.base.base_beam_component import BaseBeamComponent

    for node in nodes:
        if isinstance(node, BaseBeamComponent):
            node.with_beam_pipeline_args(placeholders(arguments_of(config, node.id)))


def check(config: Config, nodes: Iterable[str] = BEAM_NODES) -> None:
    """Sees to it, before anything starts, that nothing is left open in the options of some nodes.

    Raises:
      UsageError: if a `${NAME}` is not set or stands in an option that Beam does not know, or one is a placeholder.
    """
    for node in nodes:
        arguments = arguments_of(config, node)
        _check_references(arguments)
        if isinstance(config.beam.runner_of(node), DataflowRunner):
            for argument in arguments:
                name, _, value = argument.partition("=")
                if PLACEHOLDER in value:
                    raise UsageError(
                        f"{_FIELD}: {node} has {name.removeprefix('--')} {value}, a placeholder; give it there or in "
                        f"the section vertex"
                    )


def check_files(config: Config, nodes: Iterable[str] = BEAM_NODES) -> None:
    """Sees to it that what workers get from this machine is there.

    Raises:
      UsageError: if a setup_file is not.
    """
    for node in nodes:
        given = config.beam.runner_of(node).options().get("setup_file")
        if given is not None and not os.path.isfile(given):
            raise UsageError(f"{_FIELD}: {node} has setup_file {given}, which is no file; name a setup.py or drop it")


def check_local(config: Config, root: str, nodes: Iterable[str]) -> None:
    """Sees to it that the workers of some nodes see the copy of a root that their process has.

    Raises:
      UsageError: if one runs elsewhere.
    """
    for node in nodes:
        runner = type(config.beam.runner_of(node)).__name__
        if node in BEAM_NODES and runner != DirectRunner.__name__:
            raise UsageError(
                f"{_FIELD}: {node} runs on {runner}, whose workers do not see the files of {root}, which is in a "
                f"bucket; take DirectRunner for it or a root on a volume"
            )


def _check_references(arguments: list[str]) -> None:
    """Raises a UsageError if not: Beam would write an option that it does not know into the log, value and all."""
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
