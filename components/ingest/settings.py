"""What a user may choose about ingest; the `data` section of the config."""

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainer.features import CLASS_SHARE, RAW_FEATURES, FeatureSpec

UNKNOWN = "unknown"
"""The slice value of a stem that no rule matches."""


class DataSettings(BaseModel):
    """How photos and masks become examples.

    Attributes:
      slice_keys: feature name -> rules in order, each a regular expression that is searched in the stem and the value
        it gives (`\\1` is the first group). The first match decides; without one the value is `unknown`.
      eval_share: share of the evaluation split where no split list decides.
      masks_follow_exif: True if a mask is stored turned like its photo, False if it is upright already.
      max_quarantine: largest share of photos that may be quarantined before ingest refuses.
      max_duplicates: largest share of evaluation photos that may train too, by whatever name, before ingest refuses.
      duplicate_distance: two photos whose 64-bit perceptual hashes differ in at most so many bits are near-duplicates;
        0 takes equal hashes alone.
      max_pixels: largest photo that is decoded, in pixels; a larger one is quarantined unread. TensorFlow decodes no
        JPEG above 2^29 / 3.
      threads: how many photos a worker reads at once; None takes as many as it has processors to itself, and one where
        photos are so small that threads wait for each other.
      window: how many spans train, the newest included; it alone evaluates.
      golden_span: a span that every run evaluates besides its own and none trains on, so that models of different
        months compare; None evaluates none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slice_keys: dict[str, dict[str, str]] = {
        "breed": {r"^(.+)_\d+$": r"\1"},
        "species": {r"^[A-Z]": "cat", r"^[a-z]": "dog"},
    }
    eval_share: float = Field(default=0.2, gt=0, lt=1)
    masks_follow_exif: bool = False
    max_quarantine: float = Field(default=0.05, ge=0, le=1)
    max_duplicates: float = Field(default=0.01, ge=0, le=1)
    duplicate_distance: int = Field(default=6, ge=0, le=16)
    max_pixels: int = Field(default=100_000_000, ge=1, le=2**29 // 3)
    threads: int | None = Field(default=None, ge=1, le=256)
    window: int = Field(default=1, ge=1)
    golden_span: int | None = Field(default=None, ge=1)

    @field_validator("slice_keys")
    @classmethod
    def _rules_work(cls, keys: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for name, rules in keys.items():
            if name in RAW_FEATURES or name.startswith(CLASS_SHARE):
                raise ValueError(f"{name} is a feature that ingest writes itself; choose another name")
            for pattern, value in rules.items():
                try:
                    re.compile(pattern)
                except (re.error, OverflowError, RecursionError) as error:
                    raise ValueError(f"{name}: {pattern!r} is no regular expression ({error})") from error
                try:
                    re.sub(pattern, value, "")
                except (re.error, IndexError) as error:
                    raise ValueError(f"{name}: {value!r} does not fit {pattern!r} ({error})") from error
        return keys

    def slice_values(self, stem: str) -> dict[str, str]:
        """The slice keys of one photo, by its stem."""
        values = {}
        for name, rules in self.slice_keys.items():
            matches = (match.expand(value) for p, value in rules.items() if (match := re.search(p, stem)))
            values[name] = next(matches, UNKNOWN)
        return values


def settings_record(data: DataSettings, spec: FeatureSpec) -> dict:
    """What of the settings decides the bytes of a span; it goes into the manifest."""
    return {
        "classes": [{"name": c.name, "values": list(c.values)} for c in spec.classes],
        "ignore_values": list(spec.ignore_values),
        # As lists: the order of rules decides, and a manifest's keys are sorted.
        "slice_keys": [[name, [list(rule) for rule in rules.items()]] for name, rules in data.slice_keys.items()],
        "masks_follow_exif": data.masks_follow_exif,
        "max_pixels": data.max_pixels,
    }
