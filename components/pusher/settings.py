"""What stays in the serving folder; the `serving` section of the config."""

from pydantic import BaseModel, ConfigDict, Field


class RetentionSettings(BaseModel):
    """Retention of pushed versions; whatever it says, the live one and the one that a rollback would go to stay.

    Attributes:
      keep: how many of the newest versions stay after a push; None keeps all.
      grace_seconds: how long a version stays after it was live, for readers that are loading it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep: int | None = Field(default=None, ge=2)
    grace_seconds: float = Field(default=300.0, ge=0)
