"""The model that comes with the package: small, whole, honest, right on real X-rays."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

import xrj
from tests.commands import call_infer
from xrj.datamodules.images import read_image
from xrj.measures.agreement import Lexicon, verdict
from xrj.measures.diagnosis import diagnosis_report
from xrj.packed import is_packed

FOLDER = Path(xrj.__file__).parent / "resources" / "starter"


@pytest.fixture(scope="module")
def model():
    return xrj.load("starter", device="cpu")


def test_it_is_small_and_says_what_it_is(model):
    assert is_packed(FOLDER)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 12e6
    _, front, text = (FOLDER / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["license"] == "apache-2.0"
    for said in ("NIH Clinical Center", "CVPR 2017", "no medical device", "Known failures",
                 "| AUROC |", "judges, majority, on xray"):  # fmt: skip
        assert said in text
    assert model.labels == ("normal", "cardiomegaly")
    assert model.card["trained_on"] == 4077
    assert model.calibration.n == 490


def test_its_captions_go_with_the_diagnosis_and_say_no_grade(model):
    said = model.inner.said
    for label, captions in said.items():
        assert captions
        for caption in captions:
            assert verdict(caption.split(), label, Lexicon.of_hearts()) == "agrees"
            assert not {"mild", "moderate", "severe"} & {word.removesuffix("ly") for word in
                                                         caption.split()}  # fmt: skip


def test_what_is_no_chest_is_not_relied_on(model):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    ramp = np.tile(np.arange(200, dtype=np.uint8), (200, 1))
    for strange in (noise, ramp):
        found = model.justify(strange, xrj.JustifySettings(walk=2, saliency=False))
        assert found.evidence.unlike or found.evidence.frontal is False
        assert found.evidence.warnings


@pytest.mark.data
def test_without_a_name_it_justifies(tmp_path, monkeypatch, capsys, shared_data):
    path = next((shared_data / "nih_cxr" / "images_256").glob("*.png"))
    status, out, err = call_infer(monkeypatch, capsys, tmp_path, [f"image={path}", "out=out"])
    assert status == 0
    assert err[0].startswith("no name= given: by starter")
    page = (tmp_path / "out" / path.stem / "justification.html").read_text()
    assert "Trained on 4,077 real X-rays of 128 pixels from the NIH Clinical Center" in page
    assert out[-1] == f"out/{path.stem}/justification.html"


@pytest.mark.data
def test_it_diagnoses_real_xrays_as_its_card_says(model, shared_data):
    table = shared_data / "nih_cxr" / "manifest_128.csv"
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    pictures = [read_image(table.parent / row["image"]) for row in rows]
    found = list(model.diagnose(pictures))
    certainty = np.array([[one.certainty[label] for label in model.labels] for one in found])
    truth = np.array([model.labels.index(row["label"]) for row in rows])
    assert diagnosis_report(certainty, truth).auroc >= 0.86
    assert all(one.caption in model.inner.said[one.diagnosis] for one in found)
