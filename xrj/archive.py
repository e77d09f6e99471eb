"""Any number of X-rays as the rows of a table: resumed where it stopped, in parts, merged.

A row is written once its batch is done and flushed to disk, so that a kill costs a batch at most.
Beside the table lies what it was made with; another model or other settings do not mix.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from xrj.errors import ConfigError, DataError
from xrj.files import atomic_path, locked, read_json, sha256_bytes, sha256_file, write_json
from xrj.justify.facade import Model
from xrj.justify.intake import XRays, shown_name
from xrj.justify.justification import Justification, JustifySettings
from xrj.justify.output import write_justification
from xrj.justify.wording import readable
from xrj.justify.xray import XRay, read

PAGES = "pages"
"""Folder of the pages, each by its row's key."""
KEY = 16
"""Hexadecimal digits of a file's key."""
BEFORE = ("key", "file", "sha256", "problem", "diagnosis")
AFTER = (
    *("caption", "alternative", "alternative_found", "alternative_certainty"),
    *("alternative_caption", "frontal", "unlike", "ctr", "ctr_alternative", "heart_share"),
    *("reconstruction_unexplained", "redrawn", "read_anew", "read_anew_on_xray"),
    *("classifier", "classifier_on_xray", "caption_agrees", "alternative_caption_agrees"),
    *("warnings", "warning", "doubts", "search_seconds", "page"),
)
"""Columns before and after the labels' certainties."""


@dataclass(frozen=True)
class Part:
    """A part of an archive: those files whose key leaves the remainder `shard` by `shards`."""

    shard: int = 0
    shards: int = 1

    @property
    def stem(self) -> str:
        """Name of its table without the suffix."""
        return "table" if self.shards == 1 else f"table-{self.shard}-of-{self.shards}"

    def holds(self, key: str) -> bool:
        """Return whether a file is of it."""
        return int(key, 16) % self.shards == self.shard


@dataclass
class Told:
    """What an archive's run has to say at its end.

    Attributes:
        table: Its path.
        done: Rows that it holds.
        found: Of these, how many an earlier run had written.
        broken: Rows of files that cannot be read.
        warned: Rows with a warning, of those written now.
    """

    table: Path
    done: int = 0
    found: int = 0
    broken: int = 0
    warned: int = 0


@dataclass
class _Pending:
    """Files of a batch that is being justified, in their order."""

    files: list[tuple[str, Path, str, int]] = field(default_factory=list)
    broken: list[dict[str, Any]] = field(default_factory=list)


def key_of(path: Path, top: Path) -> str:
    """Return a file's key: a hash of its path below the folder that was named.

    Names of files may be names of patients, so that the table holds no more of them.
    """
    try:
        place = path.relative_to(top).as_posix()
    except ValueError:
        place = path.as_posix()
    return sha256_bytes(os.fsencode(place))[:KEY]


def justify_archive(
    model: Model,
    pattern: str,
    out: Path,
    settings: JustifySettings,
    seed: int,
    *,
    part: Part,
    pages: str,
) -> Told:
    """Write a row for each X-ray that a path names, and go on with a table that was begun.

    Args:
        model: What justifies.
        pattern: A file, a folder or a glob.
        out: Folder of the table and the pages.
        settings: How; walks and saliency maps are drawn for pages alone.
        seed: Of the search's restarts.
        part: Which of the files.
        pages: Which X-rays get a page: "none", "all", "warnings", or a number of the first ones.

    Raises:
        ConfigError: Another process writes this table.
        DataError: There is no X-ray, the table is of another model or other settings, or it cannot
            be written.
    """
    files = XRays(pattern)
    top = files.path if files.path.is_dir() else files.path.parent
    total = sum(1 for path in XRays(pattern) if part.holds(key_of(path, top)))
    table = out / f"{part.stem}.csv"
    columns = [*BEFORE, *(f"certainty_{label}" for label in model.labels), *AFTER]
    made_with = {
        "model": dict(model.inner.identity),
        "settings": repr(replace(settings, batch=1)),
        "seed": seed,
        "shards": part.shards,
        "columns": columns,
    }
    with _claimed(table):
        done = _begin(table, made_with, columns)
        told = Told(table, len(done), len(done))
        with _progress(total, len(done)) as advance:
            for row in _rows(model, files, top, out, settings, seed, part, pages, done):
                _append(table, columns, row)
                told.done += len(row)
                told.broken += sum(bool(one["problem"]) for one in row)
                told.warned += sum(bool(one.get("warnings")) for one in row)
                advance(len(row))
    return told


def _rows(
    model: Model,
    files: XRays,
    top: Path,
    out: Path,
    settings: JustifySettings,
    seed: int,
    part: Part,
    pages: str,
    done: set[str],
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a batch after the other."""
    quick = replace(settings, saliency=False, walk=2)
    pending = _Pending()
    xrays: list[XRay] = []

    def finish() -> list[dict[str, Any]]:
        rows = pending.broken
        for found, xray, (key, path, shown, place) in zip(
            model.justify(xrays, quick, seed), xrays, pending.files, strict=True
        ):
            row = {"key": key, "file": shown, "sha256": sha256_file(path), **_cells(found)}
            if _wants(pages, place, found):
                folder = out / PAGES / key
                write_justification(model.justify(xray, settings, seed), folder)
                row["page"] = folder.relative_to(out).as_posix()
            rows.append(row)
        pending.files, pending.broken = [], []
        xrays.clear()
        return rows

    for place, path in enumerate(files):
        key = key_of(path, top)
        if not part.holds(key) or key in done:
            continue
        shown = shown_name(path)
        try:
            xrays.append(read(path, shown))
            pending.files.append((key, path, shown, place))
        except DataError as error:
            problem = readable(str(error).replace(str(path), shown))
            pending.broken.append({"key": key, "file": shown, "problem": problem})
        if len(xrays) + len(pending.broken) == settings.batch:
            yield finish()
    if xrays or pending.broken:
        yield finish()


def _wants(pages: str, place: int, found: Justification) -> bool:
    if pages == "warnings":
        return bool(found.evidence.warnings)
    return pages == "all" or (pages.isdecimal() and place < int(pages))


def _cells(found: Justification) -> dict[str, Any]:
    """Return what a row says of a justification."""
    record = found.to_dict()
    other, evidence = record["alternative"], record["evidence"]
    validity, words, ctr = evidence["validity"], evidence["captions"], evidence["ctr"]
    refined = record["refinement"]["seconds"] if record["refinement"] else 0.0
    confident = ctr is not None and ctr["confident"]
    return {
        "problem": "",
        "diagnosis": record["diagnosis"],
        **{f"certainty_{label}": value for label, value in record["certainty"].items()},
        "caption": record["caption"],
        "alternative": other["diagnosis"],
        "alternative_found": other["converged"],
        "alternative_certainty": other["certainty"][other["diagnosis"]],
        "alternative_caption": other["caption"],
        "frontal": evidence["frontal"],
        "unlike": evidence["unlike"],
        "ctr": ctr["original"] if confident else None,
        "ctr_alternative": ctr["alternative"] if confident else None,
        "heart_share": evidence["change"]["heart_share"],
        "reconstruction_unexplained": evidence["reconstruction"]["unexplained"],
        "redrawn": other["on_xray"]["redrawn"],
        "read_anew": validity["reencoded"],
        "read_anew_on_xray": validity["on_xray"],
        "classifier": validity["independent"],
        "classifier_on_xray": validity["on_xray_independent"],
        "caption_agrees": words["found"],
        "alternative_caption_agrees": words["alternative"],
        "warnings": len(evidence["warnings"]),
        "warning": " ".join(evidence["warnings"]),
        "doubts": " ".join(record["doubts"]),
        "search_seconds": round(refined + other["seconds"], 3),
        "page": "",
    }


def _begin(table: Path, made_with: Mapping[str, Any], columns: Sequence[str]) -> set[str]:
    """Begin a table, or mend one that was begun and return the keys of its rows.

    Raises:
        DataError: It is of another model or other settings, or is no such table.
    """
    beside = table.with_suffix(".json")
    if not table.exists() and not beside.exists():
        write_json(beside, made_with)
        with atomic_path(table) as temporary:
            temporary.write_text(_line(columns), encoding="utf-8")
        return set()
    if not beside.is_file():
        raise DataError(f"{table}: exists, and not what it was made with; choose another out=")
    earlier = read_json(beside)
    made = earlier if isinstance(earlier, dict) else {}
    if changed := [key for key, value in made_with.items() if made.get(key) != value]:
        raise DataError(
            f"{table}: was begun with another {changed[0]}; choose another out=, or remove it and "
            f"{beside.name} to start over"
        )
    if not table.exists():
        with atomic_path(table) as temporary:
            temporary.write_text(_line(columns), encoding="utf-8")
    with table.open("rb+") as file:  # a killed run's last row may be half written
        end = file.seek(0, os.SEEK_END)
        while end and _byte(file, end - 1) != b"\n":
            end -= 1
        file.truncate(end)
    rows = read_table(table, columns)
    return {row["key"] for row in rows}


def _byte(file: io.BufferedRandom, place: int) -> bytes:
    file.seek(place)
    return file.read(1)


def read_table(table: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield a table's rows.

    Raises:
        DataError: Its columns are others.
    """
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != list(columns):
            raise DataError(f"{table}: has other columns than these; choose another out=")
        yield from reader


def _line(cells: Iterable[Any]) -> str:
    """Return a row of CSV; none spans lines."""
    text = io.StringIO()
    shown = ("" if cell is None else _cell(cell) for cell in cells)
    csv.writer(text, lineterminator="\n").writerow(shown)
    return text.getvalue()


def _cell(value: Any) -> str:
    """Return a cell's text; numbers have the digits that do not depend on the batch."""
    return f"{value:.4f}" if isinstance(value, float) else " ".join(f"{value}".split("\n"))


def _append(table: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows at a table's end, and flush them to disk.

    Raises:
        DataError: The disk is full.
    """
    lines = "".join(_line(row.get(column) for column in columns) for row in rows)
    try:
        with table.open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataError(
            f"{table}: cannot be written ({error.strerror}); free space, the same command goes on"
        ) from error


@contextmanager
def _claimed(table: Path) -> Iterator[None]:
    """Hold a table alone.

    Raises:
        ConfigError: Another process writes it.
    """
    with locked(table.with_name(f".{table.name}.lock"), wait=False) as obtained:
        if not obtained:
            raise ConfigError(
                f"{table}: another process writes it; wait for it, or choose another out= or shard="
            )
        yield


@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Show how many are done, how fast and how long it takes yet, on a terminal."""
    bar = Progress(
        TextColumn("Justifying"), BarColumn(), MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda count: bar.advance(task, count)


def merge_tables(out: Path) -> tuple[Path, int]:
    """Put the tables of all parts together, sorted by file; how it was cut leaves no trace.

    Returns:
        The whole table, `table.csv`, and its number of rows.

    Raises:
        DataError: A part is missing, still written, or of another model or other settings.
    """
    beside = sorted(out.glob("table-*-of-*.json"))
    if not beside:
        raise DataError(f"{out}: holds no parts of a table; make them with table=true shards=N")
    made = read_json(beside[0])
    parts = [Part(shard, made["shards"]) for shard in range(made["shards"])]
    wanted = [out / f"{part.stem}.csv" for part in parts]
    if missing := [path.name for path in wanted if not path.with_suffix(".json").is_file()]:
        raise DataError(f"{out}: {missing[0]} of {len(parts)} is missing; run that shard first")
    if len(beside) > len(parts):
        raise DataError(f"{out}: holds parts of tables that were cut otherwise; remove the others")
    rows: list[dict[str, str]] = []
    for path in wanted:
        if read_json(path.with_suffix(".json")) != made:
            raise DataError(f"{path}: was made with another model or other settings than its like")
        with _claimed(path):
            rows += read_table(path, made["columns"])
    rows.sort(key=lambda row: (row["file"], row["key"]))
    whole = out / f"{Part().stem}.csv"
    with atomic_path(whole) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(_line(made["columns"]))
        file.writelines(_line(row.values()) for row in rows)
    write_json(whole.with_suffix(".json"), {**made, "shards": 1})
    return whole, len(rows)
