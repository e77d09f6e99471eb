"""A result survives JSON, Markdown says all of it, and the page shows nothing else."""

import base64
import json
import math

import pytest

from xrj.errors import DataError
from xrj.evaluate.figure import Figure
from xrj.evaluate.results import (
    Column,
    Plot,
    Provenance,
    ResultTable,
    Row,
    as_markdown,
    p_value,
    written,
)
from xrj.evaluate.results_page import page, read_results, write_results

SVG = "data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode()
COLUMNS = (
    Column("a", "Accuracy", 1, percent=True, better="high"),
    Column("l", "Loss", 2, better="low"),
    Column("p", "p"),
)


@pytest.fixture
def table():
    return ResultTable(
        key="table_9",
        title="Table 9: <i>things</i>",
        columns=COLUMNS,
        rows=(
            Row("ours", {"a": Figure(0.9, 40, 0.8, 0.95), "l": Figure(0.5, 40), "p": "< 0.001"}),
            Row("other", {"a": Figure(0.7, 40), "l": None}),
            Row("ceiling", {"a": Figure(1.0, 40), "l": Figure(0.1, 40)}, reference=True),
            Row("as a measure", {"a": Figure(0.25, 7)}, Column("x", "x", 3)),
            Row("undefined", {"a": Figure(math.nan, 3)}),
        ),
        note="How it was | measured.\nNot measured: more; `python train.py`",
        paper={"ours": {"a": 0.906}, "theirs": {"a": 0.919}},
        plots=(Plot("a curve", SVG),),
        drawn=("a", "unmeasured"),
        provenance=Provenance(
            ("0123456789abcdef",), (0, None), "python x", "commit f", "t", {"k": [1]}
        ),
    )


def test_a_table_survives_json(table):
    again = ResultTable.from_dict(json.loads(json.dumps(table.to_dict(), allow_nan=False)))
    assert again.to_dict() == table.to_dict()
    assert again.rows[:4] == table.rows[:4]
    assert math.isnan(again.rows[4].cells["a"].value)
    assert again.provenance == table.provenance


def test_cells_as_shown(table):
    rows = dict(written(table))
    ours = rows["ours"][0]
    assert (ours.value, ours.interval, ours.n, ours.paper) == (
        "90.0 %",
        "80.0 to 95.0",
        "40",
        "90.6 %",
    )
    assert [cell.best for cell in rows["ours"]] == [True, False, False]  # one loss is no contest
    assert rows["ours"][2].value == "< 0.001"
    assert (rows["other"][0].best, rows["other"][1].value) == (False, "–")
    assert [cell.best for cell in rows["ceiling"]] == [False, False, False]
    assert rows["as a measure"][0].value == "0.250"
    assert rows["undefined"][0].value == "–"
    assert (rows["theirs"][0].value, rows["theirs"][0].paper) == ("–", "91.9 %")


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ((0.9001, 0.9004, 0.7), [True, True, False]),
        ((0.9001, 0.9004), [False, False]),  # alike, as shown
        ((0.901, 0.899, math.nan), [True, False, False]),
        ((0.9,), [False]),
    ],
)
def test_what_is_shown_alike_is_equally_good(values, best):
    rows = tuple(Row(f"r{n}", {"a": Figure(value, 40)}) for n, value in enumerate(values))
    shown = written(ResultTable("t", "T", COLUMNS[:1], rows))
    assert [cells[0].best for _, cells in shown] == best


def test_zero_has_no_sign():
    loss, share = COLUMNS[1], COLUMNS[0]
    assert [loss.write(value) for value in (-0.004, -0.006, 0.0)] == ["0.00", "-0.01", "0.00"]
    assert share.write(-0.0001) == "0.0 %"


def test_markdown_says_all(table):
    text = as_markdown(table)
    assert "| ours | 90.0 % (80.0 to 95.0), n=40; paper 90.6 % | 0.50, n=40 | < 0.001 |" in text
    assert "| theirs | –; paper 91.9 % | – | – |" in text
    assert "Not measured: more; `python train.py`" in text
    assert "split 0123456789ab; seeds 0, ?; code commit f; t; `python x`" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") - line.count("\\|") for line in lines} == {5}


def test_the_results_folder(table, tmp_path):
    path = write_results(tmp_path, "All of it", [table], {"name": "demo"})
    assert path == tmp_path / "results.html"
    assert (tmp_path / "table_9-1.svg").read_bytes() == b"<svg/>"
    assert "](table_9-1.svg)" in (tmp_path / "results.md").read_text()
    (again,) = read_results(tmp_path / "results.json")
    assert again.plots[0] == Plot("a curve", "table_9-1.svg")
    assert [plot.source for plot in again.plots[1:]] == ["table_9-2.svg"]  # of column a
    assert (tmp_path / "table_9-2.svg").read_bytes().startswith(b"<?xml")
    assert again.row("ours") == table.row("ours")
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(DataError, match="run task=evaluate again"):
        read_results(tmp_path / "results.json")


def test_the_page_is_self_contained_and_escapes(table):
    html = page("All & more", [table])
    assert "All &amp; more" in html
    assert "&lt;i&gt;things" in html
    assert "<code>python train.py</code>" in html
    assert SVG in html
    assert "http" not in html.replace("http-equiv", "")
    assert "<script" not in html


def test_columns_of_words_wrap_and_are_none_of_the_best():
    columns = (Column("x", "X", better="high"), Column("why", "Why", words=True))
    rows = tuple(
        Row(name, {"x": Figure(value, 3), "why": name * 9})
        for name, value in (("a", 1.0), ("b", 2.0))
    )
    html = page("Words", [ResultTable("t", "T", columns, rows)])
    assert html.count('class="words"') == 3
    assert html.count('class="best"') == 1


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0004, "< 0.001"), (0.0456, "0.046")])
def test_p_values(p, text):
    assert p_value(p) == text
