"""Figure 2: the inverse mapping by the label loss alone against all losses, epoch by epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xrj.errors import DataError
from xrj.evaluate.figure import Figure
from xrj.evaluate.plots import Line, plot_lines
from xrj.evaluate.results import Cell, Column, ResultTable, Row, p_value
from xrj.evaluate.runs import check_folds
from xrj.measures.statistics import compare

FIGURE = "Figure 2: the label loss alone against all losses"
ALL, LABEL = "All losses", "Label loss alone"
NEAREST = 10
"""Points that the paper averages over; curves of shorter trainings over half the epochs."""
MEASURES = {"val/accuracy": "Accuracy on validation", "val/diagnosis": "Label loss on validation"}
BOUNDS = {"val/accuracy": (0.0, 1.0), "val/diagnosis": (0.0, math.inf)}
COLUMNS = (
    Column("runs", "Runs", 0),
    Column("best", "Best accuracy", 1, percent=True, better="high"),
    Column("accuracy", "Accuracy, last epochs", 1, percent=True, better="high"),
    Column("loss", "Label loss, last epochs", 4, better="low", least=0),
    Column("wander", "σ of that loss over them", 4, better="low", least=0),
)


@dataclass(frozen=True)
class Curves:
    """Validation measures of one training by epoch, (E,) each.

    Attributes:
        name: Of the training.
        split: Hash of its split.
        measures: By the key that they are logged under.
    """

    name: str
    split: str
    measures: Mapping[str, NDArray[np.float64]]


def read_curves(folder: Path, split: str) -> Curves:
    """Read a stage's logs, of all starts; of an epoch that was run twice the later one counts.

    Args:
        folder: Run folder of the stage.
        split: Hash of its split.

    Raises:
        DataError: There are no logs.
    """
    paths = sorted(
        folder.glob("logs/version_*/metrics.csv"),
        key=lambda path: int(path.parent.name.rpartition("_")[2]),
    )
    tables = [pd.read_csv(path) for path in paths if path.stat().st_size]
    known = [table for table in tables if set(MEASURES) <= set(table.columns)]
    if not known:
        raise DataError(f"{folder}/logs: holds no curves; train the stage again, or leave it out")
    whole = pd.concat(known)[["epoch", *MEASURES]].dropna()
    last = whole.groupby("epoch").last()
    return Curves(str(folder), split, {key: last[key].to_numpy(np.float64) for key in MEASURES})


def smooth(values: NDArray[np.float64], nearest: int) -> NDArray[np.float64]:
    """Return the mean of the `nearest` points around each, itself among them; fewer at the ends.

    Of an even number the earlier side has one more.
    """
    before, after = nearest // 2, (nearest - 1) // 2
    return np.array(
        [values[max(0, place - before) : place + after + 1].mean() for place in range(len(values))]
    )


def curve_table(methods: Mapping[str, Sequence[Curves]]) -> ResultTable:
    """Return figure 2: curves over epochs with bands over seeds, and how they end.

    Args:
        methods: Trainings of `ALL` and `LABEL`, at least one each.

    Raises:
        HandoverError: They are of different folds.
    """
    check_folds(
        {name: [(one.name, one.split) for one in several] for name, several in methods.items()}
    )
    trainings = [one for several in methods.values() for one in several]
    epochs = min(len(one.measures["val/accuracy"]) for one in trainings)
    nearest = NEAREST if epochs > NEAREST else max(1, epochs // 2)
    plots = tuple(
        plot_lines(
            f"{title}: means of the {nearest} nearest epochs; the band is one standard deviation "
            "over the seeds",
            {
                name: _line([one.measures[key] for one in curves], nearest)
                for name, curves in methods.items()
            },
            "Epoch",
            title,
            bounds=BOUNDS[key],
        )
        for key, title in MEASURES.items()
    )
    ends = {name: [_end(one, epochs) for one in curves] for name, curves in methods.items()}
    rows = [
        Row(
            name,
            {
                "runs": f"{len(several)}",
                **{
                    column.key: column.bounded(Figure.mean([end[column.key] for end in several]))
                    for column in COLUMNS[1:]
                },
            },
        )
        for name, several in ends.items()
    ]
    if len(ends) == 2 and all(len(several) > 1 for several in ends.values()):
        first, second = ends.values()
        mine, others = ([one.split for one in several] for several in methods.values())
        folds = (mine, others) if len(set(mine)) > 1 else None
        cells: dict[str, Cell] = {}
        for column in COLUMNS[1:]:
            a, b = ([end[column.key] for end in side] for side in (first, second))
            test = compare(a, b, folds)
            cells[column.key] = p_value(test.best.p)
        rows.append(Row("p, paired over folds" if folds else "p, Welch", cells))
    return ResultTable(
        key="figure_2",
        title=FIGURE,
        columns=COLUMNS,
        rows=tuple(rows),
        note=(
            "On the validation split, as in the paper, which finds that the cycle losses do not "
            f"harm the accuracy and steady the loss. Last: {min(NEAREST, epochs)} epochs. n counts "
            "seeds, intervals are Student's over them."
        ),
        plots=plots,
    )


def _line(several: Sequence[NDArray[np.float64]], nearest: int) -> Line:
    epochs = min(map(len, several))
    smoothed = np.stack([smooth(values, nearest)[:epochs] for values in several])
    band = smoothed.std(axis=0, ddof=1) if len(several) > 1 else None
    return Line(np.arange(1.0, epochs + 1), smoothed.mean(axis=0), band)


def _end(curves: Curves, epochs: int) -> dict[str, float]:
    accuracy, loss = (curves.measures[key][:epochs] for key in ("val/accuracy", "val/diagnosis"))
    return {
        "best": float(accuracy.max()),
        "accuracy": float(accuracy[-NEAREST:].mean()),
        "loss": float(loss[-NEAREST:].mean()),
        "wander": float(loss[-NEAREST:].std()),
    }
