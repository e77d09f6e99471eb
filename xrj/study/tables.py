"""The analysis as tables for people: for a terminal, as Markdown and as a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from xrj.measures.statistics import Interval
from xrj.study.analysis import Analysis, Answered
from xrj.study.pages import pages
from xrj.study.questions import PAPER, QUESTIONS
from xrj.study.statistics import Kappa, Summary

NONE = "–"
SUBSET_TITLES = {
    "all": "All diagnoses",
    "right": "Right diagnoses alone",
    "wrong": "Wrong diagnoses alone",
}


@dataclass(frozen=True)
class Table:
    """A table ready to show; the first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()


def tables(analysis: Analysis) -> list[Table]:
    """Return all tables, the most important first."""
    found = []
    for subset, title in SUBSET_TITLES.items():
        counts = ", ".join(
            f"{number} X-rays {method}" for method, number in analysis.xrays[subset].items()
        )
        answered = analysis.subsets[subset]
        if not any(one.methods for one in answered.values()):
            found.append(Table(title, (), [], ("No answers.",)))
            continue
        found.append(_table5(f"{title}: {counts}", answered, with_paper=subset == "all"))
        found.append(_beside(answered))
    return [*found, _agreement(analysis), *_by_reader(analysis), _progress(analysis)]


def _table5(title: str, answered: Mapping[str, Answered], *, with_paper: bool) -> Table:
    methods = list(dict.fromkeys(method for one in answered.values() for method in one.methods))
    pairs = list(combinations(methods, 2))
    paper = [method for method in methods if with_paper and method in PAPER]
    rows = []
    for question in QUESTIONS:
        one = answered[question.key]
        tests = {(pair.first, pair.second): pair.student for pair in one.comparisons}
        rows.append(
            (
                f"{question.key.upper()} {question.name}, {question.lowest}-{question.highest}",
                *(_mean(one.methods.get(method)) for method in methods),
                *(p_value(tests[pair].p) if pair in tests else NONE for pair in pairs),
                *(f"{PAPER[method][question.key]:.2f}" for method in paper),
            )
        )
    return Table(
        title,
        (
            "Question",
            *(f"{method}: mean (sd, n)" for method in methods),
            *("p" if len(pairs) == 1 else f"p, {' - '.join(pair)}" for pair in pairs),
            *(f"paper: {method}" for method in paper),
        ),
        rows,
        ("p of two-tailed t-tests with equal variances, as in table 5 of the paper.",)
        if pairs
        else (),
    )


def _beside(answered: Mapping[str, Answered]) -> Table:
    rows: list[tuple[str, ...]] = []
    for question in QUESTIONS:
        for comparison in answered[question.key].comparisons:
            mixed = comparison.mixed
            rows.append(
                (
                    f"{question.key.upper()} {comparison.first} - {comparison.second}",
                    f"{comparison.difference:+.2f}{_interval(comparison.interval)}",
                    p_value(comparison.welch.p),
                    NONE
                    if mixed.difference is None
                    else f"{mixed.difference:+.2f}{_interval(mixed.interval)}",
                    p_value(mixed.p),
                    mixed.note,
                )
            )
    return Table(
        "With respect to readers and X-rays",
        ("Difference", "bootstrap over X-rays", "p, Welch", "mixed model", "p", "remark"),
        rows,
        (
            "In brackets 95 % intervals. The mixed model has readers as fixed effects and random "
            "intercepts for X-rays and, where they appear under several methods, for these items. "
            "Neither says how other readers would answer.",
        ),
    )


def _agreement(analysis: Analysis) -> Table:
    groups = list(analysis.agreement)
    rows = [
        (
            f"{question.key.upper()} {question.name}",
            *(_kappa(analysis.agreement[group][question.key]) for group in groups),
        )
        for question in QUESTIONS
    ]
    return Table(
        "Fleiss' kappa of the X-rays that all readers rated",
        ("Question", *groups),
        rows,
        (
            "In brackets the 95 % bootstrap interval. The paper reports 0.33, 0.42 and 0.55 for "
            "the first three questions.",
        ),
    )


def _by_reader(analysis: Analysis) -> list[Table]:
    rows = [
        (f"{reader}, {question.key.upper()}", comparison)
        for reader, answered in analysis.by_reader.items()
        for question in QUESTIONS
        for comparison in answered[question.key].comparisons
    ]
    if len(analysis.by_reader) < 2 or not rows:
        return []
    return [
        Table(
            "Each reader alone",
            ("Reader and question", "difference", "95 %, bootstrap", "p, t-test", "p, Welch"),
            [
                (
                    name,
                    f"{one.difference:+.2f} {one.first} - {one.second}",
                    _interval(one.interval).strip(" ()") or NONE,
                    p_value(one.student.p),
                    p_value(one.welch.p),
                )
                for name, one in rows
            ],
        )
    ]


def _progress(analysis: Analysis) -> Table:
    return Table(
        "How far the readers are",
        ("Reader", "finished", "begun", "assigned"),
        [
            (reader, str(one.finished), str(one.begun), str(one.assigned))
            for reader, one in analysis.progress.items()
        ],
    )


def p_value(p: float | None) -> str:
    """Write a p-value with two digits."""
    if p is None:
        return NONE
    return "< 1e-10" if p < 1e-10 else f"{p:.2g}"


def _mean(summary: Summary | None) -> str:
    if summary is None:
        return NONE
    sd = NONE if summary.sd is None else f"{summary.sd:.2f}"
    return f"{summary.mean:.2f} ({sd}, {summary.n})"


def _interval(interval: Interval | None) -> str:
    return f" ({interval[0]:+.2f} to {interval[1]:+.2f})" if interval else ""


def _kappa(kappa: Kappa) -> str:
    value = kappa.note if kappa.value is None else f"{kappa.value:.2f}{_interval(kappa.interval)}"
    return f"{value}, n = {kappa.n}"


def as_text(found: Sequence[Table]) -> str:
    """Return tables for a terminal."""
    parts = []
    for table in found:
        grid = [table.header, *table.rows] if table.rows else []
        widths = [max(len(row[column]) for row in grid) for column in range(len(table.header))]
        lines = [
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in grid
        ]
        parts.append("\n".join([table.title, *lines, *table.notes]))
    return "\n\n".join(parts)


def as_markdown(title: str, notes: Sequence[str], found: Sequence[Table]) -> str:
    """Return tables as Markdown."""
    parts = [f"# {title}", *notes]
    for table in found:
        parts.append(f"## {table.title}")
        if table.rows:
            rows = [table.header, ("---",) * len(table.header), *table.rows]
            parts.append("\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows))
        parts += table.notes
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def as_page(title: str, notes: Sequence[str], found: Sequence[Table]) -> str:
    """Return tables as a page that needs no other file."""
    template = pages().get_template("analysis.html.j2")
    return template.render(title=title, notes=notes, tables=found)
