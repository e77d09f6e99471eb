"""The alternative on the X-ray, on pictures whose outcome is known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from xrj.datamodules.images import Frame, frame, prepare
from xrj.justify.on_xray import BlendSettings, change_mask, draw_on_xray, fill

SETTINGS = BlendSettings(threshold=0.1, smooth=0.02, least=0.2, close=0.06, feather=0.04)
SIDE = 128


def chest(radius, side=SIDE, level=60.0):
    """Return a round heart in a flat chest."""
    rows, columns = np.mgrid[:side, :side] / side
    heart = np.hypot(rows - 0.55, columns - 0.52) < radius
    return np.where(heart, level + 100, level).astype(np.uint8)


def grain(shape, seed=0):
    return np.random.default_rng(seed).integers(-20, 20, shape)


@pytest.fixture
def xray():
    """Return an X-ray of another size, brightness and detail than G's pictures."""
    large = cv2.resize(chest(0.25), (500, 400), interpolation=cv2.INTER_AREA)
    return np.clip(large + 30 + grain(large.shape), 0, 255).astype(np.uint8)


def drawn(xray, before, after, margin=0.0):
    seen = prepare(xray, SIDE, margin)
    return draw_on_xray(xray, frame(xray.shape, SIDE, margin), seen, before, after, SETTINGS)


def test_outside_the_mask_every_pixel_is_the_xrays_own(xray):
    result = drawn(xray, chest(0.25), chest(0.15))
    reach = cv2.resize(
        (cv2.dilate(result.mask, np.ones((5, 5))) > 0).astype(np.uint8), xray.shape[::-1]
    )
    assert result.picture.shape == xray.shape
    assert (result.picture[reach == 0] == xray[reach == 0]).all()
    assert result.redrawn == pytest.approx(result.mask.mean(), rel=0.02)  # the frame is all of it


def test_pictures_without_difference_leave_the_xray_as_it_is(xray):
    result = drawn(xray, chest(0.25), chest(0.25))
    assert (result.picture == xray).all()
    assert result.redrawn == 0


def test_what_is_drawn_has_the_grey_level_of_the_xray_around_it(xray):
    # The X-ray is 30 levels brighter than G's pictures; the ring where the heart was is now lung.
    result = drawn(xray, chest(0.25), chest(0.15))
    rows, columns = (np.mgrid[:400, :500].T / [400, 500]).T
    distance = np.hypot(rows - 0.55, columns - 0.52)
    ring = (distance > 0.18) & (distance < 0.22)
    assert result.picture[ring].mean() == pytest.approx(90, abs=4)
    assert xray[ring].mean() == pytest.approx(190, abs=4)
    heart = distance < 0.12
    assert result.picture[heart].mean() == pytest.approx(190, abs=4)


def test_no_seam_is_left(xray):
    smooth = cv2.resize(chest(0.25), (500, 400), interpolation=cv2.INTER_AREA) + np.uint8(30)
    result = drawn(smooth, chest(0.25), chest(0.15))
    heart = cv2.dilate(
        cv2.resize((chest(0.15) != 60).astype(np.uint8), (500, 400)), np.ones((13, 13))
    )
    steps = np.abs(np.diff(result.picture.astype(int), axis=1))[heart[:, 1:] == 0]
    assert steps.max() <= 12  # of the 100 levels between heart and lung


def test_detail_finer_than_gs_pixels_stays_where_it_is_redrawn():
    # Columns that alternate at the X-ray's own resolution vanish at G's.
    large = cv2.resize(chest(0.25), (512, 512), interpolation=cv2.INTER_NEAREST).astype(int)
    striped = (large + 10 * (np.arange(512) % 2)).astype(np.uint8)
    result = drawn(striped, chest(0.25), chest(0.15))
    changed = result.picture != striped
    pairs = result.picture[:, 1::2].astype(int) - result.picture[:, ::2]
    assert np.median(pairs[changed[:, 1::2]]) == pytest.approx(10, abs=1)


@pytest.mark.parametrize("margin", [0.0, 0.09, 0.3])
def test_the_change_lies_where_the_model_saw_it(margin):
    # A square that appears at a place of the frame appears at that place of the X-ray.
    before = np.full((SIDE, SIDE), 100, np.uint8)
    after = before.copy()
    after[32:64, 64:96] = 200
    xray = np.full((300, 200), 100, np.uint8)
    result = drawn(xray, before, after, margin)
    part = frame(xray.shape, SIDE, margin)
    rows, columns = (np.where((result.picture > 150).any(axis=axis))[0] for axis in (1, 0))
    expected = [
        part.top + part.height * 0.25,
        part.top + part.height * 0.5,
        part.left + part.width * 0.5,
        part.left + part.width * 0.75,
    ]
    assert [rows[0], rows[-1] + 1, columns[0], columns[-1] + 1] == pytest.approx(expected, abs=2)


def test_the_frame_is_what_prepare_leaves():
    rows, _ = np.mgrid[:280, :140]
    part = frame(rows.shape, 64, 0.09)
    assert part == pytest.approx(Frame(3 / 70 * 280, 3 / 70 * 140, 64 / 70 * 280, 64 / 70 * 140))
    seen = prepare((rows / 280 * 255).astype(np.uint8), 64, 0.09)
    assert seen[0, 0] == pytest.approx(part.top / 280 * 255, abs=4)
    assert seen[-1, -1] == pytest.approx((part.top + part.height) / 280 * 255, abs=4)


def test_a_mask_closes_gaps_and_fades_to_nothing():
    before = np.full((SIDE, SIDE), 100, np.uint8)
    after = before.copy()
    after[40:80, 40:58] = 180
    after[40:80, 62:80] = 180  # a gap of four pixels, 3 % of the side
    mask = change_mask(before, after, SETTINGS)
    assert mask[60, 60] == 1
    assert mask[0, 0] == 0
    assert ((mask > 0) & (mask < 1)).any()
    assert mask.min() == 0
    assert mask.max() == 1


def test_islands_of_little_change_are_left_out():
    before = np.full((SIDE, SIDE), 100, np.uint8)
    after = before.copy()
    after[40:80, 40:80] = 180
    after[40:80, 100:120] = 180  # half as large
    after[10:16, 10:16] = 180
    mask = change_mask(before, after, SETTINGS)
    assert mask[60, 60] == mask[60, 110] == 1
    assert mask[13, 13] == 0


def test_faint_changes_are_left_out():
    before = np.full((SIDE, SIDE), 100, np.uint8)
    assert not change_mask(before, before + np.uint8(3), SETTINGS).any()
    assert change_mask(before, before + np.uint8(5), SETTINGS).all()


@pytest.mark.parametrize("strength", [40, 120])
def test_the_threshold_goes_with_the_strongest_change(strength):
    before = np.full((SIDE, SIDE), 100, np.uint8)
    after = before.copy()
    after[40:60, 40:80] += np.uint8(strength)
    after[60:80, 40:80] += np.uint8(strength * 0.3)
    for threshold, drawn_too in ((0.2, True), (0.4, False)):
        mask = change_mask(before, after, replace(SETTINGS, threshold=threshold, feather=0.01))
        assert mask[50, 60] == 1
        assert bool(mask[76, 60]) is drawn_too


def test_a_hole_is_filled_smoothly_from_its_border():
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    plane = 50 + 0.5 * rows + 0.2 * columns
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[40:80, 50:90] = 1
    spoilt = np.where(mask > 0, np.float32(1e4), plane)
    filled = fill(spoilt, mask)
    assert filled[mask == 0] == pytest.approx(plane[mask == 0])
    assert np.abs(filled - plane).max() < 8
    assert (fill(plane, np.ones_like(mask)) == 0).all()  # nothing is known
