"""Every kind of bad file in one real ingest: each is read as it should be or quarantined for its own reason."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg
import tensorflow as tf
from drawing import BACKGROUND, PET, STORED, decoded, encoded, halves, pet, save, turned, write_lists, write_pets
from PIL import Image

from components.errors import RefusedError, UsageError
from components.ingest.ingest import ingest
from components.ingest.settings import DataSettings
from trainer.features import FeatureSpec

APART = Path(__file__).with_name("apart.py")
TRIMAP = pet()[1]
# Smooth, so that JPEG changes no pixel by more than a few levels, and different at each corner, so that a turn shows.
RAMP = np.stack(
    [
        np.tile(np.linspace(20, 230, 56), (40, 1)),
        np.tile(np.linspace(200, 60, 40), (56, 1)).T,
        np.full((40, 56), 110),
    ],
    -1,
).astype(np.uint8)
GREY = np.repeat(RAMP[..., :1], 3, axis=-1)
JPEG, PNG, MASK = encoded(RAMP, "JPEG", quality=95), encoded(RAMP, "PNG"), encoded(TRIMAP, "PNG")
# Detailed, so that its data are many times its header.
DETAILED = encoded(pet()[0], "JPEG", quality=98)
CMYK = Image.fromarray(RAMP).convert("CMYK")
NOISE = np.random.default_rng(0).integers(0, 256, 1000, np.uint8).tobytes()


def as_stored(picture: np.ndarray, orientation: int, kind: str = "JPEG", **options) -> bytes:
    stored = np.ascontiguousarray(STORED[orientation](picture))
    return encoded(stored, kind, **options)


def header_of(jpeg: bytes) -> bytes:
    """All before the first byte of picture data."""
    scan = jpeg.index(b"\xff\xda")
    return jpeg[: scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")]


def damaged_inside(jpeg: bytes) -> bytes:
    """A marker amid the data, as in the dataset's beagle_116: libjpeg fills the rest with grey."""
    middle = (len(header_of(jpeg)) + len(jpeg)) // 2
    return jpeg[:middle] + b"\xff\xd9" + jpeg[middle + 2 :]


def two_frames() -> bytes:
    frames = [Image.fromarray(picture) for picture in (GREY[..., 0], 255 - GREY[..., 0])]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def in_palette(picture: Image.Image, **options) -> bytes:
    return encoded(picture.quantize(256), "PNG", **options)


def palette_mask() -> Image.Image:
    """The trimap with a colour for each value, as annotation tools write it."""
    mask = Image.fromarray(TRIMAP, "P")
    mask.putpalette([0, 0, 0, 250, 10, 10, 10, 250, 10, 10, 10, 250])
    return mask


def ycck() -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(255 - np.asarray(CMYK)), colorspace="CMYK", quality=95)


def mask_of(**values) -> bytes:
    changed = TRIMAP.copy()
    changed[:3, :3] = values["corner"]
    return encoded(changed, "PNG")


# File name -> photo, mask, and the reason of its quarantine or the pixels that must come out.
PHOTOS = {
    "zero_1.jpg": (b"", MASK, "empty_photo"),
    "header_1.jpg": (header_of(JPEG), MASK, "corrupt_photo"),
    "start_1.jpg": (JPEG[:20], MASK, "undecodable_photo"),
    "half_1.jpg": (DETAILED[: len(DETAILED) // 2], MASK, "corrupt_photo"),
    "end_1.jpg": (DETAILED[:-100], MASK, "corrupt_photo"),
    "trailing_1.jpg": (JPEG + NOISE, MASK, RAMP),
    "inside_1.jpg": (damaged_inside(JPEG), MASK, "corrupt_photo"),
    "inside_2.jpg": (JPEG[:-2] + NOISE[:240].replace(b"\xff", b"\xfe") + JPEG[-2:], MASK, "corrupt_photo"),
    "inside_3.jpg": (damaged_inside(encoded(GREY[..., 0], "JPEG", quality=95)), MASK, "corrupt_photo"),
    "inside_4.jpg": (damaged_inside(encoded(CMYK, "JPEG", quality=95)), MASK, "corrupt_photo"),
    "inside_5.jpg": (damaged_inside(encoded(RAMP, "JPEG", quality=95, **turned(3))), MASK, "corrupt_photo"),
    "inside_6.png": (PNG[: len(PNG) // 2] + b"\0\0\0\0" + PNG[len(PNG) // 2 + 4 :], MASK, "corrupt_photo"),
    "animation_1.gif": (two_frames(), MASK, GREY),
    "animation_2.jpg": (two_frames(), MASK, GREY),
    "bits16_1.png": (encoded(GREY[..., 0].astype(np.uint16) * 257, "PNG"), MASK, GREY),
    "palette_1.png": (in_palette(Image.fromarray(GREY[..., 0]).convert("RGB")), MASK, GREY),
    "cmyk_1.jpg": (encoded(CMYK, "JPEG", quality=95), MASK, RAMP),
    "ycck_1.jpg": (ycck(), MASK, RAMP),
    "grey_1.jpg": (encoded(GREY[..., 0], "JPEG", quality=95), MASK, GREY),
    "progressive_1.jpg": (encoded(RAMP, "JPEG", quality=95, progressive=True), MASK, RAMP),
    "webp_1.webp": (encoded(RAMP, "WEBP", lossless=True), MASK, RAMP),
    "webp_2.webp": (encoded(pet()[0], "WEBP", lossless=True)[:-100], MASK, "undecodable_photo"),
    "tiff_1.tif": (encoded(RAMP, "TIFF"), MASK, RAMP),
    "tiff_2.tiff": (encoded(RAMP, "TIFF", compression="tiff_lzw"), MASK, RAMP),
    "tiff_3.tif": (encoded(RAMP, "TIFF")[: RAMP.size // 2], MASK, "corrupt_photo"),
    "bmp_1.bmp": (encoded(RAMP, "BMP"), MASK, RAMP),
    "bmp_2.bmp": (encoded(RAMP, "BMP")[:-100], MASK, "corrupt_photo"),
    "text_1.jpg": (b"<html>404 Not Found</html>", MASK, "undecodable_photo"),
    "script_1.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 56 40\n", MASK, "undecodable_photo"),
    "my cat 1.jpg": (JPEG, MASK, RAMP),
    "größe 猫 🐈_1.jpg": (JPEG, MASK, RAMP),
    "n" * 251 + ".jpg": (JPEG, MASK, RAMP),
    "UPPER_1.JPG": (JPEG, MASK, RAMP),
    "one_pixel_1.png": (encoded(RAMP[:1, :1], "PNG"), encoded(TRIMAP[:1, :1], "PNG"), RAMP[:1, :1]),
} | {
    f"turned_{n}.jpg": (as_stored(RAMP, n, quality=95, **turned(n)), MASK, RAMP) for n in STORED
}  # fmt: skip

# What a mask holds -> itself, and the reason of its quarantine or the values that must come out.
MASKS = {
    "rgb": (encoded(np.repeat(TRIMAP[..., np.newaxis], 3, axis=-1), "PNG"), TRIMAP),
    "palette": (encoded(palette_mask(), "PNG"), TRIMAP),
    "colours": (PNG, "mask_in_colour"),
    "value 0": (mask_of(corner=0), "mask_value"),
    "value 4": (mask_of(corner=4), "mask_value"),
    "value 255": (mask_of(corner=255), "mask_value"),
    "one class": (encoded(np.full((40, 56), PET, np.uint8), "PNG"), np.full((40, 56), PET)),
    "one pixel": (encoded(TRIMAP[:1, :1], "PNG"), "mask_size"),
    "other size": (encoded(TRIMAP[:, 1:], "PNG"), "mask_size"),
    "zero bytes": (b"", "empty_mask"),
    "half": (MASK[: len(MASK) // 2], "corrupt_mask"),
    "damaged": (MASK[:60] + bytes([MASK[60] ^ 1]) + MASK[61:], "corrupt_mask"),
    "text": (b"no mask", "undecodable_mask"),
}
CLEAN, EVALUATED = ["Bengal_1", "Bengal_2"], ["pug_1", "pug_2"]


def write_case(source: Path, name: str, photo: bytes, mask: bytes) -> None:
    stem, suffix = os.path.splitext(name)
    save(source / "images" / name, photo)
    save(source / "annotations" / "trimaps" / f"{stem}{'.PNG' if suffix.isupper() else '.png'}", mask)


def run(source: Path, data: Path, lists: bool = True, **settings):
    annotations = source / "annotations"
    return ingest(
        str(data),
        str(source / "images"),
        str(annotations / "trimaps"),
        FeatureSpec(),
        DataSettings(**settings),
        split_lists=str(annotations) if lists else None,
    )


def records(folder: str | Path) -> dict[str, dict[str, bytes]]:
    """Photo's file name -> its `image` and `mask`, of both splits."""
    found = {}
    for path in sorted(Path(folder).glob("*.tfrecord")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            values = tf.train.Example.FromString(record).features.feature
            found[values["filename"].bytes_list.value[0].decode("utf-8", "surrogateescape")] = {
                name: values[name].bytes_list.value[0] for name in ("image", "mask")
            }
    return found


@pytest.fixture(scope="module")
def batch(tmp_path_factory) -> SimpleNamespace:
    """All cases in one folder with clean photos, ingested once."""
    folder = tmp_path_factory.mktemp("bad")
    source = write_pets(folder / "source", CLEAN, EVALUATED)
    images, trimaps = source / "images", source / "annotations" / "trimaps"
    for name, (photo, mask, _) in PHOTOS.items():
        write_case(source, name, photo, mask)
    for name, (mask, _) in MASKS.items():
        write_case(source, f"mask {name}.jpg", JPEG, mask)
    for name in ("twin_1.jpg", "twin_1.bmp", ".hidden_1.jpg", "._pug_1.jpg"):
        write_case(source, name, encoded(RAMP, "BMP" if name.endswith("bmp") else "JPEG"), MASK)
    links = {"self_1.jpg": "self_1.jpg", "loop_1.jpg": "loop_2.jpg", "loop_2.jpg": "loop_1.jpg", "gone_1.jpg": "no.jpg"}
    for name, target in links.items():
        write_case(source, name, JPEG, MASK)
        (images / name).unlink()
        (images / name).symlink_to(target)
    (images / "up.jpg").symlink_to("..")
    (images / "up").symlink_to("..")
    write_case(source, "pipe_1.jpg", JPEG, MASK)
    (images / "pipe_1.jpg").unlink()
    os.mkfifo(images / "pipe_1.jpg")
    write_case(source, "endless_1.jpg", JPEG, MASK)
    os.truncate(images / "endless_1.jpg", 600 << 20)
    write_case(source, "maskloop_1.jpg", JPEG, MASK)
    (trimaps / "maskloop_1.png").unlink()
    (trimaps / "maskloop_1.png").symlink_to("maskloop_1.png")
    train = [path.stem for path in images.iterdir() if path.stem not in EVALUATED]
    write_lists(source, train, EVALUATED)
    outcome = run(source, folder / "data", max_quarantine=1)
    lines = (Path(outcome.folder) / "quarantine.jsonl").read_text().splitlines()
    return SimpleNamespace(
        source=source,
        data=folder / "data",
        outcome=outcome,
        verdicts={s.photo: s.verdict for s in outcome.manifest.sources},
        quarantine={entry["file"]: entry for entry in map(json.loads, lines)},
        records=records(outcome.folder),
    )


def difference(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("name", PHOTOS, ids=[name[:20] for name in PHOTOS])
def test_a_photo_is_read_right_or_quarantined_for_its_reason(batch, name):
    photo, mask, expected = PHOTOS[name]
    if isinstance(expected, str):
        assert (batch.verdicts[name], batch.quarantine[name]["reason"]) == (expected, expected)
        assert batch.quarantine[name]["detail"] and name not in batch.records
        return
    assert batch.verdicts[name] == "ingested"
    record = batch.records[name]
    # The transform graph's decoder sees what was photographed, upright and under its mask.
    assert difference(tf.io.decode_image(record["image"]).numpy(), expected) <= 12
    assert np.array_equal(decoded(record["mask"]), decoded(mask))


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_read_right_or_quarantined_for_its_reason(batch, name):
    photo, (_, expected) = f"mask {name}.jpg", MASKS[name]
    if isinstance(expected, str):
        assert (batch.verdicts[photo], batch.quarantine[photo]["reason"]) == (expected, expected)
        assert photo not in batch.records
    else:
        assert np.array_equal(decoded(batch.records[photo]["mask"]), expected)


@pytest.mark.parametrize(
    "name, reason, detail",
    [
        ("twin_1.jpg", "duplicate_stem", "2 photos share"),
        ("twin_1.bmp", "duplicate_stem", "2 photos share"),
        (".hidden_1.jpg", "hidden_name", "begins with a dot"),
        ("._pug_1.jpg", "hidden_name", "begins with a dot"),
        ("self_1.jpg", "unreadable_photo", "Too many levels of symbolic links"),
        ("loop_1.jpg", "unreadable_photo", "Too many levels of symbolic links"),
        ("loop_2.jpg", "unreadable_photo", "Too many levels of symbolic links"),
        ("gone_1.jpg", "unreadable_photo", "No such file"),
        ("pipe_1.jpg", "unreadable_photo", "no regular file"),
        ("endless_1.jpg", "oversized_photo", "bytes are more than"),
        ("maskloop_1.jpg", "unreadable_mask", "Too many levels of symbolic links"),
    ],
)
def test_a_file_that_cannot_be_opened_or_told_apart_is_named(batch, name, reason, detail):
    assert batch.quarantine[name]["reason"] == reason
    assert detail in batch.quarantine[name]["detail"]


def test_the_rest_of_the_batch_is_unharmed_and_every_photo_is_counted(batch):
    images, trimaps = batch.source / "images", batch.source / "annotations" / "trimaps"
    for stem in [*CLEAN, *EVALUATED]:
        record = batch.records[f"{stem}.jpg"]
        assert record["image"] == (images / f"{stem}.jpg").read_bytes()
        assert record["mask"] == (trimaps / f"{stem}.png").read_bytes()
    manifest = batch.outcome.manifest
    folders_and_hidden = {"up", "up.jpg", ".hidden_1.jpg", "._pug_1.jpg"}
    assert set(batch.verdicts) == set(os.listdir(images)) - folders_and_hidden
    assert manifest.files_ignored == len(folders_and_hidden)
    assert manifest.photos_found == manifest.ingested + sum(manifest.quarantined.values())
    assert len(batch.records) == manifest.ingested


def test_what_cannot_be_read_does_not_make_the_next_ingest_rewrite_anything(batch):
    assert not run(batch.source, batch.data, max_quarantine=1).written


def test_the_damage_that_is_refused_is_one_that_tensorflow_and_pillow_decode_to_grey():
    # Why ingest decodes strictly: neither decoder that a training would use says a word.
    broken = damaged_inside(JPEG)
    for pixels in (tf.io.decode_jpeg(broken).numpy(), decoded(broken)):
        assert difference(pixels, RAMP) > 60


def test_all_orientations_keep_masks_that_are_stored_like_their_photos_aligned(tmp_path):
    source = write_pets(tmp_path / "source", CLEAN, EVALUATED)
    for n in STORED:
        photo, mask = as_stored(RAMP, n, quality=95, **turned(n)), as_stored(TRIMAP, n, "PNG")
        write_case(source, f"turned_{n}.jpg", photo, mask)
    write_lists(source, [*CLEAN, *(f"turned_{n}" for n in STORED)], EVALUATED)
    found = records(run(source, tmp_path / "data", masks_follow_exif=True).folder)
    for n in STORED:
        record = found[f"turned_{n}.jpg"]
        assert difference(tf.io.decode_image(record["image"]).numpy(), RAMP) <= 12
        assert np.array_equal(decoded(record["mask"]), TRIMAP)


def bomb() -> bytes:
    """A whole PNG of 30,000 x 30,000 pixels in 14 KB: 0.9 GB in Pillow, 2.7 GB as RGB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(30_000 * (1 + 30_000 // 8)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def apart() -> Iterator[dict[str, dict]]:
    """What an ingest without root's rights, in a process of its own, makes of some folders, see apart.py.

    pytest's own folders are closed to others, and root reads everything: hence a folder and a user of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        sources = {
            name: write_pets(Path(folder) / name, [*CLEAN, "Bengal_3"], EVALUATED)
            for name in ("warm", "bomb", "closed files", "open files", "closed folder")
        }
        for source in sources.values():
            source.chmod(0o777)
        bombed = sources["bomb"]
        write_case(bombed, "bomb_1.png", bomb(), MASK)
        write_case(bombed, "bomb_2.jpg", JPEG, bomb())
        write_lists(bombed, [*CLEAN, "Bengal_3", "bomb_1", "bomb_2"], EVALUATED)
        (sources["closed files"] / "images" / "Bengal_1.jpg").chmod(0)
        (sources["closed files"] / "annotations" / "trimaps" / "Bengal_2.png").chmod(0)
        (sources["closed folder"] / "images").chmod(0)
        done = subprocess.run([sys.executable, str(APART), *map(str, sources.values())], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout.splitlines()[-1])


def test_a_bomb_is_refused_before_it_is_decoded(apart):
    assert apart["bomb"]["quarantined"] == {"oversized_mask": 1, "oversized_photo": 1}
    assert apart["bomb"]["ingested"] == 5
    # Decoding one of them takes 900 MiB at least.
    assert apart["bomb"]["grown_mib"] < 400


def test_files_without_permission_are_quarantined_and_the_others_are_not(apart):
    assert apart["closed files"]["quarantined"] == {"unreadable_mask": 1, "unreadable_photo": 1}
    assert apart["closed files"]["ingested"] == 3
    assert apart["open files"]["quarantined"] == {}


def test_a_folder_without_permission_is_refused_by_name(apart):
    assert apart["closed folder"]["refused"].startswith("--images ")
    assert "Permission denied" in apart["closed folder"]["refused"]


def test_no_usable_photo_is_refused_with_the_reasons(tmp_path):
    source = write_pets(tmp_path / "source", ["a_1", "a_2"], ["a_3"])
    for path in (source / "images").iterdir():
        path.write_bytes(JPEG[:-100])
    with pytest.raises(RefusedError, match=r"none of 3 photos can be used \(3 corrupt_photo\)"):
        run(source, tmp_path / "data", max_quarantine=1)
    assert os.listdir(tmp_path / "data") == ["quarantine.jsonl"]


def test_a_folder_without_photos_is_wrong_usage(tmp_path):
    source = write_pets(tmp_path / "source", ["a_1"], [])
    (source / "images" / "a_1.jpg").unlink()
    with pytest.raises(UsageError, match="holds no photo"):
        run(source, tmp_path / "data")


@pytest.mark.parametrize("train, test, empty", [(["a_1"], [], "eval"), ([], ["a_1"], "train")])
def test_one_photo_leaves_a_split_empty_which_is_refused_by_name(tmp_path, train, test, empty):
    source = write_pets(tmp_path / "source", train, test)
    with pytest.raises(RefusedError, match=f"the {empty} split is empty"):
        run(source, tmp_path / "data")


@pytest.mark.parametrize("broken, passes", [(1, True), (2, False)])
def test_five_percent_of_quarantined_photos_pass_and_more_are_refused(tmp_path, broken, passes):
    stems = [f"cat_{n}" for n in range(20)]
    source = write_pets(tmp_path / "source", stems[:16], stems[16:])
    for stem in stems[:broken]:
        (source / "images" / f"{stem}.jpg").write_bytes(b"")
    if passes:
        assert run(source, tmp_path / "data").manifest.quarantined == {"empty_photo": 1}
    else:
        with pytest.raises(RefusedError, match=r"2 of 20 photos are quarantined .* share 0.05"):
            run(source, tmp_path / "data")


def test_a_mask_may_declare_255_as_ignored(tmp_path):
    source = write_pets(tmp_path / "source", CLEAN, EVALUATED)
    write_case(source, "edge_1.jpg", JPEG, encoded(halves(BACKGROUND, 255), "PNG"))
    write_lists(source, [*CLEAN, "edge_1"], EVALUATED)
    spec = FeatureSpec(ignore_values=(255,))
    annotations = source / "annotations"
    folders = (str(source / "images"), str(annotations / "trimaps"))
    outcome = ingest(str(tmp_path / "data"), *folders, spec, DataSettings(), split_lists=str(annotations))
    assert np.array_equal(decoded(records(outcome.folder)["edge_1.jpg"]["mask"]), halves(BACKGROUND, 255))
