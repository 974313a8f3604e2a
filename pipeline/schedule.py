"""Retrains at the ticks of a cron expression, one at a time, for as long as the process lives.

Schedule(workspace, "0 3 * * 1", Retraining(workspace, folders), say=print).keep()

A tick that nobody was there for is made up for once. One that fails is tried again after a minute, then two, four and
so on, until the next tick; one that was refused is not.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from filelock import FileLock, Timeout

from components.errors import SegpipeError
from pipeline.cron import next_tick
from pipeline.schedule_state import Attempt, Outcome, State, read_state, when, write_state
from pipeline.webhook import post
from pipeline.workspace import Workspace, this_process

FIRST_RETRY, LONGEST_RETRY = 60, 6 * 3600
"""Seconds; the pause doubles from the first to the longest."""
_RETRIED = ("failed", "busy")
_TOLD = ("failed", "refused")


class Clock:
    """The clock of the machine."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def wait_until(self, moment: float) -> None:
        """Returns once `now` is there, also where the clock is set or the machine was asleep."""
        while (left := moment - self.now()) > 0:
            time.sleep(min(left, 30))


@contextlib.contextmanager
def only_schedule(workspace: Workspace) -> Iterator[None]:
    """Sees to it that a workspace has one schedule at a time.

    Raises:
      SegpipeError: if another process keeps one.
    """
    os.makedirs(workspace.root, exist_ok=True)
    lock = FileLock(os.path.join(workspace.root, ".schedule.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise SegpipeError(
            f"{workspace.root} has a segpipe schedule that runs already; stop it first or use another --workspace"
        ) from error
    try:
        yield
    finally:
        lock.release()


class Schedule:
    """A schedule of one workspace; the caller holds `only_schedule`.

    Attributes:
      state: what is remembered, also on disk.
    """

    def __init__(
        self,
        workspace: Workspace,
        cron: str | None,
        retrain: Callable[[], Outcome],
        say: Callable[[str], None],
        webhook: str | None = None,
        clock: Clock | None = None,
    ):
        self._workspace, self._retrain, self._webhook = workspace, retrain, webhook
        self._clock = clock or Clock()
        self._say = lambda text: say(f"{when(self._clock.now())} {text}")
        before = read_state(workspace) or State()
        now = self._clock.now()
        upcoming = None if cron is None else next_tick(cron, now)
        # A tick of the past was promised, whatever the expression is now.
        missed = upcoming is not None and before.next_tick is not None and before.next_tick <= now
        same = before.cron == cron
        self.state = State(
            cron=cron,
            next_tick=before.next_tick if missed else upcoming,
            retry_at=before.retry_at if same else None,
            attempts=before.attempts if same else 0,
            last=before.last,
            process=this_process(),
        )
        self._missed = missed

    def keep(self) -> None:
        """Waits for each tick and retrains, without end."""
        self._remember()
        if self._missed:
            self._say(f"the tick of {when(self.state.next_tick)} was missed, and is made up for now")
        while True:
            self._say(f"schedule {self.state.cron} on {self._workspace.root}: next {when(self.state.due)}")
            self._clock.wait_until(self.state.due)
            self.attempt()

    def attempt(self) -> Attempt:
        """Retrains once, remembers what became of it and tells whom it concerns."""
        started = self._clock.now()
        is_tick = self.state.next_tick is None or self.state.next_tick <= started
        number = 1 if is_tick else self.state.attempts + 1
        self._say("retraining" if number == 1 else f"retraining, attempt {number}")
        outcome = self._outcome()
        attempt = Attempt(started=started, ended=self._clock.now(), number=number, **outcome.model_dump())
        self._plan(attempt)
        self._remember()
        self._say(attempt.message)
        if self._webhook is not None and attempt.verdict in _TOLD:
            post(self._webhook, self._event(attempt), self._say)
        return attempt

    def _outcome(self) -> Outcome:
        try:
            return self._retrain()
        except (SegpipeError, OSError) as error:
            status = getattr(error, "exit_status", SegpipeError.exit_status)
            return Outcome(verdict="failed", step="schedule", message=f"failed: {error}", exit_status=status)

    def _plan(self, attempt: Attempt) -> None:
        """Decides when the next attempt is."""
        cron = self.state.cron
        upcoming = None if cron is None else next_tick(cron, attempt.ended)
        retry_at, attempts = None, 0
        if upcoming is not None and attempt.verdict in _RETRIED:
            pause = min(FIRST_RETRY * 2 ** (attempt.number - 1), LONGEST_RETRY)
            if attempt.ended + pause < upcoming:
                retry_at, attempts = attempt.ended + pause, attempt.number
        planned = {"next_tick": upcoming, "retry_at": retry_at, "attempts": attempts, "last": attempt}
        self.state = self.state.model_copy(update=planned)

    def _remember(self) -> None:
        try:
            write_state(self._workspace, self.state)
        except OSError as error:
            # A full disk is no reason to stop: the next attempt may find room.
            self._say(f"{self._workspace.schedule}: {error.strerror}; not remembered, the schedule goes on")

    def _event(self, attempt: Attempt) -> dict:
        """What a webhook gets; chats that take `text` show it."""
        text = f"segpipe {attempt.step} in {self._workspace.root} {attempt.message}"
        retry_at = self.state.retry_at
        return {
            "text": text,
            "event": attempt.verdict,
            "workspace": self._workspace.root,
            "retry_at": retry_at,
        } | attempt.model_dump(exclude={"verdict"})
