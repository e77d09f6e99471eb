"""Both presets side by side: what each deviation from the paper buys, a row a measure."""

import math
from collections.abc import Sequence

from xrj.evaluate.figure import Figure
from xrj.evaluate.results import Cell, Column, ResultTable, Row, p_value
from xrj.evaluate.runs import Run, check_balance, compare_runs, over_runs

COLUMNS = (
    Column("default", "Default preset"),
    Column("paper", "experiment=paper"),
    Column("difference", "Difference"),
    Column("p", "p, over seeds or folds"),
    Column("ahead", "Ahead"),
)
SURE = 0.05


def preset_rows(
    what: str,
    columns: Sequence[Column],
    sides: Sequence[Sequence[Run]],
    *,
    resamples: int,
    seed: int,
) -> list[Row]:
    """Return a row for each measure of both presets' runs that either has.

    Args:
        what: Before the measures' names.
        columns: The measures.
        sides: Runs of the default preset and of the paper's, at least one each.
        resamples: Of the patients.
        seed: Of the draws.

    Raises:
        HandoverError: One preset has a fold that the other lacks.
    """
    ours, paper = sides
    check_balance({"default": ours, "experiment=paper": paper})
    keys = [column.key for column in columns]
    first, second = (
        over_runs(runs, keys, resamples=resamples, seed=seed) for runs in (ours, paper)
    )
    return [
        measure_row(
            f"{what}: {column.title}",
            column,
            first[column.key],
            second[column.key],
            compare_runs(ours, paper, column.key).best.p,
        )
        for column in columns
        if any(math.isfinite(side[column.key].value) for side in (first, second))
    ]


def measure_row(
    name: str, column: Column, ours: Figure, paper: Figure, p: float | None = None
) -> Row:
    """Return the row of one measure.

    One is ahead by the test where there are several seeds or folds, otherwise where the intervals
    do not overlap; a measure without either says who is ahead in the figures alone, in brackets.
    Where a preset could not be measured nobody is.
    """
    ours, paper = column.bounded(ours), column.bounded(paper)
    measured = math.isfinite(ours.value) and math.isfinite(paper.value)
    cells: dict[str, Cell] = {
        "default": ours,
        "paper": paper,
        "difference": Figure(ours.value - paper.value, min(ours.n, paper.n)),
        "p": p_value(p if measured else None),
    }
    if column.better is not None and measured:
        leader = "default" if (ours.value > paper.value) == (column.better == "high") else "paper"
        ends = (ours.low, ours.high, paper.low, paper.high)
        if ours.value == paper.value:
            cells["ahead"] = "alike"
        elif p is not None:
            cells["ahead"] = leader if p < SURE else "alike"
        elif None in ends:
            cells["ahead"] = f"({leader})"
        else:
            overlap = ours.low <= paper.high and paper.low <= ours.high  # type: ignore[operator]
            cells["ahead"] = "alike" if overlap else leader
    return Row(name, cells, column)


def preset_table(rows: Sequence[Row]) -> ResultTable:
    """Return the table of these rows."""
    return ResultTable(
        key="presets",
        title="Both presets side by side",
        columns=COLUMNS,
        rows=tuple(rows),
        note=(
            "The default preset and experiment=paper, each trained on the same split and measured "
            "in the same way, with the same search for alternatives; docs/fidelity.md lists in "
            "what they differ. Ahead: by Welch's test over seeds where there are several "
            "(p < 0.05), otherwise where the intervals do not overlap; in brackets where there is "
            "neither."
        ),
    )
