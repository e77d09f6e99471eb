"""Findings from labels and the ruler, for X-rays without reports."""

import csv
import sys

import cv2
import numpy as np
import pytest

from tests.chains import heart_lexicon
from xrj.datamodules import manifest
from xrj.datamodules.captions import sentences
from xrj.datamodules.phantom_reports import HEART_GRADED, HEART_PLAIN, HEART_UPPER
from xrj.errors import DataError
from xrj.measures import describe
from xrj.measures.agreement import verdict
from xrj.measures.describe import findings

DRAWS = 60


def said(label, ctr):
    return {findings(label, ctr, np.random.default_rng(seed)) for seed in range(DRAWS)}


@pytest.mark.parametrize(
    ("ctr", "grade"),
    [(0.5, "mild"), (0.55, "mild"), (0.56, "moderate"), (0.6, "moderate"), (0.61, "severe")],
)
def test_the_ruler_gives_the_grade(ctr, grade):
    assert said("cardiomegaly", ctr) == {
        one.format(grade=grade) for one in HEART_GRADED if "table" not in one
    }


@pytest.mark.parametrize("ctr", [None, 0.49])
def test_where_the_ruler_does_not_see_it_no_grade_is_given(ctr):
    plain = {one for one in HEART_PLAIN if "stable" not in one}
    assert said("cardiomegaly", ctr) == plain
    assert len(plain) == 2


def test_a_wide_heart_that_is_called_normal_is_at_the_limit():
    assert said("normal", 0.5) == set(HEART_UPPER)
    assert len(said("normal", 0.49)) == 8
    assert said("normal", None) == said("normal", 0.4)


@pytest.mark.parametrize("label", ["normal", "cardiomegaly"])
def test_the_words_state_the_label(label):
    for ctr in (None, 0.4, 0.52, 0.58, 0.7):
        for text in said(label, ctr):
            words = [word for sentence in sentences(text) for word in sentence]
            assert verdict(words, label, heart_lexicon()) == "agrees"


@pytest.fixture
def table(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        grey = np.random.default_rng(number).integers(0, 256, (40, 40), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), grey)
    path = tmp_path / "labels.csv"
    path.write_text(
        "image,patient_id,label,split\n0.png,a,normal,train\n1.png,b,cardiomegaly,val\n"
        "2.png,c,normal,test\n"
    )
    return path


def run(monkeypatch, table, out):
    root = ["--root", str(table.parent / "pictures")]
    monkeypatch.setattr(sys, "argv", ["x", "--csv", str(table), *root, "--out", str(out)])
    describe.main()


def test_the_command_writes_a_manifest_that_can_be_trained_on(table, tmp_path, monkeypatch, capsys):
    out = tmp_path / "elsewhere" / "manifest.csv"
    run(monkeypatch, table, out)
    assert capsys.readouterr().out == f"3 X-rays described in {out}\n"
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["train", "val", "test"]
    assert rows[1]["findings"] in HEART_PLAIN  # noise is no heart, so there is no grade
    first = out.read_bytes()
    run(monkeypatch, table, out)
    assert out.read_bytes() == first
    found = manifest.read(
        out, ("normal", "cardiomegaly"), max_broken=0, folder=tmp_path / "pictures"
    )
    assert [one.path for one in found.images] == [
        tmp_path / "pictures" / f"{number}.png" for number in range(3)
    ]
    with pytest.raises(DataError, match=r"there is no folder .*elsewhere|image files are missing"):
        manifest.read(out, ("normal", "cardiomegaly"), max_broken=0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("c,normal", "c,fracture", "row 4 is labelled 'fracture'; sentences are known for normal"),
        ("2.png", "3.png", r"there is no image .*3\.png; add it or remove its row"),
        ("patient_id", "patient", "column 'patient_id' is missing"),
    ],
)
def test_a_table_that_cannot_be_described(table, old, new, said, tmp_path, monkeypatch):
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(DataError, match=said):
        run(monkeypatch, table, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
