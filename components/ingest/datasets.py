"""Public datasets that `segpipe ingest --download` knows; the `downloads` section of the config."""

import re
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Archive(BaseModel):
    """One archive of a dataset.

    Attributes:
      name: its file name, below the dataset's `base_url`.
      bytes: its size.
      sha256: hexadecimal hash of it.
      holds: the folder at the top of it, in which all of its files lie.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    bytes: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    holds: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")


class Dataset(BaseModel):
    """Where a dataset is, and what in it is what.

    Attributes:
      base_url: of the folder with the archives; `${NAME}` in it stands for an environment variable.
      archives: all that it takes.
      images, masks, split_lists: folders, relative to where the archives are unpacked.
      max_bytes: how much the archives may unpack to, each.
      max_files: how many files each may hold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    archives: list[Archive] = Field(min_length=1)
    images: str
    masks: str
    split_lists: str | None = None
    max_bytes: int = Field(default=4_000_000_000, ge=1)
    max_files: int = Field(default=100_000, ge=1)

    @field_validator("base_url")
    @classmethod
    def _is_web_address(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            password = parts.password
        except ValueError as error:
            raise ValueError(f"is no web address ({error})") from error
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("is no web address; begin it with https://")
        if password and not re.fullmatch(r"\$\{\w+\}", password):
            raise ValueError("holds a password; write ${NAME} in its place and set that environment variable")
        return url


PETS = Dataset(
    base_url="https://www.robots.ox.ac.uk/~vgg/data/pets/data/",
    # Sizes and hashes as TensorFlow Datasets publishes them, in datasets/oxford_iiit_pet/checksums.tsv.
    archives=[
        Archive(
            name="images.tar.gz",
            bytes=791_918_971,
            sha256="67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
            holds="images",
        ),
        Archive(
            name="annotations.tar.gz",
            bytes=19_173_078,
            sha256="52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
            holds="annotations",
        ),
    ],
    images="images",
    masks="annotations/trimaps",
    split_lists="annotations",
)
"""Oxford-IIIT Pets (Parkhi et al. 2012), 7,349 photos with trimaps."""

DATASETS = {"pets": PETS}
