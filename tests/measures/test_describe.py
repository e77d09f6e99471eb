"""Findings from labels and the ruler, for X-rays without reports."""

import csv
import sys

import cv2
import numpy as np
import pytest

from tests.chains import heart_lexicon
from xrj.datamodules import manifest
from xrj.datamodules.captions import sentences
from xrj.errors import DataError
from xrj.measures import describe
from xrj.measures.agreement import verdict
from xrj.measures.describe import findings

LABELS = ("normal", "cardiomegaly")


@pytest.mark.parametrize(
    ("ctr", "grade"),
    [
        *((0.5, "mildly"), (0.55, "mildly"), (0.551, "moderately"), (0.6, "moderately")),
        *((0.601, "severely"), (0.8, "severely")),
    ],
)
def test_the_ruler_gives_the_grade(ctr, grade):
    assert findings("cardiomegaly", ctr) == f"The heart is {grade} enlarged."


@pytest.mark.parametrize("ctr", [None, 0.499])
def test_where_the_ruler_does_not_see_it_no_grade_is_given(ctr):
    assert findings("cardiomegaly", ctr) == "The heart is enlarged."


def test_a_wide_heart_that_is_called_normal_is_at_the_limit():
    limit = "The heart is at the upper limits of normal in size."
    assert findings("normal", 0.5) == findings("normal", 0.7) == limit
    assert findings("normal", 0.499) == findings("normal", None) == "The heart is normal in size."


@pytest.mark.parametrize("label", LABELS)
def test_the_words_state_the_label(label):
    for ctr in (None, 0.4, 0.52, 0.58, 0.7):
        ((*words,),) = sentences(findings(label, ctr))
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
    assert rows[1]["findings"] == "The heart is enlarged."  # noise is no heart to grade
    first = out.read_bytes()
    run(monkeypatch, table, out)
    assert out.read_bytes() == first
    found = manifest.read(out, LABELS, max_broken=0, folder=tmp_path / "pictures")
    assert [one.path for one in found.images] == [
        tmp_path / "pictures" / f"{number}.png" for number in range(3)
    ]
    with pytest.raises(DataError, match=r"there is no folder .*elsewhere|image files are missing"):
        manifest.read(out, LABELS, max_broken=0)


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
