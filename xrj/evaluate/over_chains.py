"""Tables that each chain has of its own, as means over seeds or folds."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from xrj.evaluate.figure import Figure
from xrj.evaluate.results import Cell, Column, Provenance, ResultTable
from xrj.evaluate.runs import count_folds


def mean_tables(made: Mapping[str, Sequence[ResultTable]], command: str) -> list[ResultTable]:
    """Return tables whose figures are means over chains, with Student's interval over them.

    A chain where a figure could not be measured does not count for it. n counts the X-rays of each
    split once. Rows are those that all chains have.

    Args:
        made: The same tables of each chain, by its name.
        command: That makes their means.
    """
    if len(made) == 1:
        (alone,) = made.values()
        return list(alone)
    first, *_ = made
    return [
        _mean(several, list(made), first, command) for several in zip(*made.values(), strict=True)
    ]


def _mean(
    tables: Sequence[ResultTable], names: Sequence[str], first: str, command: str
) -> ResultTable:
    cells = [{row.name: row.cells for row in table.rows} for table in tables]
    columns = {column.key: column for column in tables[0].columns}
    splits = [
        name if table.provenance is None else table.provenance.splits
        for name, table in zip(names, tables, strict=True)
    ]
    rows = [
        replace(
            row,
            cells={
                key: _cell(columns[key], [one[row.name].get(key) for one in cells], splits)
                for key in row.cells
            },
        )
        for row in tables[0].rows
        if all(row.name in one for one in cells)
    ]
    note = (
        f"Means over {len(tables)} chains ({', '.join(names)}), each on its own test split; "
        "intervals are Student's over the chains, none where all agree, and n counts the X-rays "
        f"of each split once. What follows is said of {first}. {tables[0].note}"
    )
    return replace(tables[0], rows=tuple(rows), note=note, provenance=_origin(tables, command))


def _origin(tables: Sequence[ResultTable], command: str) -> Provenance | None:
    known = [table.provenance for table in tables if table.provenance is not None]
    if not known:
        return None
    return replace(
        known[0],
        command=command,
        splits=tuple(sorted({split for one in known for split in one.splits})),
        seeds=tuple(dict.fromkeys(seed for one in known for seed in one.seeds)),
    )


def _cell(column: Column, cells: Sequence[Cell], splits: Sequence[Hashable]) -> Cell:
    known = [
        (one, split)
        for one, split in zip(cells, splits, strict=True)
        if isinstance(one, Figure) and math.isfinite(one.value)
    ]
    if not known:
        return cells[0]
    values = [one.value for one, _ in known]
    n = count_folds([(split, one.n) for one, split in known])
    if len(set(values)) == 1:
        return Figure(values[0], n)
    return column.bounded(replace(Figure.mean(values), n=n))
