"""Results on disk: `results.json` to read, `results.md` to paste, `results.html` to look at."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xrj.errors import DataError
from xrj.evaluate.plots import plot_column
from xrj.evaluate.results import Plot, ResultTable, as_markdown, origin, written
from xrj.files import atomic_path, read_json, write_json
from xrj.justify.page import environment

JSON_NAME, MARKDOWN_NAME, PAGE_NAME = "results.json", "results.md", "results.html"
SCHEMA = 3
SUFFIXES = {"image/png": "png", "image/svg+xml": "svg"}


def write_results(
    folder: Path, title: str, tables: Sequence[ResultTable], about: Mapping[str, Any]
) -> Path:
    """Write tables in all forms and their plots as files; return the page.

    Args:
        folder: To write to.
        title: Of the page.
        tables: In the order shown, their plots as data URIs.
        about: What the whole evaluation was of, for the JSON form.

    Raises:
        DataError: The folder cannot be written.
    """
    tables = [_with_drawn(table) for table in tables]
    beside = [_with_files(folder, table) for table in tables]
    write_json(
        folder / JSON_NAME,
        {"schema": SCHEMA, **about, "tables": [table.to_dict() for table in beside]},
    )
    text = "\n".join([f"## {title}\n", *(as_markdown(table) for table in beside)])
    for name, content in ((MARKDOWN_NAME, text), (PAGE_NAME, page(title, tables))):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return folder / PAGE_NAME


def read_results(path: Path) -> list[ResultTable]:
    """Return the tables of a `results.json`.

    Raises:
        DataError: It cannot be read or is of another schema.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise DataError(f"{path}: holds no results in schema {SCHEMA}; run task=evaluate again")
    return [ResultTable.from_dict(table) for table in value["tables"]]


def _with_drawn(table: ResultTable) -> ResultTable:
    """Draw the columns that a table wants drawn."""
    plots = [plot for key in table.drawn if (plot := plot_column(table, key)) is not None]
    return replace(table, plots=(*table.plots, *plots), drawn=())


def _with_files(folder: Path, table: ResultTable) -> ResultTable:
    """Write a table's plots into the folder; return the table that names these files."""
    plots = []
    for number, plot in enumerate(table.plots, start=1):
        head, _, data = plot.source.partition(";base64,")
        name = f"{table.key}-{number}.{SUFFIXES[head.removeprefix('data:')]}"
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(base64.b64decode(data))
        plots.append(Plot(plot.caption, name))
    return replace(table, plots=tuple(plots))


def page(title: str, tables: Sequence[ResultTable]) -> str:
    """Return the page, which holds all that it shows."""
    pages = environment("xrj.evaluate")
    style = str(pages.globals["style"])
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return pages.get_template("results.html.j2").render(
        title=title,
        tables=[(table, written(table)) for table in tables],
        origin=origin,
        policy=(
            f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
            "form-action 'none'"
        ),
    )
