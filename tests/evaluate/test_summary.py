"""The measured summary: every figure with its n, and rightly counted."""

import json
import math
from dataclasses import fields, replace
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.chains import CONF
from xrj.datamodules.phantom_anatomy import Findings, draw_acquisition, draw_patient
from xrj.datamodules.phantom_render import render_frontal
from xrj.evaluate.readings import Readings, balanced_rows
from xrj.evaluate.summary import (
    Figure,
    measure_meter,
    summarise,
    summarise_captions,
    summarise_ctr,
    summarise_mapping,
)
from xrj.evaluate.table import as_text, measures
from xrj.measures.agreement import Lexicon

LABELS = ("normal", "cardiomegaly")
DIRECTION = {"cardiomegaly": 1, "normal": -1}
SMALL_HEART, LARGE_HEART = "the heart is normal in size", "the heart is enlarged"


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon.from_config(yaml.safe_load((CONF / "lexicon" / "heart.yaml").read_text()))


@pytest.fixture(scope="module")
def chests():
    """X-rays of one patient with a CTR of 0.44 and of 0.60."""
    acquisition = draw_acquisition(1, "CXR1", 0, "frontal")

    def render(ctr):
        return render_frontal(
            draw_patient(1, "CXR1", ctr=ctr, findings=Findings()), acquisition, 256
        )

    return render(0.44), render(0.60)


@pytest.fixture
def readings():
    """Ten X-rays, two of them cardiomegaly; one is wrong, one caption silent, one contradicts."""
    targets = np.array([0] * 8 + [1] * 2)
    certainties = np.array([[0.9, 0.1]] * 8 + [[0.2, 0.8], [0.7, 0.3]])
    said = [SMALL_HEART] * 7 + ["the lungs are clear"] + [LARGE_HEART] * 2
    labels = ["normal"] * 8 + ["cardiomegaly", "normal"]
    decoded = [(label, text.split()) for label, text in zip(labels, said, strict=True)]
    frame = pd.DataFrame(
        {"label": ["normal"] * 8 + ["cardiomegaly"] * 2, "captions": [[w] for _, w in decoded]}
    )
    return Readings(frame, targets, certainties, decoded)


def mapped(before, after, target=1, *, converged=True, tries=1):
    return SimpleNamespace(
        found=SimpleNamespace(large=before),
        alternative=SimpleNamespace(large=after),
        mapping=SimpleNamespace(converged=converged, tries=tries, seconds=0.5, target=target),
    )


def summary_of(readings, justifications, lexicon, tmp_path):
    return summarise(
        readings,
        justifications,
        labels=LABELS,
        lexicon=lexicon,
        ctr_direction=DIRECTION,
        truth=tmp_path / "truth.csv",
    )


def test_a_share_has_its_wilson_interval():
    figure = Figure.share(9, 10)
    assert figure.value == 0.9
    assert (figure.low, figure.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    nothing = Figure.share(0, 0)
    assert math.isnan(nothing.value)
    assert nothing.to_dict() == {"value": None, "n": 0}


def test_every_figure_comes_with_n(readings, lexicon, chests, tmp_path):
    summary = summary_of(readings, [mapped(*chests)], lexicon, tmp_path)
    written = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert list(written) == [part.name for part in fields(summary)]
    for part in written.values():
        for figure in part.values():
            assert figure is None or {"value", "n"} <= set(figure)
    assert written["diagnosis"]["accuracy"]["n"] == 10
    assert written["diagnosis"]["accuracy"]["value"] == 0.9
    assert written["diagnosis"]["balanced_accuracy"]["value"] == 0.75
    assert written["captions"]["bleu4"]["value"] == pytest.approx(1, abs=1e-6)
    assert written["captions"]["distinct"]["value"] == 3
    assert written["ctr"]["meter_error"] is None


def test_agreement_counts_speaking_captions(readings, lexicon):
    captions = summarise_captions(readings, lexicon)
    assert (captions.agree.value, captions.agree.n) == (8 / 9, 9)
    assert (captions.contradict.value, captions.contradict.n) == (0.1, 10)
    assert (captions.silent.value, captions.silent.n) == (0.1, 10)


def test_agreement_is_left_out_where_the_lexicon_knows_no_label(readings, lexicon):
    other = replace(readings, frame=readings.frame.assign(label="effusion"))
    assert summarise_captions(other, lexicon).agree is None


def test_mapping_counts_failures_and_tries():
    found = summarise_mapping(
        [mapped(None, None, tries=1), mapped(None, None, tries=20, converged=False)]
    )
    assert (found.success.value, found.success.n) == (0.5, 2)
    assert found.tries_mean.value == 10.5
    assert found.tries_max.value == 20
    assert found.seconds.value == 0.5


def test_ctr_moves_as_the_alternative_says(chests):
    small, large = chests
    right = summarise_ctr(
        [mapped(small, large, 1), mapped(large, small, 0)], LABELS, DIRECTION, None
    )
    assert (right.towards.value, right.towards.n) == (1, 2)
    assert right.change.value == pytest.approx(0.16, abs=0.04)
    wrong = summarise_ctr(
        [mapped(small, large, 0), mapped(large, small, 1)], LABELS, DIRECTION, None
    )
    assert wrong.towards.value == 0
    assert wrong.change.value == pytest.approx(-right.change.value)


def test_no_change_is_not_the_right_way(chests):
    same = summarise_ctr([mapped(chests[0], chests[0])], LABELS, DIRECTION, None)
    assert same.towards.value == 0


def test_pictures_that_cannot_be_measured_do_not_count_as_measured(chests):
    noise = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    found = summarise_ctr([mapped(*chests), mapped(chests[0], noise)], LABELS, DIRECTION, None)
    assert found.towards.n == 1
    assert found.towards_any.n == 2


def test_ctr_is_left_out_where_it_means_nothing(chests):
    assert summarise_ctr([mapped(*chests)], ("normal", "effusion"), DIRECTION, None) is None
    tiny = [cv2.resize(chest, (32, 32)) for chest in chests]
    assert summarise_ctr([mapped(*tiny)], LABELS, DIRECTION, None) is None


def test_the_meter_is_checked_against_the_truth(chests, tmp_path):
    paths = []
    for number, chest in enumerate(chests):
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), chest)
    frame = pd.DataFrame({"image_id": ["a", "b"], "path": paths})
    truth = tmp_path / "truth.csv"
    assert measure_meter(frame, truth) is None
    pd.DataFrame({"image_id": ["b", "a", "c"], "ctr": [0.70, 0.54, 0.1]}).to_csv(truth, index=False)
    error = measure_meter(frame, truth)
    assert error.n == 2
    assert error.value == pytest.approx(0.1, abs=0.02)
    pd.DataFrame({"image_id": ["b"], "ctr": [0.70]}).to_csv(truth, index=False)
    assert measure_meter(frame, truth).n == 1


def test_balanced_rows_take_turns_and_use_everything():
    targets = np.array([0] * 20 + [1] * 3 + [2] * 2)
    rows = balanced_rows(targets, 12, seed=0)
    assert len(set(rows)) == 12
    for end in (3, 6):
        assert np.bincount(targets[rows[:end]], minlength=3).tolist() == [end // 3] * 3
    assert np.bincount(targets[rows]).tolist() == [7, 3, 2]
    assert sorted(balanced_rows(targets, 99, seed=0)) == list(range(25))
    assert rows == balanced_rows(targets, 12, seed=0)
    assert rows != balanced_rows(targets, 12, seed=1)


def test_the_table_shows_what_was_measured(readings, lexicon, chests, tmp_path):
    summary = summary_of(readings, [mapped(*chests)], lexicon, tmp_path)
    rows = measures(summary)
    assert all(row.n and row.meaning for row in rows)
    text = as_text(rows)
    assert "90.0 % (59.6 to 98.2)" in text
    assert "Heart changes the right way" in text
    assert "meter" not in text
    without = measures(replace(summary, ctr=None))
    assert "Heart" not in as_text(without)
