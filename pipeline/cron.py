"""Cron expressions: when the next tick is, on the clock of the machine.

next_tick("0 3 * * 1", time.time())      # next Monday at three, seconds since 1970
"""

from datetime import datetime

from croniter import CroniterBadDateError, CroniterError, croniter

from components.errors import UsageError


def check_cron(expression: str) -> str:
    """Returns the expression if it is one of five fields, or a name such as `@weekly`, and ever comes true.

    Raises:
      UsageError: if it is not.
    """
    fields = expression.split()
    named = len(fields) == 1 and expression.startswith("@")
    if not (named or len(fields) == 5) or not croniter.is_valid(expression):
        raise UsageError(
            f"--cron {expression!r}: is no cron expression; give minute, hour, day, month and weekday, such as "
            f"'0 3 * * 1' for Mondays at three"
        )
    try:
        next_tick(expression, 0)
    except CroniterBadDateError as error:
        raise UsageError(f"--cron {expression!r}: no such day ever comes; give another day or month") from error
    except (CroniterError, ValueError) as error:
        raise UsageError(f"--cron {expression!r}: {error}; give minute, hour, day, month and weekday") from error
    return expression


def next_tick(expression: str, after: float) -> float:
    """The first moment after another at which a cron expression is true, in local time.

    Args:
      expression: see `check_cron`.
      after: seconds since 1970.
    """
    moments = croniter(expression, datetime.fromtimestamp(after))
    # An hour that comes twice, where summer time ends, is taken as its first coming.
    while (moment := moments.get_next(datetime).timestamp()) <= after:
        pass
    return moment
