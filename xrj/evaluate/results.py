"""A result as an object: figures with n and interval, the paper's beside them, and their origin."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from xrj.evaluate.figure import Figure

Cell = Figure | str | None
"""None was not measured."""

NONE = "–"
BAR = "\\|"


@dataclass(frozen=True)
class Column:
    """A measure.

    Attributes:
        key: By which rows hold their figure.
        title: As shown.
        digits: After the point, of the percentage where it is one.
        percent: Show a share of 1 as a percentage.
        better: Which end is the better one; None where neither is.
        words: Its cells are words, which wrap.
        least: No value is below; None: any may be. A percentage lies between 0 and 1.
        most: Nor above.
    """

    key: str
    title: str
    digits: int = 3
    percent: bool = False
    better: Literal["high", "low"] | None = None
    words: bool = False
    least: float | None = None
    most: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Least and largest value that there can be."""
        least, most = (0.0, 1.0) if self.percent else (self.least, self.most)
        return -math.inf if least is None else least, math.inf if most is None else most

    def bounded(self, figure: Figure) -> Figure:
        """Return a figure with its interval cut to the values that are possible."""
        return figure.within(*self.ends)

    def write(self, value: float) -> str:
        """Return a value as shown."""
        if not math.isfinite(value):
            return NONE
        return f"{100 * value:z.{self.digits}f} %" if self.percent else f"{value:z.{self.digits}f}"


@dataclass(frozen=True)
class Row:
    """A model, a method or a measure, and its cells by the columns' keys.

    Attributes:
        name: As shown.
        cells: By column.
        measure: How all its cells are written, where rows are measures and columns methods.
        reference: Whether it is there to read the others by, such as a floor, and no candidate for
            the best of a column.
    """

    name: str
    cells: Mapping[str, Cell]
    measure: Column | None = None
    reference: bool = False


@dataclass(frozen=True)
class Provenance:
    """Where the figures of a table come from.

    Attributes:
        splits: Hash of the split; of each fold, where the table is over several.
        seeds: Of the trainings, in the order of the chains; None where one is not recorded.
        command: That prints the table again.
        commit: Of the code, or the version of the package.
        tokenizer: Of captions.
        settings: All else that shaped the figures.
    """

    splits: tuple[str, ...]
    seeds: tuple[int | None, ...]
    command: str
    commit: str
    tokenizer: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """A picture: what it shows in words, and a data URI or the file beside the results."""

    caption: str
    source: str


@dataclass(frozen=True)
class ResultTable:
    """A table of the evaluation.

    Attributes:
        key: Its name in `results.json`, such as "table_3".
        title: As shown.
        columns: At least one.
        rows: In the order shown.
        note: Protocol and units, a paragraph; and what is missing, with the command that makes it.
        paper: The paper's figures by row name and column key, in the units of the cells.
        plots: Shown beside the table.
        drawn: Keys of columns that are drawn beside it, too, where they were measured.
        provenance: None until the task sets it.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    plots: tuple[Plot, ...] = ()
    drawn: tuple[str, ...] = ()
    provenance: Provenance | None = None

    def row(self, name: str) -> Row:
        """Return a row by its name."""
        return next(row for row in self.rows if row.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; null for what is undefined or was not measured."""
        known = self.provenance
        return {
            "key": self.key,
            "title": self.title,
            "columns": [vars(column) for column in self.columns],
            "rows": [
                {
                    "name": row.name,
                    "cells": {key: _dump(cell) for key, cell in row.cells.items()},
                    "measure": row.measure and vars(row.measure),
                    "reference": row.reference,
                }
                for row in self.rows
            ],
            "note": self.note,
            "paper": {name: dict(cells) for name, cells in self.paper.items()},
            "plots": [vars(plot) for plot in self.plots],
            "drawn": list(self.drawn),
            "provenance": known
            and vars(known) | {"splits": list(known.splits), "seeds": list(known.seeds)},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "ResultTable":
        """Return the table that `to_dict` wrote."""
        known = value["provenance"]
        return cls(
            key=value["key"],
            title=value["title"],
            columns=tuple(Column(**column) for column in value["columns"]),
            rows=tuple(
                Row(
                    row["name"],
                    {key: _load(cell) for key, cell in row["cells"].items()},
                    row["measure"] and Column(**row["measure"]),
                    row["reference"],
                )
                for row in value["rows"]
            ),
            note=value["note"],
            paper=value["paper"],
            plots=tuple(Plot(**plot) for plot in value["plots"]),
            drawn=tuple(value["drawn"]),
            provenance=known
            and Provenance(
                **known | {"splits": tuple(known["splits"]), "seeds": tuple(known["seeds"])}
            ),
        )


def _dump(cell: Cell) -> Any:
    return cell.to_dict() if isinstance(cell, Figure) else cell


def _load(cell: Any) -> Cell:
    if not isinstance(cell, dict):
        return None if cell is None else str(cell)
    value = math.nan if cell["value"] is None else cell["value"]
    return Figure(value, cell["n"], cell.get("low"), cell.get("high"))


def p_value(value: float | None) -> str:
    """Return a p-value as shown; an undefined one is None."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


@dataclass(frozen=True)
class Written:
    """A cell as shown: value, interval, n, the paper's figure, and whether it is the best."""

    value: str
    interval: str
    n: str
    paper: str
    best: bool


def written(table: ResultTable) -> list[tuple[str, list[Written]]]:
    """Return the rows as shown: those measured, then those that the paper alone has."""
    measured = {row.name: row for row in table.rows}
    names = [*measured, *(name for name in table.paper if name not in measured)]
    best = {column.key: _best(table.rows, column) for column in table.columns}
    rows = []
    for name in names:
        row, paper = measured.get(name), table.paper.get(name, {})
        cells = []
        for column in table.columns:
            cell = row.cells.get(column.key) if row else None
            measure = row.measure if row and row.measure else column
            known = cell if isinstance(cell, Figure) and cell.n else None
            cells.append(
                Written(
                    value=(cell if isinstance(cell, str) else NONE)
                    if known is None
                    else measure.write(known.value),
                    interval="" if known is None else _interval(measure, known),
                    n="" if known is None else str(known.n),
                    paper=measure.write(paper[column.key]) if column.key in paper else "",
                    best=known is not None
                    and row is not None
                    and not row.reference
                    and column.write(known.value) == best[column.key],
                )
            )
        rows.append((name, cells))
    return rows


def _best(rows: Sequence[Row], column: Column) -> str | None:
    """Return the best value of a column as shown; None where nothing is better or all are equal.

    What is shown alike is equal: digits that nobody sees make no winner.
    """
    cells = [row.cells.get(column.key) for row in rows if not row.reference]
    values = [cell.value for cell in cells if isinstance(cell, Figure)]
    values = [value for value in values if math.isfinite(value)]
    if column.better is None or len(set(map(column.write, values))) < 2:
        return None
    return column.write(max(values) if column.better == "high" else min(values))


def _interval(column: Column, figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    low, high = (column.write(end).removesuffix(" %") for end in (figure.low, figure.high))
    return f"{low} to {high}"


def as_markdown(table: ResultTable) -> str:
    """Return the table as Markdown; each cell is its value, interval and n, then the paper's."""
    lines = [f"### {table.title}", ""]
    lines += [f"![{plot.caption}]({plot.source})\n" for plot in table.plots]
    if table.columns:
        lines.append("| | " + " | ".join(column.title for column in table.columns) + " |")
        lines.append("| --- |" + " ---: |" * len(table.columns))
    for name, cells in written(table):
        texts = [
            f"{cell.value}{f' ({cell.interval})' if cell.interval else ''}"
            f"{f', n={cell.n}' if cell.n else ''}{f'; paper {cell.paper}' if cell.paper else ''}"
            for cell in cells
        ]
        lines.append(f"| {' | '.join(text.replace('|', BAR) for text in (name, *texts))} |")
    if table.note:
        lines += ["", table.note.replace("\n", "\n\n")]
    if table.provenance is not None:
        lines += ["", origin(table.provenance)]
    return "\n".join(lines) + "\n"


def origin(provenance: Provenance) -> str:
    """Return where figures come from, in a sentence or two."""
    folds = "folds" if len(provenance.splits) > 1 else "split"
    seeds = ", ".join("?" if seed is None else str(seed) for seed in provenance.seeds)
    return (
        f"{folds} {', '.join(split[:12] for split in provenance.splits)}; seeds {seeds}; "
        f"code {provenance.commit}; {provenance.tokenizer}; `{provenance.command}`"
    )
