"""The noise sweep: width and kind of the noise, generators of one text autoencoder (4.2)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from xrj.evaluate.embedding_table import row_of
from xrj.evaluate.generators import COLUMNS, KINDS, Judged
from xrj.evaluate.plots import Line, plot_lines
from xrj.evaluate.results import Cell, Plot, ResultTable, Row, p_value
from xrj.evaluate.runs import Run, of_each
from xrj.measures.statistics import compare

Point = tuple[Mapping[str, Any], Judged]
WIDE = 200
"""Beyond which the paper finds that results worsen."""


def sweep_table(
    points: Sequence[Point],
    *,
    resamples: int,
    seed: int,
) -> ResultTable:
    """Return the table of the noise sweep.

    Args:
        points: Shared sizes and run of each generator, at least one.
        resamples: Of the patients.
        seed: Of the draws.
    """
    grouped = _grouped(points)
    return ResultTable(
        key="noise_sweep",
        title="Section 4.2: width and kind of the noise",
        columns=COLUMNS,
        rows=(
            *(
                row_of(f"{kind}, {width}", runs, resamples, seed)
                for (kind, width), runs in sorted(grouped.items())
            ),
            *_tests(grouped),
        ),
        note=(
            "As in table 2, for generators that share one text autoencoder. The paper prints no "
            "numbers: it finds that quality and alignment fall off beyond 200, that 100 is good "
            "for both kinds, and that uniform noise does as well as normal noise. Each p is of a "
            "two-tailed Welch test between seeds, each the mean of its points."
        ),
        plots=_plots(grouped),
    )


def _grouped(points: Sequence[Point]) -> dict[tuple[str, int], list[Run]]:
    """Return the runs of each kind and width."""
    grouped: dict[tuple[str, int], list[Run]] = {}
    for dims, judged in points:
        point = (str(dims["noise_kind"]), int(dims["noise"]))
        grouped.setdefault(point, []).append(judged.run)
    return grouped


def _tests(grouped: Mapping[tuple[str, int], Sequence[Run]]) -> list[Row]:
    """Test what the paper found, where several known seeds have all widths of each kind."""
    seeds = [{run.seed for run in runs} for runs in grouped.values()]
    if len(seeds[0]) < 2 or None in seeds[0] or any(one != seeds[0] for one in seeds):
        return []
    kinds, widths = (set(part) for part in zip(*grouped, strict=True))
    if len(grouped) < len(kinds) * len(widths):
        return []
    uniform = {point for point in grouped if point[0] == "uniform"}
    wide = {point for point in grouped if point[1] > WIDE}
    rows = []
    for name, chosen in (
        ("p, uniform against normal", uniform),
        (f"p, beyond {WIDE} against up to {WIDE}", wide),
    ):
        sides = (chosen, grouped.keys() - chosen)
        if all(sides):
            cells: dict[str, Cell] = {}
            for kind in KINDS:
                first, second = (_of_seeds(grouped, side, kind) for side in sides)
                cells[kind] = p_value(compare(first, second).welch.p)
            rows.append(Row(name, cells))
    return rows


def _of_seeds(
    grouped: Mapping[tuple[str, int], Sequence[Run]], chosen: Collection[tuple[str, int]], kind: str
) -> list[float]:
    """Return the mean of each seed over some points."""
    values = [
        of_each(sorted(grouped[point], key=lambda run: str(run.seed)), kind) for point in chosen
    ]
    return [float(mean) for mean in np.mean(values, axis=0)]


def _plots(grouped: Mapping[tuple[str, int], Sequence[Run]]) -> tuple[Plot, ...]:
    """Draw both test estimates over the noise's width, a line for each kind of noise."""
    titles = {"wasserstein": "Wasserstein estimate, test", "alignment": "Alignment estimate, test"}
    several = min(map(len, grouped.values())) > 1
    plots = []
    for key, title in titles.items():
        lines = {}
        for kind in sorted({kind for kind, _ in grouped}):
            widths = sorted(width for of_kind, width in grouped if of_kind == kind)
            values = [of_each(grouped[kind, width], key) for width in widths]
            band = [float(np.std(one, ddof=1)) for one in values] if several else None
            lines[kind] = Line(widths, [float(np.mean(one)) for one in values], band)
        caption = f"{title} over the noise's width{'; bands: ± σ over seeds' if several else ''}"
        plots.append(plot_lines(caption, lines, "Width", title, marked=True))
    return tuple(plots)
