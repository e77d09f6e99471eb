"""What each deviation from the default costs: a row a chain with single settings changed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xrj.evaluate.caption_table import SCORES, WORDS, own_caption_runs
from xrj.evaluate.chains import Chain
from xrj.evaluate.diagnosis_table import MEASURES, own_runs
from xrj.evaluate.figure import Figure
from xrj.evaluate.generators import COLUMNS as ESTIMATES
from xrj.evaluate.results import Cell, Column, ResultTable, Row
from xrj.evaluate.runs import Run, over_runs
from xrj.measures.statistics import prediction_interval
from xrj.reproduction.evaluation import Evaluation
from xrj.reproduction.side_by_side import JUSTIFICATIONS, figure_of, justified

REBUILT = (
    Column("token_accuracy", "Tokens rebuilt, validation", 1, percent=True, better="high"),
    Column("exact", "Captions rebuilt, validation", 1, percent=True, better="high"),
)


def _chosen(columns: Sequence[Column], *keys: str) -> tuple[Column, ...]:
    return tuple(column for column in columns if column.key in keys)


STAGE_1 = _chosen(ESTIMATES, "wasserstein", "alignment", "sliced", "label_seen")
DIAGNOSIS = _chosen(MEASURES, "accuracy", "ece")
CAPTIONS = _chosen((*SCORES, *WORDS), "bleu4", "cider", "silent", "finding_f1")
JUSTIFIED = _chosen(
    JUSTIFICATIONS,
    "refinement.ssim_before",
    "refinement.ssim_after",
    "validity.reencoded",
    "validity.independent",
    "distance.reconstruction_ssim",
    "change.heart_share",
)
MEASURED = (*REBUILT, *STAGE_1, *DIAGNOSIS, *CAPTIONS, *JUSTIFIED)
COLUMNS = (
    Column("settings", "Changed", words=True),
    Column("behind", "Behind the default in", words=True),
    Column("ahead", "Ahead of it in", words=True),
    *MEASURED,
)


def changed_settings(chain: Chain, main: Chain, own: Sequence[str]) -> list[str]:
    """Return the settings in which a chain's own stages were trained unlike the main chain's.

    Args:
        chain: With stages of its own.
        main: What it is compared with.
        own: These stages.
    """
    found: dict[str, Any] = {}
    for stage in own:
        before, after = main.settings(stage), chain.settings(stage)
        keys = (key for key in after if not key.startswith("parents."))
        found |= {key: after[key] for key in keys if after[key] != before.get(key)}
    return [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in found.items()
    ]


def measure_chain(one: Evaluation, chain: Chain, own: Sequence[str]) -> list[ResultTable]:
    """Return a table of one row, what was measured of a chain.

    Args:
        one: What all tables share.
        chain: With all stages.
        own: Those that may differ from the main chain's; what the others do is left out.
    """
    cells: dict[str, Cell] = {}
    if "arae" in own:
        export = chain.export("arae")
        metrics = next(iter(export.info["selections"].values()))["metrics"]
        captions = one.splits.of(export).caption_data("val").items
        tokens = sum(len(words) + 2 for _, _, words in captions)  # label and end
        for column, n in zip(REBUILT, (tokens, len(captions)), strict=True):
            cells[column.key] = Figure(metrics.get(f"val/{column.key}", np.nan), n)
    if "gan1" in own:
        cells |= _figures(one, one.judged(chain, "gan1").run, STAGE_1)
    if "inverse" in own:
        (run,) = own_runs([chain], one.splits, one.device)
        cells |= _figures(one, run, DIAGNOSIS)
        reading = (one.splits, one.lexicon, one.device, one.cfg.beams)
        (said,) = own_caption_runs([chain], "ours_caption", *reading)
        cells |= _figures(one, said.bare, CAPTIONS)
    summary = justified(one, chain)
    for column in JUSTIFIED:
        figure = figure_of(summary, column.key)
        cells[column.key] = figure and column.bounded(figure)
    return [ResultTable(chain.name, chain.name, MEASURED, (Row(chain.name, cells),))]


def _figures(one: Evaluation, run: Run, columns: Sequence[Column]) -> Mapping[str, Figure]:
    return over_runs([run], [column.key for column in columns], **one.draws)


def deviation_table(
    default: Sequence[Row], deviations: Mapping[str, Row], settings: Mapping[str, str]
) -> ResultTable:
    """Return the table: the default's seeds as one row, the first of them, a row a deviation.

    Args:
        default: What was measured of each seed, at least one; first that which deviations share
            their seed with.
        deviations: Of each deviation, by its chain.
        settings: In which each differs.
    """
    usual = {column.key: _usual(default, column) for column in MEASURED}
    first = default[0]
    rows = [
        Row(f"default, {len(default)} seeds", usual, reference=True),
        Row(first.name, {"settings": "nothing", **first.cells}, reference=True),
    ]
    for name, row in deviations.items():
        sides: dict[str, list[str]] = {"behind": [], "ahead": []}
        for column in MEASURED:
            if side := _side(column, row.cells.get(column.key), usual[column.key]):
                sides[side].append(column.title)
        said = {side: "; ".join(titles) or "nothing" for side, titles in sides.items()}
        rows.append(Row(name, {"settings": settings[name], **said, **row.cells}))
    return ResultTable(
        key="deviations",
        title="What single deviations from the default cost",
        columns=COLUMNS,
        rows=tuple(rows),
        note=(
            "Each row is one training with these settings changed and all else, the seed too, as "
            "in the default; stages before the change are the default's, those after it are "
            "trained anew on it, and what no change can reach is left out. All alternatives are "
            "of the same X-rays and judged by the same classifier. The first row is the "
            "mean of the default's seeds, n seeds, with the interval in which another seed would "
            "lie in 95 % of cases (mean ± t s sqrt(1 + 1/n)); the second is the seed that the "
            "deviations share. Behind and ahead: outside this interval, and the deviation's own "
            "interval over patients, where it has one, does not hold the mean either. Of so many "
            "comparisons some are so by chance."
        ),
    )


def _usual(rows: Sequence[Row], column: Column) -> Figure | None:
    """Return the mean over seeds with the interval of one more."""
    cells = [row.cells.get(column.key) for row in rows]
    values = [cell.value for cell in cells if isinstance(cell, Figure)]
    if len(values) < len(rows):
        return None
    found = Figure(float(np.mean(values)), len(values), *(prediction_interval(values) or ()))
    return column.bounded(found)


def _side(column: Column, cell: Cell, usual: Figure | None) -> str | None:
    """Return "behind" or "ahead" where a deviation differs from the default beyond chance."""
    if not isinstance(cell, Figure) or usual is None or usual.low is None or usual.high is None:
        return None
    if not np.isfinite(cell.value) or usual.low <= cell.value <= usual.high:
        return None
    if cell.low is not None and cell.high is not None and cell.low <= usual.value <= cell.high:
        return None
    return "ahead" if (cell.value > usual.value) == (column.better == "high") else "behind"
