"""What goes wrong in a way that a user can mend. The command line prints the message and nothing else."""

import traceback


class SegpipeError(Exception):
    """One sentence that names the file or field, the rule it breaks and the mend."""

    exit_status = 1


class UsageError(SegpipeError):
    """A wrong argument, config or path, found before anything starts."""

    exit_status = 2


class RefusedError(SegpipeError):
    """A gate said no: nothing is broken, but the data or the model is not good enough."""

    exit_status = 3


def in_one_line(error: Exception) -> str:
    """What was raised, as a report tells it."""
    told = str(error) if isinstance(error, SegpipeError) else traceback.format_exception_only(error)[-1]
    return told.strip().partition("\n")[0]
