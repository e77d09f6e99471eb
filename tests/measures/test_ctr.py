"""The CTR meter: its rules by hand-made readings, and its weights on phantoms and real X-rays."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from tests.measures.test_masks import box
from xrj.datamodules.images import resize
from xrj.datamodules.masks import read_masks
from xrj.datamodules.phantom import write_phantom
from xrj.datamodules.phantom_anatomy import draw_acquisition
from xrj.datamodules.phantom_lateral import render_lateral
from xrj.datamodules.phantom_render import frontal_truth, render_frontal
from xrj.datamodules.phantom_study import draw_masks, draw_study
from xrj.errors import DataError
from xrj.measures.ctr import (
    WEIGHTS,
    errors_of,
    load_segmenter,
    main,
    measure_chest,
    measure_rows,
)
from xrj.measures.masks import dice
from xrj.nets.segmenter import Segmenter

SEED = 5077  # none that the weights were trained on


class Painted(torch.nn.Module):
    """A net that answers each picture with masks painted by hand."""

    size = 128

    def __init__(self, heart, lungs):
        super().__init__()
        self.masks, self.calls = np.stack([heart, lungs]), 0

    def forward(self, images):
        self.calls += 1
        logits = torch.logit(torch.from_numpy(self.masks).float().clamp(0.001, 0.999))
        return logits.expand(len(images), -1, -1, -1)


HEART = box(50, 100.5, 60, 100)
LUNGS = box(20, 48, 20, 100) + box(81, 120.5, 20, 100)
PICTURE = cv2.resize((255 * HEART).astype(np.uint8), (300, 200))


def chest_of(heart, lungs):
    (chest,) = measure_chest([PICTURE], Painted(heart, lungs))
    return chest


def without_moves(monkeypatch):
    monkeypatch.setattr("xrj.measures.ctr.READINGS", ((0, 0, 1.0),) * 4)


def test_painted_masks_have_their_widths(monkeypatch):
    without_moves(monkeypatch)
    chest = chest_of(HEART, LUNGS)
    assert chest.confident
    assert chest.heart_width.left == pytest.approx(50 / 128, abs=1e-3)
    assert chest.heart_width.right == pytest.approx(100.5 / 128, abs=1e-3)
    assert chest.thorax_width.left == pytest.approx(20 / 128, abs=1e-3)
    assert chest.thorax_width.right == pytest.approx(120.5 / 128, abs=1e-3)
    assert chest.ctr == pytest.approx(50.5 / 100.5, abs=1e-3)
    assert chest.shape == chest.region.shape == PICTURE.shape
    assert chest.region.mean() == pytest.approx(HEART.mean(), abs=0.005)


SMALL = box(60, 66, 10, 16)
DOUBTS = {
    "two hearts": (HEART + 0.9 * box(10, 30, 105, 125), LUNGS),
    "one lung": (HEART, box(20, 48, 20, 100)),
    "three lungs": (HEART, LUNGS + box(50, 75, 5, 30)),
    "lungs in one": (HEART, np.maximum(LUNGS, box(20, 120, 20, 24))),
    "lungs on one side": (box(100, 126, 60, 100), box(10, 40) + box(50, 90)),
    "no heart": (0 * HEART, LUNGS),
    "cut at the left": (HEART, box(0, 48, 20, 100) + box(81, 120, 20, 100)),
    "cut at the right": (HEART, box(20, 48, 20, 100) + box(81, 128, 20, 100)),
    "no human's heart": (box(60, 70), LUNGS),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_where_one_heart_between_two_whole_lungs_is_not_seen_nothing_is_claimed(doubt, monkeypatch):
    without_moves(monkeypatch)
    assert chest_of(HEART + SMALL, LUNGS).confident  # a crumb beside them does no harm
    assert not chest_of(*DOUBTS[doubt]).confident


NO_CHEST = {
    "no heart": (0 * HEART, LUNGS),
    "no lungs": (HEART, 0 * LUNGS),
    "one lung": (HEART, box(20, 48, 20, 100)),
    "lungs in one": (HEART, np.maximum(LUNGS, box(20, 120, 20, 24))),
    "a speck for a lung": (HEART, box(20, 48, 20, 100) + box(81, 88, 20, 30)),
    "lungs on one side": (box(90, 126, 60, 100), box(10, 40, 20, 100) + box(50, 85, 20, 100)),
    "a heart as large as a head": (box(30, 110, 10, 90), LUNGS),
    "a tiny heart": (box(60, 70, 70, 80), LUNGS),
    "a heart far below": (box(50, 100.5, 85, 125), LUNGS),
    "a heart at the top": (box(50, 100.5, 10, 50), LUNGS),
    "a heart below the hila alone": (box(50, 100.5, 72, 90), LUNGS),
    "lungs cut above": (HEART, box(20, 48, 0, 100) + box(81, 120.5, 0, 100)),
    "lungs cut below": (HEART, box(20, 48, 40, 128) + box(81, 120.5, 40, 128)),
    "cut at the left": (HEART, box(0, 48, 10, 110) + box(81, 120, 20, 100)),
    "hearts all over": (HEART + box(5, 60, 2, 40) + box(70, 125, 104, 126), LUNGS),
}
SICK = {
    "whole": (HEART, LUNGS),
    "a large heart": (box(30, 110, 55, 100), LUNGS),
    "a small left lung": (HEART, box(20, 48, 20, 100) + box(81, 110, 20, 50)),
    "beyond the left edge": (HEART, box(0, 48, 45, 100) + box(81, 120, 20, 100)),
    "apices beyond the upper edge": (
        box(50, 100.5, 50, 100),
        LUNGS + box(30, 45, 0, 21) + box(85, 100, 0, 21),
    ),
}


@pytest.mark.parametrize("kind", [*NO_CHEST, *SICK])
def test_a_frontal_chest_shows_one_heart_between_two_lungs(kind, monkeypatch):
    without_moves(monkeypatch)
    heart, lungs = {**NO_CHEST, **SICK}[kind]
    net = Painted(heart, lungs)
    dark = (200 - 120 * lungs).astype(np.uint8)
    (chest,) = measure_chest([dark], net)
    assert chest.frontal == (kind in SICK)
    (negative,) = measure_chest([255 - dark], net)
    assert not negative.frontal


def test_readings_that_are_of_different_chests_are_of_none(monkeypatch):
    without_moves(monkeypatch)
    dark = (200 - 120 * LUNGS).astype(np.uint8)
    for second in ((box(60, 88, 60, 100), LUNGS), (HEART, 0 * LUNGS)):
        net = Painted(HEART, LUNGS)
        masks, plain = [net.masks, np.stack(second)], net.forward

        def turn(images, net=net, masks=masks, plain=plain):
            net.masks = masks[net.calls % 2]
            return plain(images)

        net.forward = turn
        assert not measure_chest([dark], net)[0].frontal


def test_readings_that_disagree_are_not_confident(monkeypatch):
    without_moves(monkeypatch)
    wider = Painted(HEART, LUNGS)
    plain = wider.forward

    def at_other_brightness(images):
        if wider.calls == 3:
            wider.masks = np.stack([box(50, 105.0, 60, 100), LUNGS])
        return plain(images)

    wider.forward = at_other_brightness
    (chest,) = measure_chest([PICTURE], wider)
    assert not chest.confident


def test_masks_of_moved_readings_are_moved_back():
    """A net that finds the bright square finds it in the same place in each reading."""

    class Bright(torch.nn.Module):
        size = 128

        def forward(self, images):
            return torch.cat([images, images], dim=1) * 20

    picture = np.zeros((128, 128), np.uint8)
    picture[40:60, 50:90] = 255
    (chest,) = measure_chest([picture], Bright())
    assert np.array_equal(chest.heart > 0.5, picture > 0)


@pytest.fixture(scope="module")
def phantoms():
    """Frontal pictures with all distractors, their truths and masks."""
    pictures, truths, masks = [], [], []
    for number in range(24):
        study = draw_study(SEED, number, 0.35, 0.35)
        drawn = dict(draw_masks(SEED, study, 256))
        if not drawn:
            continue
        image_id, view = study.images[0]
        acquisition = draw_acquisition(SEED, study.uid, 0, view)
        pictures.append(render_frontal(study.patient, acquisition, 256))
        truths.append(frontal_truth(study.patient, acquisition))
        masks.append(drawn[image_id])
    return pictures, truths, masks


@pytest.mark.parametrize("kind", ["256", "64", "blurred", "upsampled"])
def test_the_error_on_phantoms_is_less_than_a_hundredth(phantoms, kind):
    pictures, truths, _ = phantoms
    images = [resize(one, 64) if kind in {"64", "upsampled"} else one for one in pictures]
    if kind == "blurred":
        images = [cv2.GaussianBlur(image, (0, 0), 2) for image in images]
    elif kind == "upsampled":
        images = [cv2.resize(image, (256, 256), interpolation=cv2.INTER_CUBIC) for image in images]
    chests = measure_chest(images)
    errors = np.array([c.ctr - t.ctr for c, t in zip(chests, truths, strict=True)])
    assert np.abs(errors).mean() <= (0.008 if kind == "256" else 0.012)
    assert np.mean([c.confident for c in chests]) >= 0.9


def test_phantoms_are_chests_from_the_front_alone(phantoms):
    pictures, _, _ = phantoms
    assert all(chest.frontal for chest in measure_chest(pictures))
    patient = draw_study(SEED, 2, 0.3, 0.3).patient
    lateral = render_lateral(patient, draw_acquisition(SEED, "CXR2", 1, "lateral"), 256)
    strange = [lateral, 255 - pictures[0], np.zeros_like(lateral)]
    strange += [pictures[0][:, :128], pictures[0][:128]]
    assert not any(chest.frontal for chest in measure_chest(strange))


def test_widths_and_regions_lie_where_they_are(phantoms):
    pictures, truths, masks = phantoms
    overlaps = []
    for chest, truth, mask in zip(measure_chest(pictures), truths, masks, strict=True):
        found = (
            *(chest.heart_width.left, chest.heart_width.right),
            *(chest.thorax_width.left, chest.thorax_width.right),
        )
        true = (truth.heart_left, truth.heart_right, truth.thorax_left, truth.thorax_right)
        assert found == pytest.approx(true, abs=0.025)
        assert 0.4 < chest.heart_width.row < 0.9
        overlaps.append(dice(chest.sized(chest.heart), mask["heart"] / 255))
    assert np.mean(overlaps) > 0.95


def test_a_larger_heart_has_a_larger_ratio():
    patient = draw_study(SEED, 1, 0.0, 0.3).patient
    acquisition = draw_acquisition(SEED, "CXR1", 0, "frontal")
    ratios = [
        chest.ctr
        for chest in measure_chest(
            [
                render_frontal(replace(patient, ctr=ctr), acquisition, 256)
                for ctr in np.arange(0.38, 0.69, 0.05)
            ]
        )
    ]
    assert np.all(np.diff(ratios) > 0.02)


def test_a_picture_without_a_chest_is_not_confident():
    noise = np.random.default_rng(0).integers(0, 255, (6, 256, 256)).astype(np.uint8)
    assert not any(
        chest.confident for chest in measure_chest([*noise, 0 * noise[0], noise[0] | 255])
    )
    assert measure_chest([]) == []


def test_the_weights_are_small_and_come_with_a_card():
    assert WEIGHTS.stat().st_size <= 3_000_000
    assert "MIT" in (WEIGHTS.parent / "README.md").read_text(encoding="utf-8")
    assert load_segmenter(WEIGHTS).size == 128


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["ctr", *map(str, arguments)])
        main()
        return capsys.readouterr().out

    return call


def test_the_command_measures_a_csv(tmp_path, run):
    folder = write_phantom(tmp_path / "phantom", reports=8, seed=SEED, size=128, cardiomegaly=0.5)
    found = json.loads(run("--csv", folder / "masks.csv", "--json"))
    assert found["n"] == len(pd.read_csv(folder / "masks.csv"))
    assert found["error"] < 0.012 < found["correlation"]
    assert abs(found["bias"]) <= found["error"] <= found["p95"]
    assert found["confident"] > 0.8
    assert found["heart"] > 0.94
    assert found["lungs"] > 0.94
    text = run("--csv", folder / "masks.csv")
    for name in ("X-rays", "bias", "correlation", "95th percentile", "confident", "Dice of the he"):
        assert name in text
    pd.read_csv(folder / "masks.csv")[["image", "ctr"]].to_csv(folder / "bare.csv", index=False)
    bare = json.loads(run("--csv", folder / "bare.csv", "--json"))
    assert bare == found | {"heart": None, "lungs": None}


def test_the_figures_are_those_of_hand_counted_ratios(tmp_path, monkeypatch):
    without_moves(monkeypatch)
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), PICTURE)
    mask = np.zeros(PICTURE.shape, np.uint8)
    mask[100:150, 120:240] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    rows = [{"image": f"{n}.png", "ctr": c, "heart": "m.png"} for n, c in (("a", 0.4), ("b", 0.5))]
    pd.DataFrame(rows).to_csv(tmp_path / "data.csv", index=False)
    true = 50.5 / 100.5
    rows = read_masks(tmp_path / "data.csv", ("ctr",))
    found = errors_of(measure_rows(rows, Painted(HEART, LUNGS)))
    assert (found.n, found.measured, found.confident) == (2, 1, 1)
    assert found.error == found.confident_error == pytest.approx(true - 0.45, abs=1e-3)
    assert found.bias == pytest.approx(true - 0.45, abs=1e-3)
    assert found.correlation is None  # one value was measured twice
    assert found.heart == pytest.approx(dice(cv2.resize(HEART, (300, 200)), mask / 255), abs=1e-6)
    assert found.lungs is None


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("image\na.png\n", "column 'ctr' is missing"),
        ("image,ctr\na.png,0.5\n", r"row 2 \(a\.png\): there is no image"),
        ("image,ctr\nb.png,wide\n", "ctr is 'wide', not a ratio"),
        ("image,ctr\n", "holds no row"),
        ("image,ctr,heart\nb.png,0.5,b.txt\n", r"b\.txt"),
    ],
)
def test_a_csv_with_a_mistake_is_named_in_one_line(tmp_path, run, content, named):
    cv2.imwrite(str(tmp_path / "b.png"), PICTURE)
    (tmp_path / "b.txt").write_text("no picture")
    (tmp_path / "data.csv").write_text(content)
    with pytest.raises(DataError, match=named) as caught:
        run("--csv", tmp_path / "data.csv")
    assert "\n" not in str(caught.value)


def test_other_weights_are_read_or_refused(tmp_path, run):
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"nothing")
    with pytest.raises(DataError, match="holds no segmenter"):
        load_segmenter(other)
    with pytest.raises(DataError, match="holds no segmenter"):
        load_segmenter(tmp_path / "absent.safetensors")


def test_the_net_ignores_brightness_and_contrast():
    torch.manual_seed(0)
    net = Segmenter(2, 32).eval()
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(net(images), net(images * 0.5 + 0.2), atol=2e-2)
        assert net(images).shape == (2, 2, 32, 32)


def test_heart_and_lungs_of_one_brightness_are_not_confident(monkeypatch):
    without_moves(monkeypatch)
    rng = np.random.default_rng(0)
    for picture in (np.full((128, 128), 90), rng.integers(0, 255, (128, 128))):
        (chest,) = measure_chest([picture.astype(np.uint8)], Painted(HEART, LUNGS))
        assert chest.ctr == pytest.approx(50.5 / 100.5, abs=1e-3)
        assert not chest.confident


@pytest.mark.data
def test_real_xrays_with_known_ratios(shared_data):
    """As docs/heart.md says: the net was trained on these, and reads them as it did then."""
    table = shared_data / "ctr_cxr/ctr.csv"
    if not table.is_file():
        pytest.skip(f"{table} is not there")
    found = errors_of(measure_rows(read_masks(table, ("ctr",))))
    assert found.n == 259
    assert found.error == pytest.approx(0.0125, abs=0.001)
    assert found.confident == pytest.approx(0.96, abs=0.01)
