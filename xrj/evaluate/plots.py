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
    caption: str, lines: Mapping[str, Line], x_title: str, y_title: str, *, marked: bool = False
) -> Plot:
    """Draw lines with their bands.

    Args:
        caption: What is shown.
        lines: By their name in the legend.
        x_title: Under the axis.
        y_title: Beside the axis.
        marked: Mark each place, there and under the axis.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    for (name, line), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
        axes.plot(x, y, color=colour, label=name, lw=1.6, marker="o" if marked else None, ms=4)
        if line.band is not None:
            band = np.asarray(line.band, np.float64)
            axes.fill_between(x, y - band, y + band, color=colour, alpha=0.18, lw=0)
    axes.set_xlabel(x_title)
    if marked:
        axes.set_xticks(sorted({float(place) for line in lines.values() for place in line.x}))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(y_title)
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
        row.name: cell
        for row in table.rows
        if isinstance(cell := row.cells.get(key), Measured) and math.isfinite(cell.value)
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
    axes.invert_yaxis()
    axes.set_xlabel(f"{column.title}{', %' if column.percent else ''}")
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    rings = "; rings: the paper's, of other data" if paper else ""
    return Plot(f"{column.title}, with 95 % intervals{rings}", svg_uri(figure))


def svg_uri(figure: Figure) -> str:
    """Return a figure as SVG whose bytes depend on nothing but what is drawn."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "xrj", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def png_uri(data: bytes) -> str:
    """Return a PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
