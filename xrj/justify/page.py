"""The pages: one justification, and an index of several.

A justification's page holds all that it shows; its only script lets a reader look closely, and
without it the pictures stand side by side. The index shows small pictures out of the
justifications' folders, and its only script sorts and filters: in CSS alone, sorting would change
what is seen and leave the order in which keyboard and screen reader go through the page.
Both pages carry a policy under which a browser loads and runs nothing else.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xrj.justify.checklist import checklist, count
from xrj.justify.pictures import BRIGHTER, DARKER
from xrj.justify.wording import IN_WORDS, UNCERTAIN, in_words, marked, percent

TRAINED_ON = {
    "phantom": "rendered phantoms, not on patients",
    "iu_xray": "X-rays of the public collection IU X-Ray",
    "manifest": "X-rays that its maker chose",
}
"""What a model learned from, by the source of its data."""
NEIGHBOURS = Markup("<!-- neighbours -->")
"""Stands in a page where the links to its neighbours go once there is an index."""


@dataclass(frozen=True)
class Sheet:
    """A justification as an index shows it.

    Attributes:
        folder: Its folder beside the index.
        record: Its JSON form.
        truth: The true label, where it is known.
    """

    folder: str
    record: dict[str, Any]
    truth: str | None

    @property
    def name(self) -> str:
        """File name of the X-ray."""
        return PurePath(self.record["image"]).name

    @property
    def right(self) -> bool | None:
        """Whether the diagnosis is the true label; None where that is not known."""
        return None if self.truth is None else self.record["diagnosis"] == self.truth

    @property
    def certainty(self) -> float:
        """Certainty of the diagnosis."""
        return float(self.record["certainty"][self.record["diagnosis"]])

    @property
    def strange(self) -> str | None:
        """Why nothing said of the X-ray can be relied on; None where nothing speaks against it."""
        if self.record["evidence"]["frontal"] is False:
            return "not recognised as a frontal chest X-ray"
        return self.record["evidence"]["unlike"] and "unlike the X-rays of the training"

    @property
    def heading(self) -> str:
        """What stands as its title: the diagnosis, where there is one to rely on."""
        return self.strange or str(self.record["diagnosis"])

    @property
    def trained_on(self) -> str | None:
        """What the model learned from, in words; None where it does not say."""
        model = self.record["model"]
        source = model.get("learned_from") or TRAINED_ON.get(model.get("data", ""))
        number = model.get("trained_on")
        return source and (f"{number:,} {source}" if number else source)

    @property
    def warnings(self) -> list[str]:
        """A sentence for each check that failed."""
        return list(self.record["evidence"]["warnings"])


@dataclass(frozen=True)
class Album:
    """The pictures of a justification's page, as data URIs.

    Attributes:
        xray: The X-ray at its own size.
        on_xray: The alternative on it.
        region: Outline of what is drawn, on nothing.
        original: The X-ray as the model sees it.
        reconstruction: G(r) of stage II.
        alternative: G(r') of stage II.
        difference: G(r') - G(r) over the X-ray.
        against_original: G(r') - x over the X-ray, on the same scale.
        limit: Grey levels that full colour stands for in both.
        walk: Animation from r to r'.
        frames: Its frames on the way there.
        steps: The same places, small and without the bar.
        saliency: One for each map of the record.
    """

    xray: str
    on_xray: str
    region: str
    original: str
    reconstruction: str
    alternative: str
    difference: str
    against_original: str
    limit: int
    walk: str
    frames: Sequence[str]
    steps: Sequence[str]
    saliency: Sequence[str]


@dataclass(frozen=True)
class Calibration:
    """How far stated certainties were from the share that was right.

    Attributes:
        error: Expected calibration error, 0 to 1.
        n: X-rays that it was measured on.
    """

    error: float
    n: int


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


def justification_context(
    sheet: Sheet, album: Album, calibration: Calibration | None = None
) -> dict[str, Any]:
    """Return what the template `justification.html.j2` shows.

    Args:
        sheet: What the page says.
        album: What it shows.
        calibration: Of the model's certainties, where it was measured.
    """
    return {
        "sheet": sheet,
        "album": album,
        "calibration": calibration,
        "groups": checklist(sheet.record),
        "neighbours": NEIGHBOURS,
        "policy": _policy("data:", VIEWER),
        "script": Markup(VIEWER),  # noqa: S704  # a file of the package
    }


def justification_page(context: Mapping[str, Any]) -> str:
    """Return the page of one justification."""
    return PAGES.get_template("justification.html.j2").render(context)


def linked(page: str, before: Sheet | None, after: Sheet | None, place: str) -> str:
    """Return the page of a justification with links to the index and to its neighbours there.

    Args:
        page: As `justification_page` gives it; another one is returned as it is.
        before: The one before it in the index; None for the first.
        after: The one after it; None for the last.
        place: Which one of how many it is.
    """
    links = PAGES.get_template("neighbours.html.j2").render(before=before, after=after, place=place)
    return page.replace(NEIGHBOURS, links, 1)


def index_page(
    title: str,
    sheets: Sequence[Sheet],
    *,
    measures: Sequence[Measure] = (),
    setting: str = "",
    skipped: Sequence[str] = (),
) -> str:
    """Return the page over several justifications, to lie beside their folders.

    Args:
        title: Of the page.
        sheets: At least one.
        measures: Rows of the table of measures.
        setting: What was measured: data, split, seeds, command.
        skipped: Why files were left out, a line each.
    """
    script = _source("index.js")
    return PAGES.get_template("index.html.j2").render(
        title=title,
        sheets=sheets,
        measures=measures,
        setting=setting,
        skipped=skipped,
        labels=sorted({sheet.heading for sheet in sheets}),
        certainties=[words for _, words in IN_WORDS] + [UNCERTAIN],
        script=Markup(script),  # noqa: S704  # a file of the package
        policy=_policy("'self'", script),
    )


def _policy(images: str, script: str | None = None) -> str:
    """Return a content security policy that allows the style, pictures and one inline script."""
    run = f"; script-src '{_digest(script)}'" if script else ""
    style = _digest(str(PAGES.globals["style"]))
    return (
        f"default-src 'none'; img-src {images}; style-src '{style}'{run}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _loss(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"


def _source(name: str) -> str:
    """Return a style or script as it stands in a page."""
    return PAGES.get_template(f"{name}.j2").render()


PAGES = Environment(
    loader=PackageLoader("xrj.justify"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""The templates, with what they use; the base of other pages, too."""
PAGES.filters.update(percent=percent, in_words=in_words, loss=_loss)
PAGES.globals.update(marked=marked, count=count, darker=DARKER, brighter=BRIGHTER)
PAGES.globals["style"] = Markup(_source("style.css"))  # noqa: S704  # a file of the package
VIEWER = _source("viewer.js")
"""The script of a justification's page."""


def environment(*packages: str) -> Environment:
    """Return the templates of packages, which may extend the report's `base.html.j2`.

    Their style is the report's, then each package's own, such as `study.css.j2` of "xrj.study",
    that of the first package last.

    Args:
        packages: Whose folders `templates` are searched in this order, before the report's.
    """
    loaders = [PackageLoader(name) for name in (*packages, "xrj.justify")]
    pages = PAGES.overlay(loader=ChoiceLoader(loaders))
    own = (f"{name.rpartition('.')[2]}.css.j2" for name in reversed(packages))
    sheets = [pages.get_template(name).render() for name in own]
    style = Markup("\n").join(map(Markup, [PAGES.globals["style"], *sheets]))
    pages.globals = {**PAGES.globals, "style": style}
    return pages
