"""Masks and overlays as a user opens them."""

import os

import numpy as np
import pytest
from drawing import halves
from PIL import Image

from components.inference.pictures import colour_table, coloured, mask_picture, overlay_picture, save_png

NIGHT, DUSK, DAY, IGNORED = 0, 1, 2, 255
LABELS = halves(NIGHT, DUSK)
LABELS[20:, 28:] = DAY


def test_declared_colours_are_used_and_others_come_from_the_palette(spec):
    table = colour_table(spec)
    assert table[NIGHT].tolist() == [0x10, 0x20, 0x30]
    assert table[DUSK].tolist() == [0xFF, 0x80, 0x00]
    assert len({tuple(row) for row in table[:3].tolist()}) == 3
    assert table[IGNORED].tolist() == [128, 128, 128]


def test_a_mask_holds_the_users_own_values_and_shows_the_classes_colours(tmp_path, spec):
    save_png(mask_picture(LABELS, spec), str(tmp_path / "mask.png"))
    opened = Image.open(tmp_path / "mask.png")
    assert (opened.mode, opened.size) == ("P", (56, 40))
    # A class of several values is written as the first of them.
    assert np.array_equal(np.asarray(opened), np.array([7, 40, 200], np.uint8)[LABELS])
    assert np.array_equal(np.asarray(opened.convert("RGB")), colour_table(spec)[LABELS])


def test_an_overlay_leaves_the_background_clear_and_tints_the_rest(spec):
    photo = np.full((40, 56, 3), 100, np.uint8)
    overlay = np.asarray(overlay_picture(photo, LABELS, spec))
    assert (overlay[LABELS == NIGHT] == 100).all()
    # Half photo, half colour.
    assert overlay[0, 50].tolist() == pytest.approx([(100 + 0xFF) / 2, (100 + 0x80) / 2, 50], abs=1)


def test_the_opacity_of_an_overlay_can_be_chosen(spec):
    photo = np.full((40, 56, 3), 100, np.uint8)
    assert np.array_equal(np.asarray(overlay_picture(photo, LABELS, spec, opacity=0)), photo)
    opaque = np.asarray(overlay_picture(photo, LABELS, spec, opacity=1))
    assert np.array_equal(opaque[LABELS != NIGHT], colour_table(spec)[LABELS[LABELS != NIGHT]])


def test_ignored_pixels_are_grey(spec):
    labels = np.array([[NIGHT, IGNORED]], np.uint8)
    assert np.asarray(coloured(labels, spec)).tolist() == [[[0x10, 0x20, 0x30], [128, 128, 128]]]


def test_a_picture_replaces_an_older_one_and_leaves_no_part_of_itself(tmp_path, spec):
    path = tmp_path / "new" / "folder" / "a.png"
    for labels in (LABELS, LABELS[::-1]):
        save_png(coloured(labels, spec), str(path))
    assert os.listdir(path.parent) == ["a.png"]
    assert np.array_equal(np.asarray(Image.open(path)), colour_table(spec)[LABELS[::-1]])
