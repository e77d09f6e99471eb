"""The measured summary: every figure with its n, and rightly counted."""

import json
import math
from dataclasses import fields, replace

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.chains import CONF
from tests.justify.handmade import ctr_change, made, made_evidence, made_mapping, vote
from xrj.evaluate.counterfactuals import (
    summarise_change,
    summarise_ctr,
    summarise_distances,
    summarise_mapping,
    summarise_refinement,
    summarise_validity,
)
from xrj.evaluate.figure import Figure
from xrj.evaluate.readings import Readings, balanced_rows
from xrj.evaluate.summary import measure_meter, summarise, summarise_captions
from xrj.evaluate.table import as_text, measures
from xrj.justify.evidence import Distance
from xrj.library import read_calibration
from xrj.measures import captions as caption_measures
from xrj.measures.agreement import Lexicon

SMALL_HEART, LARGE_HEART = "the heart is normal in size", "the heart is enlarged"


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon.from_config(yaml.safe_load((CONF / "lexicon" / "heart.yaml").read_text()))


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


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(caption_measures.shutil, "which", lambda _name: None)


def mapped(**changes):
    return made(mapping=made_mapping(**changes))


def moved(before, after, direction):
    return made(evidence=made_evidence(ctr=ctr_change(0.45, before, after, direction)))


def summary_of(readings, justifications, lexicon, tmp_path):
    return summarise(
        readings,
        justifications,
        chosen=range(len(justifications)),
        lexicon=lexicon,
        truth=tmp_path / "truth.csv",
    )


def test_a_share_has_its_wilson_interval():
    figure = Figure.share(9, 10)
    assert figure.value == 0.9
    assert (figure.low, figure.high) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    nothing = Figure.share(0, 0)
    assert math.isnan(nothing.value)
    assert nothing.to_dict() == {"value": None, "n": 0}
    assert Figure.share_of([True, False, True]) == Figure.share(2, 3)


def test_a_mean_has_students_interval():
    figure = Figure.mean([1.0, 2.0, 3.0, 4.0])
    half = 3.18245 * (5 / 3) ** 0.5 / 2  # t of 3 degrees of freedom
    assert (figure.value, figure.n) == (2.5, 4)
    assert (figure.low, figure.high) == pytest.approx((2.5 - half, 2.5 + half), abs=1e-4)
    assert Figure.mean([2.0]) == Figure(2.0, 1)
    assert math.isnan(Figure.mean([]).value)


def test_every_figure_comes_with_n(readings, lexicon, tmp_path):
    with_classifier = replace(readings, independent=readings.certainties[:, ::-1].copy())
    summary = summary_of(with_classifier, [made(), made()], lexicon, tmp_path)
    written = json.loads(json.dumps(summary.to_dict(), allow_nan=False))
    assert list(written) == [part.name for part in fields(summary)]
    for part in written.values():
        for name, figure in part.items():
            assert figure is None or name == "meteor_reason" or {"value", "n"} <= set(figure)
    assert written["diagnosis"]["accuracy"]["n"] == 10
    assert written["diagnosis"]["accuracy"]["value"] == 0.9
    assert written["diagnosis"]["balanced_accuracy"]["value"] == 0.75
    assert written["classifier"]["accuracy"]["value"] == pytest.approx(0.1)
    assert written["captions"]["bleu4"]["value"] == pytest.approx(1, abs=1e-6)
    assert written["captions"]["distinct"]["value"] == 3
    assert written["captions"]["meteor"] is None
    assert written["captions"]["meteor_reason"] == "Java is not installed"
    assert written["ctr"]["meter_error"] is None
    assert written["refinement"]["error_after"]["n"] == 2
    assert written["change"]["heart_share"]["value"] == pytest.approx(0.84)


def test_what_was_not_done_is_null(readings, lexicon, tmp_path):
    bare = made(
        refinement=None,
        one_shot=None,
        found_by_classifier=None,
        evidence=made_evidence(independent=None, ctr=None),
    )
    written = summary_of(readings, [bare], lexicon, tmp_path).to_dict()
    assert written["classifier"] is written["refinement"] is written["ctr"] is None
    assert written["validity"]["independent"] is written["validity"]["same_diagnosis"] is None


def test_agreement_counts_speaking_captions(readings, lexicon):
    captions = summarise_captions(readings, lexicon)
    assert (captions.agree.value, captions.agree.n) == (8 / 9, 9)
    assert (captions.contradict.value, captions.contradict.n) == (0.1, 10)
    assert (captions.silent.value, captions.silent.n) == (0.1, 10)


def test_agreement_is_left_out_where_the_lexicon_knows_no_label(readings, lexicon):
    other = replace(readings, frame=readings.frame.assign(label="fracture"))
    assert summarise_captions(other, lexicon).agree is None


def test_mapping_counts_failures_and_tries():
    found = summarise_mapping([mapped(tries=1), mapped(tries=20, converged=False)])
    assert (found.success.value, found.success.n) == (0.5, 2)
    assert found.tries_mean.value == 10.5
    assert found.tries_max.value == 20
    assert found.seconds.value == pytest.approx(0.42)
    assert found.evaluations.value == 41


def test_refinement_compares_before_and_after():
    blank = np.zeros_like(made().original)
    said = (made().found.diagnosis, made().found.caption)
    found = summarise_refinement(
        [made(), made(one_shot=blank)], [said, ("cardiomegaly", "the heart is enlarged")]
    )
    assert found.error_before.value == pytest.approx(0.051)
    assert found.error_after.value == pytest.approx(0.012)
    assert found.ssim_before.value < found.ssim_after.value < 1
    assert (found.diagnosis_unchanged.value, found.diagnosis_unchanged.n) == (0.5, 2)
    assert found.caption_unchanged.value == 0.5


def test_validity_counts_each_judge():
    failed = made_evidence(
        reencoded=vote(0.2, "cardiomegaly"),
        independent=vote(0.3, "cardiomegaly"),
        warnings=("x",),
        on_xray=vote(0.1, "cardiomegaly"),
        on_xray_independent=vote(0.4, "cardiomegaly"),
    )
    wrong = made(evidence=failed, found_by_classifier=vote(0.9, "normal"))
    found = summarise_validity([made(), made(), wrong])
    assert found.decoder.value == 1
    assert found.reencoded.value == pytest.approx(2 / 3)
    assert found.independent.value == pytest.approx(2 / 3)
    assert found.on_xray.value == pytest.approx(2 / 3)
    assert found.on_xray_independent.value == pytest.approx(2 / 3)
    assert found.redrawn.value == pytest.approx(0.12)
    assert found.same_diagnosis.value == pytest.approx(2 / 3)
    assert (found.warned.value, found.warned.n) == (pytest.approx(1 / 3), 3)


def test_distances_and_change_are_means():
    far = made_evidence(to_original=Distance(0.19, 0.131, 0.51), heart_share=None, noise_distance=0)
    both = [made(), made(evidence=far)]
    found = summarise_distances(both)
    assert found.original_l1.value == pytest.approx(0.14)
    assert found.original_ssim.value == pytest.approx(0.61)
    assert found.reconstruction_l2.value == pytest.approx(0.012)
    assert found.noise.value == pytest.approx(1.15)
    change = summarise_change(both)
    assert (change.heart_share.value, change.heart_share.n) == (pytest.approx(0.84), 1)
    assert change.changed_share.n == 2


def test_ctr_moves_as_the_alternative_says():
    both = [moved(0.44, 0.6, 1), moved(0.6, 0.5, -1)]
    right = summarise_ctr(both, None)
    assert (right.towards.value, right.towards.n) == (1, 2)
    assert right.change.value == pytest.approx(0.13)
    stays = summarise_ctr([*both, moved(0.44, 0.45, 0)], None)
    assert (stays.towards, stays.measured) == (right.towards, right.measured)
    assert summarise_ctr([moved(0.44, 0.45, 0)], None) is None
    wrong = summarise_ctr([moved(0.44, 0.6, -1)], None)
    assert wrong.towards.value == 0
    assert wrong.change.value == pytest.approx(-0.16)


def test_pictures_that_cannot_be_measured_do_not_count_as_measured():
    found = summarise_ctr([moved(0.4, 0.5, 1), moved(0.4, None, 1), moved(None, 0.5, -1)], None)
    assert (found.towards.value, found.towards.n) == (1, 1)
    assert found.change.value == pytest.approx(0.1)
    assert (found.measured.value, found.measured.n) == (pytest.approx(1 / 3), 3)


def test_ctr_is_left_out_where_it_means_nothing():
    assert summarise_ctr([moved(0.4, 0.5, None)], None) is None
    assert summarise_ctr([made(evidence=made_evidence(ctr=None))], None) is None


def test_the_calibration_of_another_model_is_not_read(readings, lexicon, tmp_path):
    identity = {"stages": {"arae": "a"}, "split": "s", "selection": "ours_label"}
    path = tmp_path / "summary.json"
    assert read_calibration(path, identity) is None
    summary = summary_of(readings, [made()], lexicon, tmp_path)
    path.write_text(json.dumps({"measures": summary.to_dict(), "model": identity}))
    assert read_calibration(path, identity) == summary.calibration
    assert summary.calibration.n == 10
    assert read_calibration(path, identity | {"split": "t"}) is None
    assert read_calibration(path, identity | {"selection": "ours_caption"}) is None
    path.write_text("{}")
    assert read_calibration(path, identity) is None


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


def test_the_table_shows_what_was_measured(readings, lexicon, tmp_path):
    with_classifier = replace(readings, independent=readings.certainties)
    summary = summary_of(with_classifier, [made(), made()], lexicon, tmp_path)
    rows = measures(summary)
    assert all(row.n and row.meaning for row in rows)
    assert len({row.name for row in rows}) == len(rows)
    text = as_text(rows)
    assert "90.0 % (59.6 to 98.2)" in text
    for name in ("Heart changes the right way", "independent classifier", "With a warning"):
        assert name in text
    (meteor,) = [row for row in rows if "METEOR" in row.name]
    assert (meteor.value, meteor.meaning) == ("–", "left out: Java is not installed")
    assert "meter" not in text
    bare = replace(summary, ctr=None, refinement=None, classifier=None)
    text = as_text(measures(bare))
    assert "Heart changes" not in text
    assert "refining" not in text


def test_meteor_is_shown_where_java_runs(readings, lexicon, tmp_path):
    summary = summary_of(readings, [made()], lexicon, tmp_path)
    scored = replace(summary.captions, meteor=Figure(0.27, 10), meteor_reason="")
    text = as_text(measures(replace(summary, captions=scored)))
    assert "0.27" in text
