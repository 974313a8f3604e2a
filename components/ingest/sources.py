"""Finds photos and masks, pairs them by stem and gives each pair its split.

found = find_sources("images", "annotations/trimaps", split_lists="annotations", eval_share=0.2)
found.pairs[0].stem, found.pairs[0].split, found.quarantined
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from components.errors import UsageError
from components.ingest.spans import Record

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
MASK_SUFFIXES = {".png", ".gif", ".bmp", ".tif", ".tiff"}
SPLITS = ("train", "eval")
_LIST_NAMES = {"train": ("trainval.txt", "train.txt"), "eval": ("test.txt", "eval.txt", "val.txt")}


@dataclass(frozen=True, slots=True)
class Pair:
    """A photo with its mask, not yet opened. `order` spreads stems evenly and stays the same on every machine."""

    stem: str
    photo: str
    mask: str
    split: str

    @property
    def order(self) -> str:
        return stable_hash(self.stem)


class Quarantined(Record):
    """A file that is not used, and why.

    `kind` is photo, mask, hidden file or list entry; only photos count as found.
    """

    file: str
    reason: str
    detail: str
    kind: str = "photo"


@dataclass
class Sources:
    """What a folder of photos and a folder of masks hold."""

    pairs: list[Pair] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    photos_found: int = 0
    files_ignored: int = 0


def stable_hash(text: str) -> str:
    """Hexadecimal SHA-256 of the text, the same on every machine and in every run."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass
class _Listing:
    """What a folder holds: files with a suffix in question by stem, hidden files with one, and how many others."""

    by_stem: dict[str, list[str]]
    hidden: list[str]
    others: int


def _list_folder(folder: str, suffixes: set[str], option: str) -> _Listing:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{option} {folder}: no such folder; name the folder that holds the files") from error
    except OSError as error:
        raise UsageError(f"{option} {folder}: {error.strerror}; name a folder that can be read") from error
    found = _Listing(defaultdict(list), [], 0)
    for name in names:
        (stem, suffix), path = os.path.splitext(name), os.path.join(folder, name)
        if suffix.lower() not in suffixes or os.path.isdir(path):
            found.others += 1
        elif stem.startswith("."):
            found.hidden.append(path)
        else:
            found.by_stem[stem].append(path)
    return found


def photo_files(folder: str) -> list[str]:
    """The photos in a folder, by name."""
    by_stem = _list_folder(folder, PHOTO_SUFFIXES, "folder").by_stem
    return [file for files in by_stem.values() for file in files]


def _listed_stem(line: str, stems: Collection[str]) -> str | None:
    """The longest beginning of a line that is a photo's stem, which may hold spaces; else the first word, if any."""
    ends = [space.start() for space in re.finditer(r"\s|$", line)]
    known = next((line[:end] for end in reversed(ends) if line[:end] in stems), None)
    return known or next(iter("" if line.startswith("#") else line.split()), None)


def read_split_lists(folder: str, stems: Collection[str] = ()) -> dict[str, str]:
    """Reads `trainval.txt` or `train.txt`, and `test.txt`, `eval.txt` or `val.txt`: a line begins with a stem.

    Args:
      folder: of the lists.
      stems: those of the photos; a stem that is not among them ends at the first space.

    Returns:
      stem -> "train" or "eval".

    Raises:
      UsageError: if a list is missing or a stem stands in both.
    """
    split_of = {}
    for split, names in _LIST_NAMES.items():
        path = next((p for p in (os.path.join(folder, name) for name in names) if os.path.isfile(p)), None)
        if path is None:
            raise UsageError(
                f"--split-lists {folder}: holds none of {', '.join(names)}; add the list or drop the option"
            )
        try:
            with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
                listed = [stem for line in file if (stem := _listed_stem(line, stems)) is not None]
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}; make it readable") from error
        twice = next((stem for stem in listed if split_of.get(stem, split) != split), None)
        if twice is not None:
            raise UsageError(f"{path}: {twice} is in both lists, so evaluation would see a training photo; keep one")
        split_of.update(dict.fromkeys(listed, split))
    return split_of


def _hash_split(stem: str, eval_share: float) -> str:
    return "eval" if int(stable_hash("split:" + stem)[:8], 16) / 16**8 < eval_share else "train"


def find_sources(photos: str, masks: str, split_lists: str | None, eval_share: float) -> Sources:
    """Pairs photos with masks of the same stem.

    Args:
      photos: folder of photos. Files with other suffixes and hidden ones (`.a.jpg`, `._a.jpg`) are ignored and counted;
        hidden photos are also named in the quarantine.
      masks: folder of masks.
      split_lists: folder of split lists; a photo in no list is quarantined. None splits by a hash of the stem.
      eval_share: share of photos in the evaluation split where no list decides, 0..1.

    Raises:
      UsageError: if a folder or a list is missing, or the folder of photos holds none.
    """
    listing = _list_folder(photos, PHOTO_SUFFIXES, "--images")
    photos_by_stem, masks_by_stem = listing.by_stem, _list_folder(masks, MASK_SUFFIXES, "--masks").by_stem
    ignored = listing.others + len(listing.hidden)
    found = Sources(photos_found=sum(map(len, photos_by_stem.values())), files_ignored=ignored)
    found.quarantined += [
        Quarantined(file=file, reason="hidden_name", detail="its name begins with a dot", kind="hidden file")
        for file in listing.hidden
    ]
    if not found.photos_found:
        raise UsageError(
            f"--images {photos}: holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))}); name another folder"
        )
    split_of = None if split_lists is None else read_split_lists(split_lists, photos_by_stem.keys())
    for stem, files in sorted(photos_by_stem.items()):
        candidates = masks_by_stem.get(stem, [])
        reason = _why_unusable(stem, files, candidates, split_of)
        if reason:
            found.quarantined += [Quarantined(file=file, reason=reason[0], detail=reason[1]) for file in files]
        else:
            split = split_of[stem] if split_of is not None else _hash_split(stem, eval_share)
            found.pairs.append(Pair(stem, files[0], candidates[0], split))
    for stem in sorted(masks_by_stem.keys() - photos_by_stem.keys()):
        found.quarantined += [_orphan(file, "no photo has this stem", "mask") for file in masks_by_stem[stem]]
    for stem in sorted((split_of or {}).keys() - photos_by_stem.keys()):
        found.quarantined.append(_orphan(stem, "listed, but no photo has this stem", "list entry"))
    return found


def _orphan(file: str, detail: str, kind: str) -> Quarantined:
    return Quarantined(file=file, reason="no_photo", detail=detail, kind=kind)


def _why_unusable(
    stem: str, photos: list[str], masks: list[str], split_of: dict[str, str] | None
) -> tuple[str, str] | None:
    if len(photos) > 1:
        return "duplicate_stem", f"{len(photos)} photos share the stem {stem}"
    if not masks:
        return "no_mask", "no mask has this stem"
    if len(masks) > 1:
        return "duplicate_stem", f"{len(masks)} masks share the stem {stem}"
    if split_of is not None and stem not in split_of:
        return "not_listed", "neither split list names it"
    return None
