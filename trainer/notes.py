"""What a person who waits for a run should see of the log."""

from absl import logging


def note(message: str, *values) -> None:
    """Logs a message whose record carries the attribute `note`, by which whoever shows progress knows it."""
    logging.info(message, *values, extra={"note": True})
