"""As many photos as a measurement needs, of a few real ones: links to them under several names."""

from itertools import cycle, islice
from pathlib import Path

Files = list[tuple[Path, Path]]
"""Photos, each with its mask."""


def pairs_of(data: Path) -> Files:
    """The JPEG photos of a folder that has the layout of Oxford-IIIT Pets, by name, each with its mask."""
    photos = (photo for photo in sorted(data.glob("images/*.jpg")) if photo.read_bytes()[:2] == b"\xff\xd8")
    pairs = ((photo, data / "annotations" / "trimaps" / f"{photo.stem}.png") for photo in photos)
    return [(photo, mask) for photo, mask in pairs if mask.is_file()]


def named_anew(pairs: Files, folder: Path, count: int) -> Files:
    """Links to so many photos and masks in that layout, in turns and under other names each turn."""
    images, masks = folder / "images", folder / "annotations" / "trimaps"
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    linked = []
    for number, (photo, mask) in enumerate(islice(cycle(pairs), count)):
        turn = number // len(pairs)
        # Further digits of the number that ends a name in Oxford-IIIT Pets, so that its breed stays what it is.
        linked.append((images / f"{photo.stem}{turn:03d}.jpg", masks / f"{mask.stem}{turn:03d}.png"))
        for link, file in zip(linked[-1], (photo, mask), strict=True):
            link.symlink_to(file.resolve())
    return linked
