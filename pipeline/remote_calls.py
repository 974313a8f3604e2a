"""Calls to a service elsewhere: asked again where trouble passes, told in one sentence where it does not.

A call whose answer was lost may have been carried out all the same, so each is told whether it is the first try, and
looks for what an earlier one made.
"""

import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from components.errors import SegpipeError, UsageError
from components.secrets import shown

T = TypeVar("T")

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try."""

_PASSING = {429, 500, 502, 503, 504}
_LONGEST = 300


@dataclass(frozen=True)
class Trouble:
    """What a service answered to a call.

    Attributes:
      status: of HTTP, or None if there was no answer.
      message: in the service's own words.
    """

    status: int | None
    message: str

    @property
    def passes(self) -> bool:
        return self.status is None or self.status in _PASSING

    @property
    def words(self) -> str:
        """The message on one line, without what nobody may read or would want to."""
        text = shown(" ".join("".join(c if c.isprintable() else " " for c in self.message).split()))
        text = text[:_LONGEST] + "..." if len(text) > _LONGEST else text
        return f"{self.status}: {text}" if self.status is not None else text


@dataclass(frozen=True)
class Service:
    """How to talk to a service.

    Attributes:
      name: for messages.
      address: of it, for messages.
      allowed: what an account needs that it refuses; completes "let the account have ...".
      trouble: an error of its client -> what it says, or None for an error that is not the service's.
    """

    name: str
    address: str
    allowed: str
    trouble: Callable[[Exception], Trouble | None]

    def ask(self, call: Callable[[bool], T]) -> T:
        """Calls it, and again after a pause where the trouble may pass.

        Args:
          call: takes whether an earlier try may have been carried out.

        Raises:
          SegpipeError: if the service refuses, or is in trouble for good.
        """
        for number, pause in enumerate((*PAUSES, None)):
            try:
                with quiet_clients():
                    return call(number > 0)
            except SegpipeError:
                raise
            except Exception as error:  # noqa: BLE001, each client has errors of its own; a strange one is raised again
                trouble = self.trouble(error)
                if trouble is None:
                    raise
                if not trouble.passes or pause is None:
                    raise self._told(trouble, number + 1) from error
            time.sleep(pause)
        raise AssertionError("the last try has no pause")

    def _told(self, trouble: Trouble, tries: int) -> SegpipeError:
        if trouble.status is None:
            return SegpipeError(
                f"{self.address}: {self.name} cannot be reached ({trouble.words}), tried {tries} times; check the "
                f"address and the network"
            )
        if trouble.status in (401, 403):
            return SegpipeError(
                f"{self.name} refuses this account ({trouble.words}); let the account have {self.allowed}"
            )
        if trouble.status == 429:
            mend = "wait, or ask for a higher quota"
            return SegpipeError(f"{self.name} takes no more now ({trouble.words}), tried {tries} times; {mend}")
        if trouble.passes:
            mend = "run the same command again later"
            return SegpipeError(f"{self.name} is in trouble ({trouble.words}), tried {tries} times; {mend}")
        return UsageError(f"{self.name} does not take this ({trouble.words}); mend what it names")


@contextlib.contextmanager
def quiet_clients() -> Iterator[None]:
    """Keeps off the terminal what clients of services print and log: addresses, tracebacks of what is tried again."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
