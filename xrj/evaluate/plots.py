"""Plots of results, as SVG in data URIs."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from xrj.evaluate.figure import Figure as Measured
from xrj.evaluate.results import Plot, ResultTable

COLOURS = ("#1f6470", "#c8581a", "#6b5b95", "#4d7c3a", "#8a8a8a", "#a23b52")
LEAST_SPAN = 0.1
"""Of an axis, as a share of its values: smaller differences are none that a plot can show."""
SIZE = (6.4, 3.6)
"""Inches."""


@dataclass(frozen=True)
class Line:
    """A line over x, and the band around it where it has one.

    Attributes:
        x: Places, (N,).
        y: Values, (N,).
        band: Half the width of the band, (N,).
    """

    x: Sequence[float] | NDArray[np.float64]
    y: Sequence[float] | NDArray[np.float64]
    band: Sequence[float] | NDArray[np.float64] | None = None


def plot_lines(
    caption: str,
    lines: Mapping[str, Line],
    x_title: str,
    y_title: str,
    *,
    marked: bool = False,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Plot:
    """Draw lines with their bands.

    Args:
        caption: What is shown.
        lines: By their name in the legend.
        x_title: Under the axis.
        y_title: Beside the axis.
        marked: Mark each place, there and under the axis.
        bounds: Least and largest value that there can be; bands are cut to them.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    drawn = []
    for (name, line), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
        axes.plot(x, y, color=colour, label=name, lw=1.6, marker="o" if marked else None, ms=4)
        band = np.zeros(len(y)) if line.band is None else np.asarray(line.band, np.float64)
        low, high = np.clip(y - band, *bounds), np.clip(y + band, *bounds)
        drawn += [low, high]
        if line.band is not None:
            axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
    axes.set_xlabel(x_title)
    if marked:
        axes.set_xticks(sorted({float(place) for line in lines.values() for place in line.x}))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(y_title)
    axes.set_ylim(_span(np.concatenate(drawn), *bounds))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=9)
    return Plot(caption, svg_uri(figure))


def plot_column(table: ResultTable, key: str) -> Plot | None:
    """Draw a column: a dot for each row with its interval, and a ring for the paper's figure.

    Args:
        table: Whose column it is.
        key: Of the column.

    Returns:
        None where nothing of it was measured.
    """
    column = next((column for column in table.columns if column.key == key), None)
    known = {
        row.name: column.bounded(cell)
        for row in table.rows
        if column and isinstance(cell := row.cells.get(key), Measured) and math.isfinite(cell.value)
    }
    if column is None or not known:
        return None
    paper = {
        name: cells[key] for name, cells in table.paper.items() if key in cells and name in known
    }
    unit = 100 if column.percent else 1
    figure = Figure(figsize=(SIZE[0], 0.9 + 0.28 * len(known)), layout="constrained")
    axes = figure.add_subplot()
    for place, (name, cell) in enumerate(known.items()):
        ends = [unit * end for end in (cell.low, cell.high) if end is not None]
        axes.plot(ends, [place] * len(ends), color=COLOURS[0], lw=1.6)
        axes.plot([unit * cell.value], [place], "o", color=COLOURS[0], ms=5)
        if name in paper:
            axes.plot([unit * paper[name]], [place], "o", mfc="none", color=COLOURS[1], ms=7)
    axes.set_yticks(range(len(known)), list(known))
    axes.set_ylim(len(known) - 0.5, -0.5)
    cells = [(cell.value, cell.low, cell.high) for cell in known.values()]
    values = [value for cell in cells for value in cell if value is not None]
    axes.set_xlim(
        _span(unit * np.array([*values, *paper.values()]), *(unit * end for end in column.ends))
    )
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(f"{column.title}{', %' if column.percent else ''}")
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    rings = "; rings: the paper's, of other data" if paper else ""
    return Plot(f"{column.title}, with 95 % intervals{rings}", svg_uri(figure))


def _span(
    values: NDArray[np.float64], least: float = -math.inf, most: float = math.inf
) -> tuple[float, float]:
    """Return an axis that holds values, (N,), and little of what lies beyond `least` and `most`.

    Equal values do not stretch it over differences that are none.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    span = max(high - low, LEAST_SPAN * max(abs(low), abs(high)) or 1.0)
    air = 0.05 * span
    middle = (low + high) / 2
    return (
        max(middle - span / 2 - air, least - air),
        min(middle + span / 2 + air, most + air),
    )


def svg_uri(figure: Figure) -> str:
    """Return a figure as SVG whose bytes depend on nothing but what is drawn."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "xrj", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def png_uri(data: bytes) -> str:
    """Return a PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
