"""The noise sweep: width and kind of the noise, generators of one text autoencoder (4.2)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xrj.evaluate.embedding_table import row_of
from xrj.evaluate.generators import COLUMNS, Judged
from xrj.evaluate.plots import Line, plot_lines
from xrj.evaluate.results import Plot, ResultTable
from xrj.evaluate.runs import Run, of_each


def sweep_table(
    points: Sequence[tuple[Mapping[str, Any], Judged]],
    plots: tuple[Plot, ...],
    *,
    resamples: int,
    seed: int,
) -> ResultTable:
    """Return the table of the noise sweep.

    Args:
        points: Shared sizes and run of each generator, at least one.
        plots: Of the estimates over the noise's width.
        resamples: Of the patients.
        seed: Of the draws.
    """
    grouped: dict[tuple[str, int], list[Run]] = {}
    for dims, judged in points:
        grouped.setdefault((str(dims["noise_kind"]), int(dims["noise"])), []).append(judged.run)
    return ResultTable(
        key="noise_sweep",
        title="Section 4.2: width and kind of the noise",
        columns=COLUMNS,
        rows=tuple(
            row_of(f"{kind}, {width}", runs, resamples, seed)
            for (kind, width), runs in sorted(grouped.items())
        ),
        note=(
            "As in table 2, for generators that share one text autoencoder. The paper prints no "
            "numbers: it finds that quality and alignment fall off beyond 200, that 100 is good "
            "for both kinds, and that uniform noise does as well as normal noise."
        ),
        plots=plots,
    )


def sweep_plots(points: Sequence[tuple[Mapping[str, Any], Judged]]) -> tuple[Plot, ...]:
    """Return both test estimates over the noise's width, a line for each kind of noise."""
    titles = {"wasserstein": "Wasserstein estimate, test", "alignment": "Alignment estimate, test"}
    kinds = sorted({str(dims["noise_kind"]) for dims, _ in points})
    plots = []
    for key, title in titles.items():
        lines = {}
        for kind in kinds:
            by_width: dict[int, list[float]] = {}
            for dims, judged in points:
                if dims["noise_kind"] == kind:
                    by_width.setdefault(int(dims["noise"]), []).extend(of_each([judged.run], key))
            widths = sorted(by_width)
            lines[kind] = Line(widths, [float(np.mean(by_width[width])) for width in widths])
        plots.append(
            plot_lines(f"{title} over the noise's width", lines, "Width", title, marked=True)
        )
    return tuple(plots)
