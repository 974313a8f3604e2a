"""What the fuzzers feed and what must hold: the ingest's file reader and the config loader, see run.py.

check_pair(photo, mask)      # raises AssertionError, or whatever should never leave the reader
check_config(content)
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import simplejpeg
import tensorflow as tf
import yaml
from hypothesis import strategies as st
from PIL import Image

from components.errors import UsageError
from components.ingest.opening import Unreadable
from components.ingest.reader import read_pair
from components.ingest.settings import DataSettings
from pipeline.config import Config, load_config
from trainer.features import FeatureSpec

HEIGHT, WIDTH = 24, 32
# Small, so that a forged size costs no time: the fuzzer looks for mistakes, test_bad_files.py for large pictures.
SETTINGS = [DataSettings(max_pixels=250_000, masks_follow_exif=follow) for follow in (False, True)]


def _encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def photo_seeds() -> list[bytes]:
    """A real encoding of every kind."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    rgb = Image.fromarray(noise)
    grey, cmyk, palette = rgb.convert("L"), rgb.convert("CMYK"), rgb.quantize(32)
    bits16 = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    return [
        _encoded(rgb, "JPEG", quality=90),
        _encoded(rgb, "JPEG", progressive=True, subsampling=0),
        _encoded(rgb, "JPEG", exif=_turned(6)),
        _encoded(rgb, "JPEG", restart_marker_blocks=2),
        _encoded(grey, "JPEG"),
        _encoded(cmyk, "JPEG"),
        simplejpeg.encode_jpeg(np.ascontiguousarray(np.asarray(cmyk)), colorspace="CMYK"),
        _encoded(rgb, "MPO", save_all=True, append_images=[rgb]),
        _encoded(rgb, "PNG"),
        _encoded(rgb, "PNG", exif=_turned(3)),
        _encoded(rgb.convert("RGBA"), "PNG"),
        _encoded(grey.convert("LA"), "PNG"),
        _encoded(palette, "PNG", transparency=1),
        _encoded(bits16, "PNG"),
        _encoded(grey.convert("1"), "PNG"),
        _encoded(palette, "GIF"),
        _encoded(palette, "GIF", save_all=True, append_images=[palette.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]),
        _encoded(rgb, "BMP"),
        _encoded(palette, "BMP"),
        _encoded(rgb, "WEBP", lossless=True),
        _encoded(rgb, "WEBP", quality=80, exif=_turned(8)),
        _encoded(rgb, "WEBP", save_all=True, append_images=[grey.convert("RGB")]),
        _encoded(rgb, "TIFF"),
        _encoded(rgb, "TIFF", compression="tiff_lzw"),
        _encoded(rgb, "TIFF", compression="jpeg"),
        _encoded(grey.convert("1"), "TIFF", compression="group4"),
        _encoded(rgb.convert("F"), "TIFF"),
    ]


def mask_seeds() -> list[bytes]:
    """A real mask of every kind."""
    values = np.random.default_rng(1).integers(1, 4, (HEIGHT, WIDTH), np.uint8)
    grey = Image.fromarray(values)
    return [
        _encoded(grey, "PNG"),
        _encoded(Image.fromarray(values, "P"), "PNG"),
        _encoded(grey.convert("RGB"), "PNG"),
        _encoded(Image.fromarray(values.astype(np.uint16)), "PNG"),
        _encoded(grey, "GIF", optimize=False),
        _encoded(grey, "BMP"),
        _encoded(grey, "TIFF"),
        _encoded(Image.fromarray(values.astype(np.int32)), "TIFF", compression="tiff_lzw"),
        _encoded(Image.fromarray(values.astype(np.float32)), "TIFF"),
    ]


PHOTOS, MASKS = photo_seeds(), mask_seeds()


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A real file with up to six pieces of damage: bytes changed, cut out, put in, doubled, or another file's."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        # Most of what a decoder decides by stands at the beginning.
        limit = len(data) if draw(st.booleans()) else min(len(data), 64)
        at = draw(st.integers(0, limit))
        length = draw(st.sampled_from([1, 1, 2, 4, 16, 200]))
        kind = draw(st.sampled_from(["change", "change", "edge", "cut", "put", "double", "other", "end"]))
        if kind == "change":
            data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "edge":
            data[at : at + length] = draw(st.sampled_from([b"\0", b"\1", b"\x7f", b"\x80", b"\xff"])) * length
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "put":
            data[at:at] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "double":
            data[at:at] = data[at : at + length]
        elif kind == "other":
            data[at:] = draw(st.sampled_from(seeds))[at:]
        else:
            del data[at:]
    return bytes(data)


def pairs() -> st.SearchStrategy[tuple[bytes, bytes]]:
    """A damaged photo with a sound mask, a sound photo with a damaged mask, or both damaged."""
    return st.tuples(damaged(PHOTOS), damaged(MASKS)) | st.one_of(
        st.tuples(damaged(PHOTOS), st.sampled_from(MASKS)), st.tuples(st.sampled_from(PHOTOS), damaged(MASKS))
    )


def check_pair(photo: bytes, mask: bytes) -> str:
    """Reads a pair under both settings. Only Unreadable leaves the reader, and what it takes the transform graph takes.

    Returns:
      What came of it: `read`, or the reason.
    """
    for settings in SETTINGS:
        try:
            pair = read_pair(photo, mask, FeatureSpec(), settings)
        except Unreadable as error:
            assert error.reason.isidentifier() and error.detail and "\n" not in error.detail.strip()
            outcome = error.reason
        else:
            assert tf.io.decode_jpeg(pair.image, channels=3).shape == (pair.height, pair.width, 3)
            assert tf.io.decode_png(pair.mask, channels=1).shape == (pair.height, pair.width, 1)
            assert abs(sum(pair.class_shares) - 1) < 1e-6 and 0 <= pair.brightness <= 1
            outcome = "read"
    return outcome


def _keys(section: dict) -> Iterator[str]:
    for key, value in section.items():
        yield key
        if isinstance(value, dict):
            yield from _keys(value)


DEFAULTS = Config().model_dump(mode="json")
_WORDS = [
    *_keys(DEFAULTS),
    "pet",
    "breed",
    "(",
    "a{99999999999}",
    "\\9",
    "residual",
    "min",
    "max",
    "<<",
    "2001-99-99",
    "0x",
    "\0",
]
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(_WORDS) | st.text(max_size=8) | st.dates()
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS) | _LEAVES, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def changed_defaults(draw: st.DrawFn) -> bytes:
    """The whole config with up to four values replaced, as YAML."""
    content = yaml.safe_load(yaml.safe_dump(DEFAULTS))
    for _ in range(draw(st.integers(1, 4))):
        section = content
        key = draw(st.sampled_from(sorted(section)))
        while isinstance(section[key], dict) and section[key] and draw(st.booleans()):
            section = section[key]
            key = draw(st.sampled_from(sorted(section, key=str)))
        section[key] = draw(_VALUES)
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")


_SYNTAX = st.lists(
    st.sampled_from(
        [*_WORDS, *"{}[]:,-&*!|>?%@`'\"#\n\t ", ": ", "- ", "&a ", "*a", "!!int ", "!!binary ", "? ", "\n  "]
    ),
    max_size=40,
).map(lambda parts: "".join(parts).encode())


def configs() -> st.SearchStrategy[bytes]:
    """Files that a person could have meant as a config, and files that nobody could."""
    sections = st.dictionaries(st.sampled_from(sorted(DEFAULTS)), _VALUES, min_size=1, max_size=3)
    written = sections.map(
        lambda content: yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")
    )
    return (
        changed_defaults() | written | _SYNTAX | damaged([yaml.safe_dump(DEFAULTS).encode()]) | st.binary(max_size=60)
    )


def check_config(content: bytes) -> str:
    """Loads a config. Only UsageError leaves the loader, in one line; what it takes, it takes again once written.

    Returns:
      What came of it: `taken` or `refused`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "own.yaml")
        try:
            config = load_config(_written(path, content))
        except UsageError as error:
            assert str(error).startswith(path) and len(str(error).splitlines()) == 1
            return "refused"
        again = yaml.safe_dump(config.model_dump(mode="json"), allow_unicode=True, sort_keys=False).encode(
            "utf-8", "surrogatepass"
        )
        assert repr(load_config(_written(path, again))) == repr(config)
    return "taken"


def _written(path: str, content: bytes) -> str:
    with open(path, "wb") as file:
        file.write(content)
    return path


def pack(photo: bytes, mask: bytes) -> bytes:
    """A pair as one regression file."""
    return len(photo).to_bytes(4, "big") + photo + mask


def unpack(content: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(content[:4], "big")
    return content[4 : 4 + length], content[4 + length :]


CHECKS: dict[str, Callable[[bytes], str]] = {
    "pair": lambda content: check_pair(*unpack(content)),
    "config": check_config,
}
"""Kind of a regression file (its suffix) -> what must hold for it."""


def inputs(kind: str) -> st.SearchStrategy[bytes]:
    return pairs().map(lambda pair: pack(*pair)) if kind == "pair" else configs()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Damage makes decoders chatter on the standard error of the process, thousands of lines of it."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
