"""The pages: one justification, and an index of several. Self-contained, without scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from xrj.justify.pictures import BRIGHTER, DARKER

IN_WORDS = ((0.95, "very certain"), (0.8, "fairly certain"), (0.65, "somewhat certain"))


@dataclass(frozen=True)
class Sheet:
    """A justification as the pages show it.

    Attributes:
        folder: Its folder beside the index.
        record: Its JSON form.
        original: Picture as a data URI; so are the next.
        reconstruction: At the size of stage II.
        alternative: At the size of stage II.
        difference: The map between these two.
        limit: Grey levels that the map's full colour stands for.
        truth: The true label, where it is known.
    """

    folder: str
    record: dict[str, Any]
    original: str
    reconstruction: str
    alternative: str
    difference: str
    limit: int
    truth: str | None

    @property
    def name(self) -> str:
        """File name of the X-ray."""
        return PurePath(self.record["image"]).name

    @property
    def right(self) -> bool | None:
        """Whether the diagnosis is the true label; None where that is not known."""
        return None if self.truth is None else self.record["diagnosis"] == self.truth


@dataclass(frozen=True)
class Measure:
    """A row of the table of measures, ready to show.

    Attributes:
        name: What was measured.
        value: With its unit, and the 95 % interval where there is one.
        n: Of how many.
        meaning: In one sentence.
    """

    name: str
    value: str
    n: str
    meaning: str


def percent(share: float) -> str:
    """Write a probability so that it never claims to be 0 or 1."""
    if share < 0.005:
        return "< 1 %"
    if share > 0.995:
        return "> 99 %"
    return f"{100 * share:.0f} %"


def in_words(certainty: float) -> str:
    """Say in words how certain a diagnosis is."""
    return next((words for least, words in IN_WORDS if certainty >= least), "uncertain")


def marked(caption: str, other: str) -> list[tuple[str, bool]]:
    """Split a caption into runs of words; True for those that the other caption does not have."""
    words = caption.split()
    matcher = SequenceMatcher(None, words, other.split(), autojunk=False)
    runs = [
        (" ".join(words[start:end]), tag != "equal")
        for tag, start, end, _, _ in matcher.get_opcodes()
    ]
    return [run for run in runs if run[0]]


def justification_page(sheet: Sheet) -> str:
    """Return the page of one justification."""
    return _PAGES.get_template("justification.html.j2").render(sheet=sheet)


def index_page(
    title: str,
    sheets: Sequence[Sheet],
    *,
    measures: Sequence[Measure] = (),
    setting: str = "",
    skipped: Sequence[str] = (),
) -> str:
    """Return the page over several justifications.

    Args:
        title: Of the page.
        sheets: At least one.
        measures: Rows of the table of measures.
        setting: What was measured: data, split, seeds, command.
        skipped: Why files were left out, a line each.
    """
    return _PAGES.get_template("index.html.j2").render(
        title=title, sheets=sheets, measures=measures, setting=setting, skipped=skipped
    )


_PAGES = Environment(
    loader=PackageLoader("xrj.justify"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters.update(percent=percent, in_words=in_words)
_PAGES.globals.update(marked=marked, darker=DARKER, brighter=BRIGHTER)
