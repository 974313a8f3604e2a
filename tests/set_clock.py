"""A clock that a test moves: waiting takes no time, and ends where the test says."""

from collections.abc import Callable


class Over(Exception):
    """The last wait of a test."""


class SetClock:
    """Stands at `now` until somebody waits.

    Attributes:
      waited: the moments that were waited for.
    """

    def __init__(self, start: float, *meanwhile: Callable[[], object]):
        """`meanwhile` is what happens during each wait; the wait after the last raises Over."""
        self._now, self._meanwhile, self.waited = start, list(meanwhile), []

    def now(self) -> float:
        return self._now

    def passes(self, seconds: float) -> None:
        self._now += seconds

    def wait_until(self, moment: float) -> None:
        if not self._meanwhile:
            self.waited.append(moment)
            raise Over
        self.waited.append(moment)
        self._meanwhile.pop(0)()
        self._now = max(self._now, moment)
