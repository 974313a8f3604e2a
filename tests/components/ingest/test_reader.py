"""One photo and its mask: what is kept byte for byte, what is encoded once, and what is refused for which reason."""

import io
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
import tensorflow as tf
from drawing import BACKGROUND, CONTOUR, PET, STORED, decoded, encoded, halves, pet, turned
from PIL import Image

from components.ingest.duplicates import perceptual_hash
from components.ingest.opening import Unreadable, file_bytes
from components.ingest.reader import read_pair, upright_jpeg
from components.ingest.settings import DataSettings
from trainer.features import ClassSpec, FeatureSpec

PHOTO, TRIMAP = pet(40, 56)
JPEG, PNG = encoded(PHOTO, "JPEG", quality=90), encoded(TRIMAP, "PNG")
PETS, DATA = FeatureSpec(), DataSettings()

# A smooth photo, so that JPEG changes no pixel by more than a few levels and a comparison can be strict.
RAMP = np.stack([np.tile(np.linspace(20, 230, 56), (40, 1)), np.full((40, 56), 90), np.full((40, 56), 160)], -1)
RAMP = RAMP.astype(np.uint8)
GREY = RAMP[..., 0]


def read(photo: bytes = JPEG, mask: bytes = PNG, spec: FeatureSpec = PETS, **settings):
    return read_pair(photo, mask, spec, DataSettings(**settings))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(float) - b.astype(float)).max())


def test_a_clean_jpeg_and_a_clean_png_keep_their_bytes():
    pair = read()
    assert (pair.image, pair.mask) == (JPEG, PNG)
    assert (pair.height, pair.width) == (40, 56)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 2}, turned(1), {"comment": b"a comment"}])
def test_any_upright_rgb_jpeg_is_clean(options):
    jpeg = encoded(PHOTO, "JPEG", **options)
    assert read(jpeg).image == jpeg


def with_alpha() -> Image.Image:
    """The ramp, opaque on the left and fully transparent on the right."""
    return Image.fromarray(np.dstack([RAMP, halves(255, 0)]))


RIGHT = halves(0, 1)[..., np.newaxis] == 1
ON_WHITE = np.where(RIGHT, 255, RAMP)
GREY_RGB = np.repeat(GREY[..., np.newaxis], 3, axis=-1)


def palette() -> Image.Image:
    """A picture of two colours that has a palette."""
    picture = Image.fromarray(halves(0, 1), "P")
    picture.putpalette([250, 10, 10, 10, 10, 250])
    return picture


PALETTE_RGB = np.where(RIGHT, (10, 10, 250), (250, 10, 10))


@pytest.mark.parametrize(
    "photo, pixels",
    [
        (encoded(palette(), "GIF"), PALETTE_RGB),
        (encoded(palette(), "PNG"), PALETTE_RGB),
        (encoded(palette(), "PNG", transparency=1), np.where(RIGHT, 255, PALETTE_RGB)),
        (encoded(with_alpha(), "PNG"), ON_WHITE),
        (encoded(with_alpha(), "WEBP", lossless=True), ON_WHITE),
        (encoded(np.dstack([GREY, np.full_like(GREY, 255)]), "PNG"), GREY_RGB),
        (encoded(GREY, "JPEG", quality=95), GREY_RGB),
        (encoded(GREY, "PNG"), GREY_RGB),
        (encoded(Image.fromarray(RAMP).convert("CMYK"), "JPEG", quality=95), RAMP),
        (encoded(GREY.astype(np.uint16) * 256, "PNG"), GREY_RGB),
        (encoded(halves(0, 255) > 0, "PNG"), np.repeat(halves(0, 255)[..., np.newaxis], 3, axis=-1)),
        (encoded(RAMP, "PNG"), RAMP),
        (encoded(RAMP, "BMP"), RAMP),
        (encoded(RAMP, "TIFF"), RAMP),
    ],
    ids=[
        *("GIF", "PNG palette", "PNG palette transparent", "PNG alpha", "WebP alpha", "PNG grey alpha", "JPEG grey"),
        *("PNG grey", "JPEG CMYK", "PNG 16 bits", "PNG 1 bit", "PNG RGB", "BMP", "TIFF"),
    ],
)
def test_any_other_photo_is_encoded_once_as_an_rgb_jpeg_that_shows_the_same(photo, pixels):
    pair = read(photo)
    opened = decoded(pair.image)
    assert pair.image != photo
    assert difference(opened, pixels) <= 6
    # What was encoded once is clean from then on: reading it again changes nothing.
    assert read(pair.image).image == pair.image


def test_an_animation_gives_its_first_picture():
    frames = [Image.fromarray(np.full((40, 56), value, np.uint8)) for value in (200, 20)]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert difference(decoded(read(animation).image), np.full((40, 56, 3), 200)) <= 6


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("masks_follow_exif", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_turned_photo_is_stored_upright_with_its_mask_on_it(orientation, masks_follow_exif, kind):
    photo = encoded(np.ascontiguousarray(STORED[orientation](RAMP)), kind, **turned(orientation))
    stored_mask = np.ascontiguousarray(STORED[orientation](TRIMAP)) if masks_follow_exif else TRIMAP
    pair = read(photo, encoded(stored_mask, "PNG"), masks_follow_exif=masks_follow_exif)
    # TensorFlow's decoder, which the transform graph uses, ignores EXIF: what it sees must be upright already.
    assert difference(tf.io.decode_image(pair.image).numpy(), RAMP) <= 8
    assert np.array_equal(decoded(pair.mask), TRIMAP)
    assert (pair.height, pair.width) == (40, 56)


def test_an_upright_photo_leaves_its_mask_alone_when_masks_follow_exif():
    pair = read(masks_follow_exif=True)
    assert (pair.image, pair.mask) == (JPEG, PNG)


def test_a_mask_that_is_turned_against_its_upright_photo_does_not_fit():
    photo = encoded(np.ascontiguousarray(STORED[6](PHOTO)), "JPEG", **turned(6))
    stored_mask = encoded(np.ascontiguousarray(STORED[6](TRIMAP)), "PNG")
    with pytest.raises(Unreadable, match="the mask is 40x56, its photo 56x40") as refusal:
        read(photo, stored_mask, masks_follow_exif=False)
    assert refusal.value.reason == "mask_size"


def in_palette(values: np.ndarray) -> Image.Image:
    """A mask as annotation tools write it: values are indices, colours are for the eye."""
    picture = Image.fromarray(values, "P")
    picture.putpalette([0, 0, 0, 228, 87, 46, 23, 67, 94, 255, 201, 20] + [0] * 756)
    return picture


RGB_GREY = np.repeat(TRIMAP[..., np.newaxis], 3, axis=-1)
OPAQUE = np.full((40, 56, 1), 255, np.uint8)


@pytest.mark.parametrize(
    "mask",
    [
        encoded(in_palette(TRIMAP), "PNG"),
        encoded(in_palette(TRIMAP), "PNG", bits=2),
        encoded(in_palette(TRIMAP), "GIF", optimize=False),
        encoded(RGB_GREY, "PNG"),
        encoded(np.dstack([RGB_GREY, OPAQUE]), "PNG"),
        encoded(np.dstack([TRIMAP, OPAQUE]), "PNG"),
        encoded(TRIMAP.astype(np.uint16), "PNG"),
        encoded(TRIMAP.astype(np.int32), "TIFF"),
        encoded(TRIMAP, "BMP"),
        encoded(TRIMAP, "TIFF"),
    ],
    ids=[
        *("palette PNG", "palette of 2 bits", "palette GIF", "RGB grey", "RGBA grey", "grey alpha", "16 bits"),
        *("32 bits", "BMP", "TIFF"),
    ],
)
def test_a_mask_of_any_kind_becomes_a_one_channel_png_of_its_own_values(mask):
    written = read(mask=mask).mask
    assert Image.open(io.BytesIO(written)).mode == "L"
    assert np.array_equal(decoded(written), TRIMAP)
    assert np.array_equal(tf.io.decode_png(written).numpy()[..., 0], TRIMAP)


def test_a_one_bit_mask_holds_zero_and_one():
    spec = FeatureSpec(classes=(ClassSpec(name="background", values=(0,)), ClassSpec(name="thing", values=(1,))))
    pair = read(mask=encoded(halves(0, 1) > 0, "PNG"), spec=spec)
    assert np.array_equal(decoded(pair.mask), halves(0, 1))
    assert pair.class_shares == [0.5, 0.5]


def half_of(data: bytes) -> bytes:
    return data[: len(data) // 2]


TWO = FeatureSpec(
    classes=(ClassSpec(name="background", values=(0,)), ClassSpec(name="thing", values=(1, 2))), ignore_values=(255,)
)
BIG = np.zeros((400, 300), np.uint8)


@pytest.mark.parametrize(
    "photo, mask, settings, reason, detail",
    [
        (b"", PNG, {}, "empty_photo", "zero bytes"),
        (b"no picture at all", PNG, {}, "undecodable_photo", "no image format"),
        (half_of(JPEG), PNG, {}, "corrupt_photo", None),
        (JPEG[:-20], PNG, {}, "corrupt_photo", None),
        (half_of(encoded(PHOTO, "PNG")), PNG, {}, "corrupt_photo", None),
        (half_of(encoded(PHOTO[..., 0], "JPEG")), PNG, {}, "corrupt_photo", None),
        (JPEG, PNG, {"max_pixels": 2239}, "oversized_photo", "56x40 pixels are more than data.max_pixels 2239"),
        (JPEG, b"", {}, "empty_mask", "zero bytes"),
        (JPEG, b"no picture at all", {}, "undecodable_mask", "no image format"),
        (JPEG, half_of(PNG), {}, "corrupt_mask", None),
        (JPEG, half_of(encoded(in_palette(TRIMAP), "PNG")), {}, "undecodable_mask", None),
        (JPEG, encoded(BIG, "PNG"), {"max_pixels": 2240}, "oversized_mask", "300x400"),
        (JPEG, encoded(TRIMAP[1:], "PNG"), {}, "mask_size", "the mask is 56x39, its photo 56x40"),
        (JPEG, encoded(halves(PET, 0), "PNG"), {}, "mask_value", r"values \[0\] are not in the configured \[1, 2, 3\]"),
        (JPEG, encoded(TRIMAP.astype(np.uint16) * 200, "PNG"), {}, "mask_value", "600 is not in 0..255"),
        (JPEG, encoded(TRIMAP.astype(np.int32) - 2, "TIFF"), {}, "mask_value", "0..255"),
        (JPEG, encoded(PHOTO, "PNG"), {}, "mask_in_colour", "mode RGB"),
    ],
    ids=[
        *("empty photo", "text for a photo", "half a JPEG", "JPEG without its end", "half a PNG", "half a grey JPEG"),
        *("large photo", "empty mask", "text for a mask", "half a mask", "half a palette mask", "large mask"),
        *("other size", "strange value", "value over 255", "value under 0", "coloured mask"),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_its_reason(photo, mask, settings, reason, detail):
    with pytest.raises(Unreadable, match=detail) as refusal:
        read(photo, mask, **settings)
    assert refusal.value.reason == reason


def test_a_mask_that_is_ignored_everywhere_is_refused():
    with pytest.raises(Unreadable) as refusal:
        read(mask=encoded(np.full((40, 56), 255, np.uint8), "PNG"), spec=TWO)
    assert refusal.value.reason == "mask_all_ignored"


def test_a_header_that_claims_more_pixels_than_memory_is_refused_unread():
    # A few hundred bytes that promise 30,000 x 30,000 pixels: decoding them would take 2.7 GB.
    png = encoded(PHOTO, "PNG")
    header = b"IHDR" + struct.pack(">II", 30_000, 30_000) + png[24:29]
    header_only = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    with pytest.raises(Unreadable, match="30000x30000") as refusal:
        read(header_only)
    assert refusal.value.reason == "oversized_photo"


def test_class_shares_are_of_the_pixels_that_count():
    shares = dict(zip(PETS.class_names, read().class_shares, strict=True))
    counts = np.bincount(TRIMAP.ravel())
    for name, value in (("pet", PET), ("background", BACKGROUND), ("contour", CONTOUR)):
        assert shares[name] == pytest.approx(counts[value] / TRIMAP.size)


def test_ignored_pixels_count_for_no_share_and_several_values_make_one_class():
    mask = np.array([[0, 1, 2, 255]], np.uint8).repeat(10, axis=0).repeat(14, axis=1)[:, :56]
    assert read(encoded(PHOTO[:10], "JPEG"), encoded(mask, "PNG"), TWO).class_shares == pytest.approx([1 / 3, 2 / 3])


def test_classes_may_be_many():
    many = FeatureSpec(
        classes=tuple(ClassSpec(name=f"class-{v}", values=(v,)) for v in range(20)), background="class-0"
    )
    mask = np.arange(40 * 56, dtype=np.int64).reshape(40, 56) * 19 // (40 * 56 - 1)
    shares = read(mask=encoded(mask.astype(np.uint8), "PNG"), spec=many).class_shares
    assert shares == pytest.approx(np.bincount(mask.ravel(), minlength=20) / mask.size)
    with pytest.raises(Unreadable, match=r"\[20, 21\]"):
        read(mask=encoded((mask + 2).astype(np.uint8), "PNG"), spec=many)


@pytest.mark.parametrize("colour, brightness", [(0, 0.0), (51, 0.2), (255, 1.0), ((255, 0, 0), 0.299)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_brightness_is_the_mean_luma_in_0_to_1(kind, colour, brightness):
    photo = np.full((40, 56, 3), colour, np.uint8)
    assert read(encoded(photo, kind)).brightness == pytest.approx(brightness, abs=0.005)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_damage_of_any_kind_is_refused_or_read_but_never_stops_the_ingest(kind):
    """What comes back decodes with the transform graph's decoder; nothing but Unreadable is ever raised."""
    rng = np.random.default_rng(5)
    photo = encoded(PHOTO, kind, **turned(3) if kind in ("JPEG", "PNG") else {})
    mask = encoded(in_palette(TRIMAP), kind if kind in ("GIF", "BMP", "TIFF") else "PNG")
    refused = 0
    for _ in range(40):
        damaged = [bytearray(photo), bytearray(mask)]
        for data in damaged:
            for position in rng.integers(0, len(data), 3):
                data[position] = rng.integers(256)
        for a, b in ((bytes(damaged[0]), PNG), (JPEG, bytes(damaged[1]))):
            try:
                pair = read(a, b, max_pixels=1_000_000, masks_follow_exif=False)
            except Unreadable:
                refused += 1
            else:
                assert tf.io.decode_jpeg(pair.image).shape == (40, 56, 3)
                assert tf.io.decode_png(pair.mask).shape == (40, 56, 1)
    assert refused


LARGE_PHOTO, LARGE_TRIMAP = pet(300, 420)
LARGE_GREY = np.asarray(Image.fromarray(LARGE_PHOTO).convert("L"))


@pytest.mark.parametrize("photo", [encoded(LARGE_PHOTO, "PNG"), encoded(LARGE_PHOTO, "JPEG")], ids=["PNG", "JPEG"])
def test_a_large_photo_is_told_as_if_all_its_pixels_were_decoded(photo):
    pair = read(photo, encoded(LARGE_TRIMAP, "PNG"))
    assert (pair.height, pair.width) == (300, 420)
    assert pair.brightness == pytest.approx(LARGE_GREY.mean() / 255, abs=0.005)
    apart = int(pair.perceptual_hash, 16) ^ int(perceptual_hash(LARGE_GREY), 16)
    assert apart.bit_count() <= 2


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_a_large_photo_is_refused_for_just_the_damage_that_a_full_decode_sees(options):
    jpeg, mask = encoded(LARGE_PHOTO, "JPEG", **options), encoded(LARGE_TRIMAP, "PNG")
    rng, seen = np.random.default_rng(3), []
    for _ in range(60):
        damaged = bytearray(jpeg)
        for position in rng.integers(len(jpeg) // 10, len(jpeg), rng.integers(1, 4)):
            damaged[position] = rng.integers(256)
        try:
            simplejpeg.decode_jpeg(bytes(damaged), strict=True)
            seen.append(False)
            read(bytes(damaged), mask)
        except ValueError:
            seen.append(True)
            with pytest.raises(Unreadable, match="corrupt_photo"):
                read(bytes(damaged), mask)
    assert set(seen) == {False, True}


def lossless_jpeg() -> bytes:
    """A JPEG of the lossless process (ITU-T T.81, annex H), one grey: a bit 0 for every value, no difference."""

    def segment(marker: int, content: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

    height, width, parts = 40, 56, (1, 2, 3)
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xEE, b"Adobe\x00\x64" + bytes(5)),
            segment(0xC4, bytes([0, 1, *[0] * 15, 0])),
            segment(0xC3, struct.pack(">BHHB", 8, height, width, 3) + b"".join(bytes([n, 0x11, 0]) for n in parts)),
            segment(0xDA, b"\x03" + b"".join(bytes([n, 0]) for n in parts) + b"\x01\x00\x00"),
            bytes(height * width * 3 // 8),
            b"\xff\xd9",
        ]
    )


def test_a_jpeg_that_the_transform_graph_cannot_decode_is_refused():
    jpeg = lossless_jpeg()
    assert (simplejpeg.decode_jpeg(jpeg, strict=True) == 128).all()
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_jpeg(jpeg)
    with pytest.raises(Unreadable) as refusal:
        upright_jpeg(jpeg, DATA.max_pixels)
    assert refusal.value.reason == "corrupt_photo"


@pytest.mark.parametrize("photo", [encoded(RAMP, "PNG"), encoded(RAMP, "JPEG")], ids=["PNG", "JPEG"])
def test_upright_jpeg_also_returns_the_pixels_that_will_be_decoded(photo):
    jpeg, pixels = upright_jpeg(photo, DATA.max_pixels)
    assert difference(pixels, tf.io.decode_jpeg(jpeg).numpy()) <= 8


@pytest.mark.parametrize("what", ["photo", "mask"])
def test_a_file_that_is_gone_is_unreadable(tmp_path, what):
    with pytest.raises(Unreadable, match="No such file") as refusal:
        file_bytes(str(tmp_path / "gone.jpg"), what)
    assert refusal.value.reason == f"unreadable_{what}"
