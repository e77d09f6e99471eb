"""Widths, components and overlaps of masks painted by hand."""

import cv2
import numpy as np
import pytest

from xrj.datamodules.images import resize
from xrj.measures.masks import components, dice, width_of


def box(left, right, top=40, bottom=90, size=128):
    """Paint a rectangle whose ends lie anywhere between two pixels."""
    columns = np.arange(size)
    share = np.clip(right - columns, 0, 1) * np.clip(columns + 1 - left, 0, 1)
    mask = np.zeros((size, size), np.float32)
    mask[top:bottom] = share
    return mask


@pytest.mark.parametrize("left", [20.0, 20.25, 20.5, 20.75, 0.0])
@pytest.mark.parametrize("right", [100.0, 100.3, 100.5, 100.9, 128.0])
def test_ends_lie_between_the_pixels(left, right):
    found = width_of(box(left, right))
    assert found.left * 128 == pytest.approx(left, abs=0.13)
    assert found.right * 128 == pytest.approx(right, abs=0.13)
    assert found.length * 128 == pytest.approx(right - left, abs=0.2)


def test_whole_and_half_pixels_are_exact():
    found = width_of(box(20.5, 100))
    assert (found.left, found.right) == (20.5 / 128, 100 / 128)
    assert width_of(np.zeros((16, 16), np.float32)) is None


def test_the_row_is_that_of_the_widest_place():
    mask = box(40, 80, 30, 100)
    mask[70, 30:90] = 1
    found = width_of(mask)
    assert (found.left * 128, found.right * 128, found.row * 128) == (30, 90, 70.5)


@pytest.mark.parametrize("shift", [0, 3, 7])
def test_a_round_heart_between_two_lungs_has_the_ratio_it_was_painted_with(shift):
    """A circle over two ellipses, painted 8 times as large."""
    large = {name: np.zeros((1024, 1024), np.uint8) for name in ("heart", "lungs")}
    cv2.circle(large["heart"], (540 + shift, 640), 200, 255, -1)
    for x in (280, 760):
        cv2.ellipse(large["lungs"], (x + shift, 500), (160, 330), 0, 0, 360, 255, -1)
    heart, lungs = (width_of(resize(large[n], 128) / np.float32(255)) for n in large)
    true = 401 / (760 + 160 - 280 + 160 + 1)  # OpenCV paints both ends
    assert heart.length / lungs.length == pytest.approx(true, abs=0.003)


def test_the_largest_components_are_kept_with_their_soft_edge():
    mask = box(20.5, 50) + box(80, 100.25)
    mask[100:104, 60:64] = 1
    kept, areas = components(mask, 2)
    assert areas == sorted(areas, reverse=True)
    assert len(areas) == 3
    assert np.array_equal(kept, box(20.5, 50) + box(80, 100.25))
    single, _ = components(mask, 1)
    assert np.array_equal(single, box(20.5, 50))


def test_overlap_of_halves_that_share_a_half():
    a, b = np.zeros((8, 8)), np.zeros((8, 8))
    a[:, :4], b[:, 2:6] = 1, 1
    assert dice(a, a) == 1
    assert dice(a, b) == 0.5
    assert dice(a, 1 - a) == 0
