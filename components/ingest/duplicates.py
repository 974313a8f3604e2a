"""Finds photos that train and evaluate: the same file by its SHA-256, nearly the same picture by its perceptual hash.

    found = find_duplicates(evaluation, training, max_distance=6)
    found[0].photo, found[0].training_photo, found[0].distance

The hash (pHash: signs of the 64 lowest cosines of the picture) stays nearly the same when a photo is encoded again,
resized, made brighter or cut at its edges, and differs in about half of its bits between photos of different things.
"""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from components.ingest.spans import Record, SourceFile

MIN_SIDE = 64
"""Pixels that the hash needs each way: more change no more than a bit or two of it."""
_BITS = 64
_SIDE = 32
# float64[8, 32]: the lowest frequencies of the discrete cosine transform of type II, constant factors left out.
_COSINES = np.cos(np.pi / _SIDE * np.arange(8)[:, np.newaxis] * (np.arange(_SIDE) + 0.5))
# A picture whose thumbnail varies by less, in grey levels, is of one colour: its hash would be that of the noise.
_MIN_CONTRAST = 2.0
_MAX_PAIRS_AT_ONCE = 1 << 17
_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


class Duplicate(Record):
    """An evaluation photo that a model also trains on.

    Attributes:
      photo: the evaluation photo's file name.
      training_photo: the training photo that is most like it.
      same_file: whether both files hold the same bytes.
      distance: bits in which the perceptual hashes differ, 0..64.
      further: how many other training photos are as good as the same.
    """

    photo: str
    training_photo: str
    same_file: bool
    distance: int
    further: int


def perceptual_hash(grey: np.ndarray) -> str | None:
    """The 64-bit pHash of a picture.

    Args:
      grey: uint8[h, w].

    Returns:
      16 hexadecimal digits, or None for a picture of one colour.
    """
    # A box filter first, for the same bits as with the filter of `resize` from the full size.
    picture = Image.fromarray(grey).reduce(max(1, min(grey.shape) // MIN_SIDE))
    thumbnail = np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), np.float64)
    if thumbnail.std() < _MIN_CONTRAST:
        return None
    lowest = (_COSINES @ thumbnail @ _COSINES.T).ravel()
    # Above the lower of the two middle ones is above the median.
    return np.packbits(lowest > np.sort(lowest)[_BITS // 2 - 1]).tobytes().hex()


def find_duplicates(
    evaluation: Iterable[SourceFile], training: Iterable[SourceFile], max_distance: int
) -> list[Duplicate]:
    """Compares each evaluation photo with all training photos.

    Args:
      evaluation, training: ingested photos, of one span or of several.
      max_distance: bits by which the hashes of near-duplicates may differ.

    Returns:
      One entry per evaluation photo that has a duplicate, by name.
    """
    training = sorted(training, key=lambda source: source.photo)
    by_content, by_hash = _grouped(training, "photo_sha256"), _grouped(training, "perceptual_hash")
    evaluation = sorted(evaluation, key=lambda source: source.photo)
    near = _near({s.perceptual_hash for s in evaluation} - {None}, by_hash.keys(), max_distance)
    found = []
    for source in evaluation:
        same = by_content.get(source.photo_sha256, [])
        close = near.get(source.perceptual_hash, [])
        if same or close:
            distance, nearest = (0, source.perceptual_hash) if same else close[0]
            names = same or by_hash[nearest]
            alike = {*same, *(name for _, other in close for name in by_hash[other])}
            found.append(
                Duplicate(
                    photo=source.photo,
                    training_photo=names[0],
                    same_file=bool(same),
                    distance=distance,
                    further=len(alike) - 1,
                )
            )
    return found


def _grouped(sources: list[SourceFile], field: str) -> dict[str, list[str]]:
    """Value of the field -> names of the photos that have it."""
    groups = {}
    for source in sources:
        value = getattr(source, field)
        if value is not None:
            groups.setdefault(value, []).append(source.photo)
    return groups


def _near(some: Iterable[str], others: Iterable[str], max_distance: int) -> dict[str, list[tuple[int, str]]]:
    """Hash -> the other hashes within the distance, nearest first.

    Of more bands than bits that may differ, two near hashes have at least one in common, so only hashes with a common
    band are compared: the cost grows with the number of photos and of likely pairs, not with its square.
    """
    left, right = (np.array([int(h, 16) for h in sorted(hashes)], np.uint64) for hashes in (some, others))
    edges = np.linspace(0, _BITS, max_distance + 2).round().astype(int)
    pairs = set()
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        for i, j in _sharing(*((h >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1) for h in (left, right))):
            distance = _ONES[(left[i] ^ right[j]).view(np.uint8).reshape(-1, 8)].sum(axis=1)
            close = distance <= max_distance
            pairs.update(zip(i[close].tolist(), distance[close].tolist(), j[close].tolist(), strict=True))
    near = {}
    for i, distance, j in sorted(pairs):
        near.setdefault(f"{left[i]:016x}", []).append((distance, f"{right[j]:016x}"))
    return near


def _sharing(left: np.ndarray, right: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """All index pairs of equal values, in portions that fit into memory."""
    order = np.argsort(right, kind="stable")
    first, last = (np.searchsorted(right[order], left, side) for side in ("left", "right"))
    counts = last - first
    portion = np.cumsum(counts) // _MAX_PAIRS_AT_ONCE
    for number in np.unique(portion):
        chosen = np.flatnonzero(portion == number)
        i = np.repeat(chosen, counts[chosen])
        start = np.repeat(first[chosen] - (np.cumsum(counts[chosen]) - counts[chosen]), counts[chosen])
        yield i, order[start + np.arange(len(i))]
