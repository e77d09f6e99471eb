"""Tables of presets and study, and the store, on hand-made figures."""

import subprocess

import numpy as np
import pytest
from rich.console import Console

from xrj.errors import HandoverError
from xrj.evaluate.caption_table import CaptionRun
from xrj.evaluate.figure import Figure
from xrj.evaluate.results import NONE, Column, ResultTable, Row, written
from xrj.evaluate.runs import Run
from xrj.measures.statistics import prediction_interval
from xrj.reproduction import store
from xrj.reproduction.deviations import deviation_table
from xrj.reproduction.presets import measure_row, preset_rows, preset_table
from xrj.reproduction.side_by_side import meteor_rows
from xrj.reproduction.store import Store, code_hash, code_version
from xrj.reproduction.study_table import fitting
from xrj.study.design import Design

HIGH = Column("x", "X", 1, percent=True, better="high")
LOW = Column("x", "X", 3, better="low")


@pytest.mark.parametrize(
    ("ours", "paper", "column", "p", "ahead"),
    [
        (Figure(0.9, 9, 0.8, 1.0), Figure(0.5, 9, 0.4, 0.6), HIGH, None, "default"),
        (Figure(0.9, 9, 0.8, 1.0), Figure(0.5, 9, 0.4, 0.6), LOW, None, "paper"),
        (Figure(0.9, 9, 0.5, 1.0), Figure(0.5, 9, 0.4, 0.6), HIGH, None, "alike"),
        (Figure(0.9, 9, 0.5, 1.0), Figure(0.5, 9, 0.4, 0.6), HIGH, 0.01, "default"),
        (Figure(0.9, 9, 0.8, 1.0), Figure(0.5, 9, 0.4, 0.6), HIGH, 0.2, "alike"),
        (Figure(0.9, 9), Figure(0.5, 9), HIGH, None, "(default)"),
        (Figure(0.5, 9), Figure(0.5, 9), HIGH, None, "alike"),
    ],
)
def test_who_is_ahead(ours, paper, column, p, ahead):
    assert measure_row("m", column, ours, paper, p).cells["ahead"] == ahead


def test_nobody_is_ahead_where_a_preset_was_not_measured():
    cells = measure_row("m", HIGH, Figure(0.9, 9), Figure(float("nan"), 9), float("nan")).cells
    assert "ahead" not in cells
    assert cells["p"] == NONE


def test_presets_are_written_in_each_measures_own_way():
    def run(name, value):
        def scores(rows):
            return {"x": value + 0.001 * float(np.mean(rows)), "y": 2 * value, "z": float("nan")}

        return Run(name, "a", 0, ["p", "q", "r"], scores)

    sides = [[run("a", 0.8), run("b", 0.82)], [run("c", 0.5), run("d", 0.51)]]
    columns = [HIGH, Column("y", "Y", 3, better="low"), Column("z", "Unmeasured")]
    rows = preset_rows("Diagnosis", columns, sides, resamples=100, seed=0)
    table = preset_table(rows)
    assert [row.name for row in table.rows] == ["Diagnosis: X", "Diagnosis: Y"]
    assert [row.cells["ahead"] for row in table.rows] == ["default", "paper"]
    shown = dict(written(table))
    assert shown["Diagnosis: X"][0].value == "81.1 %"
    assert shown["Diagnosis: Y"][1].value == "1.010"


def test_presets_of_unlike_folds_are_refused():
    def run(name, split):
        return Run(name, split, 0, ["p", "q"], lambda _rows: {"x": 0.5})

    sides = [[run("a", "f4"), run("b", "f5")], [run("c", "f4")]]
    with pytest.raises(HandoverError, match=r"c: 'experiment=paper' .* different folds"):
        preset_rows("Diagnosis", [HIGH], sides, resamples=10, seed=0)


def test_a_deviation_is_behind_or_ahead_only_beyond_other_seeds_and_patients():
    def row(name, **values):
        return Row(name, {key: Figure(*value) for key, value in values.items()})

    default = [row("a", bleu4=(0.40, 9), silent=(0.1, 9)), row("b", bleu4=(0.42, 9))]
    low, high = prediction_interval([0.40, 0.42])
    deviations = {
        "worse": row("worse", bleu4=(low - 0.01, 9), silent=(1.0, 9)),
        "within": row("within", bleu4=(low + 0.01, 9)),
        "unsure": row("unsure", bleu4=(high + 0.01, 9, 0.4, 0.8)),
        "better": row("better", bleu4=(high + 0.01, 9, high, 0.8)),
    }
    table = deviation_table(default, deviations, dict.fromkeys(deviations, "x=1"))
    usual, first = (row.cells for row in table.rows[:2])
    assert first == {"settings": "nothing", **default[0].cells}
    assert usual["bleu4"] == Figure(pytest.approx(0.41), 2, low, high)
    assert usual["silent"] is None  # of one seed alone
    sides = {row.name: (row.cells["behind"], row.cells["ahead"]) for row in table.rows[2:]}
    assert sides == {
        "worse": ("BLEU-4", "nothing"),
        "within": ("nothing", "nothing"),
        "unsure": ("nothing", "nothing"),
        "better": ("nothing", "BLEU-4"),
    }
    alone = deviation_table(default[:1], deviations, dict.fromkeys(deviations, "x=1"))
    assert {row.cells["behind"] for row in alone.rows[2:]} == {"nothing"}


def caption_runs(*meteors):
    run = Run("a", "split", 0, ["p", "q", "r"], lambda _rows: {})
    return [CaptionRun(run, run, (meteor, 0.9), "", 0.5) for meteor in meteors]


def test_meteor_of_both_presets_is_compared_over_seeds_and_left_out_where_it_is_unknown():
    (row,) = meteor_rows(caption_runs(0.30, 0.31, 0.32), caption_runs(0.20, 0.21, 0.22))
    assert row.name == "Captions: METEOR"
    assert row.cells["default"] == Figure(pytest.approx(0.31), 3)
    assert row.cells["difference"].value == pytest.approx(0.1)
    assert row.cells["ahead"] == "default"
    (alone,) = meteor_rows(caption_runs(0.3), caption_runs(0.4))
    assert alone.cells["ahead"] == "(paper)"
    assert meteor_rows(caption_runs(0.3, None), caption_runs(0.2, 0.2)) == []


def table(value):
    return ResultTable("t", "T", (HIGH,), (Row("r", {"x": Figure(value, 3)}),))


def test_a_stored_table_is_used_until_its_inputs_change(tmp_path, monkeypatch):
    known = Store(tmp_path, Console(quiet=True))
    made = []

    def make():
        made.append(1)
        return [table(0.1 * len(made))]

    assert known.tables("t", {"a": 1}, make) == known.tables("t", {"a": 1}, make)
    assert len(made) == 1
    assert known.tables("t", {"a": 2}, make)[0].row("r").cells["x"].value == pytest.approx(0.2)
    for broken in ("", "[]", '{"inputs": 1}'):
        (tmp_path / "t.json").write_text(broken)
        known.tables("t", {"a": 2}, make)
    assert len(made) == 5
    monkeypatch.setattr(store, "code_hash", lambda: "other code")
    known.tables("t", {"a": 2}, make)
    assert len(made) == 6


def test_the_code_is_named(monkeypatch, tmp_path):
    assert len(code_hash()) == 64
    monkeypatch.setattr(store, "PACKAGE", tmp_path / "xrj")
    assert code_version().startswith("xrj ")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    (tmp_path / "xrj").mkdir()
    (tmp_path / "xrj" / "a.py").write_text("")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *arguments], check=True)
    clean = code_version()
    assert clean.startswith("commit ")
    assert not clean.endswith("+")
    (tmp_path / "xrj" / "a.py").write_text("1")
    assert code_version() == f"{clean}+"


@pytest.mark.parametrize("xrays", [12, 47, 94, 150, 1000])
def test_a_design_shrinks_to_the_test_split(xrays):
    design = Design(("counterfactual", "saliency"), ("a", "b", "c"), 50, 30, "needed")
    fitted = fitting(design, xrays)
    a_method = 3 * (fitted.per_reader - fitted.shared_a_method) + fitted.shared_a_method
    assert a_method <= xrays
    if xrays >= 120:
        assert fitted == design
    else:
        assert a_method > xrays - 4
