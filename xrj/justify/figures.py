"""Figures 3 and 4 of the paper, drawn from justifications."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from xrj.datamodules.images import UInt8
from xrj.errors import DataError
from xrj.justify.justification import Justification
from xrj.justify.pictures import heat_map
from xrj.justify.wording import percent

SIDE, GAP, MARGIN = 2.1, 0.12, 0.35
"""Inches: of a picture, between two, and left of the first for the rows' names."""
LINE, SIZE, CHARACTERS = 0.145, 8, 34
"""Inches of a line of text, its points, and how many characters it holds."""
DPI = 150
LEVELS = (
    ("attention_intermediate", "attention, intermediate level"),
    ("attention_abstract", "attention, abstract level"),
)
"""The maps of figure 4."""
UNKNOWN = "<oov>"


@dataclass(frozen=True)
class Example:
    """A justification to show in a figure.

    Attributes:
        justification: Of a test X-ray.
        label: The X-ray's own label; None where it is not known.
        caption: From its report; None likewise.
    """

    justification: Justification
    label: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class _Cell:
    """A picture over a line in bold and a paragraph."""

    picture: UInt8
    title: str = ""
    text: str = ""

    @property
    def lines(self) -> list[str]:
        shown = self.text.replace(UNKNOWN, "[rare word]")
        return textwrap.wrap(shown, CHARACTERS) or [""]


def figure3(examples: Sequence[Example]) -> bytes:
    """Draw figure 3 as PNG: a column for each X-ray.

    From the top: the X-ray over its own label and caption; the reconstruction by stage I over
    diagnosis and caption; that by stage II; and the X-ray of the nearest alternative diagnosis over
    its caption.

    Args:
        examples: At least one.
    """
    columns = []
    for example in examples:
        justification = example.justification
        found, other = justification.found, justification.alternative
        target = justification.target
        reached = "" if justification.mapping.converged else " (not reached)"
        columns.append(
            [
                _Cell(justification.original, example.label or "", example.caption or ""),
                _Cell(
                    found.small,
                    f"{found.diagnosis}, {percent(found.certainty[found.diagnosis])}",
                    found.caption,
                ),
                _Cell(found.large),
                _Cell(other.large, f"{target}{reached}", other.caption),
            ]
        )
    small, large = (cell.picture.shape[0] for cell in columns[0][1:3])
    names = (
        "X-ray",
        f"reconstruction, {small} × {small}",
        f"reconstruction, {large} × {large}",
        f"alternative, {large} × {large}",
    )
    return _draw([list(row) for row in zip(*columns, strict=True)], names)


def figure4(justifications: Sequence[Justification]) -> bytes:
    """Draw figure 4 as PNG: a row for each X-ray, beside it the classifier's attention.

    Args:
        justifications: At least one.

    Raises:
        DataError: A justification has no attention maps, for want of a classifier.
    """
    rows = []
    for justification in justifications:
        maps = {one.method: one.values for one in justification.saliency}
        if not maps.keys() >= dict(LEVELS).keys():
            raise DataError(
                f"{justification.image}: has no attention maps; train with stage=classifier first"
            )
        original = justification.original
        vote = justification.found_by_classifier
        rows.append(
            [
                _Cell(original, f"X-ray: {vote.label if vote else justification.found.diagnosis}"),
                *(_Cell(heat_map(maps[method], original), title) for method, title in LEVELS),
            ]
        )
    return _draw(rows, [""] * len(rows))


def _draw(rows: Sequence[Sequence[_Cell]], names: Sequence[str]) -> bytes:
    """Draw rows of cells with the rows' names on the left."""
    texts = [
        any(cell.title or cell.text for cell in row) * (1 + max(len(cell.lines) for cell in row))
        for row in rows
    ]
    left = MARGIN if any(names) else GAP
    width = left + len(rows[0]) * (SIDE + GAP)
    height = GAP + sum(SIDE + GAP + LINE * lines for lines in texts)
    figure = Figure(figsize=(width, height), facecolor="white")
    top = height - GAP
    for row, name, lines in zip(rows, names, texts, strict=True):
        middle = (top - SIDE / 2) / height
        figure.text(0.12 / width, middle, name, size=SIZE, rotation=90, va="center", color="0.35")
        for column, cell in enumerate(row):
            x = left + column * (SIDE + GAP)
            axes = figure.add_axes((x / width, (top - SIDE) / height, SIDE / width, SIDE / height))
            axes.imshow(cell.picture, cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
            axes.set_axis_off()
            y = top - SIDE - 0.05
            figure.text(x / width, y / height, cell.title, size=SIZE, weight="bold", va="top")
            text, y = "\n".join(cell.lines), y - LINE
            figure.text(x / width, y / height, text, size=SIZE, va="top", parse_math=False)
        top -= SIDE + GAP + LINE * lines
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
