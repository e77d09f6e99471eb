"""Reading CSV files that a user or a spreadsheet wrote."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from xrj.datamodules.text import normal, short
from xrj.errors import DataError

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}


class Row(dict[str, str]):
    """Cells by column.

    Attributes:
        number: Place in the file as a spreadsheet shows it; the header is row 1.
    """

    def __init__(self, number: int, cells: dict[str, str]) -> None:
        super().__init__(cells)
        self.number = number


def read_csv(
    path: Path,
    columns: Sequence[str],
    notes: list[str],
    *,
    unique: str = "",
    optional: Sequence[str] = (),
) -> list[Row]:
    """Read rows as text, trimmed, in composed Unicode; optional columns that are absent are empty.

    What spreadsheets do to a CSV is read where it can mean one thing only: semicolons, tabs or
    bars between fields, spaces after them, UTF-16, other spellings of a column's name. Blank rows
    are passed over.

    Args:
        path: The file.
        columns: Columns that it must have.
        notes: Gets a line that says what was read otherwise than as plain CSV.
        unique: A column whose values must be there and differ.
        optional: Columns that it may have.

    Raises:
        DataError: The file is missing, not UTF-8 or no CSV, has no rows, lacks a column or has it
            twice, a row has more or fewer fields than the header, or `unique` is empty or repeats.
    """
    text, found = _decode(path)
    number = 0
    rows = []
    try:
        delimiter, header = _header(text, (*columns, *optional))
        places = _places(path, header, columns, optional)
        spaced = any(name.startswith(" ") for name in header[1:])
        file = io.StringIO(text, newline="")
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=spaced, strict=True)
        for number, cells in enumerate(reader, start=1):
            if number > 1 and any(cell.strip() for cell in cells):
                _check(path, number, cells, len(header), _DELIMITERS[delimiter])
                known = {name: cells[place].strip() for name, place in places.items()}
                rows.append(Row(number, dict.fromkeys(optional, "") | known))
    except csv.Error as error:
        raise DataError(
            f"{path}: row {number + 1} is not valid CSV ({error}); check its quotes"
        ) from error
    if not rows:
        raise DataError(f"{path}: holds no row below its header; add the data")
    if unique:
        _check_unique(path, rows, unique)
    if delimiter != ",":
        found.append(f"a {_DELIMITERS[delimiter]} between fields")
    if spaced:
        found.append("spaces before fields")
    found += [
        f"'{short(header[place])}' as {name}"
        for name, place in places.items()
        if header[place].strip() != name
    ]
    if found:
        notes.append(f"{path}: read with {', '.join(found)}")
    return rows


def _decode(path: Path) -> tuple[str, list[str]]:
    """Return the text from its header on, and what is to be said of how it was read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}: not UTF-8 text (line {line}, byte {error.start}); save it as CSV in UTF-8"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path}: line {line} holds a NUL byte; save it as CSV in UTF-8")
    # Excel's first line "sep=;" says what the header shows anyway.
    return normal(re.sub(r"\A[\r\n]*(sep=.[\r\n]+)?", "", text)), ["UTF-16"] if wide else []


def _header(text: str, wanted: Sequence[str]) -> tuple[str, list[str]]:
    """Return the delimiter by which most of the wanted columns are found, and the header by it."""
    names = {_folded(name) for name in wanted}
    headers = {
        delimiter: next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        for delimiter in _DELIMITERS
    }
    found = {
        delimiter: sum(_folded(name) in names for name in header)
        for delimiter, header in headers.items()
    }
    best = max(found, key=lambda delimiter: found[delimiter])
    header = headers[best]
    while header and not header[-1].strip():
        header.pop()
    return best, header


def _places(
    path: Path, header: Sequence[str], columns: Sequence[str], optional: Sequence[str]
) -> dict[str, int]:
    """Return where each column stands; one of exactly its name goes before other spellings."""
    places = {}
    for name in (*columns, *optional):
        like = [place for place, given in enumerate(header) if _folded(given) == _folded(name)]
        found = [place for place in like if header[place].strip() == name] or like
        if len(found) > 1:
            raise DataError(f"{path}: column '{name}' stands twice; keep one of them")
        if found:
            places[name] = found[0]
        elif name in columns:
            given = ", ".join(f"'{short(given, 40)}'" for given in header[:12]) or "none"
            raise DataError(
                f"{path}: column '{name}' is missing; it needs {', '.join(columns)} and has {given}"
            )
    return places


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip(" \t\"'").casefold())


def _check(path: Path, number: int, cells: Sequence[str], width: int, delimiter: str) -> None:
    """Check that a row has the header's fields, so that no part of a text is lost."""
    if any(cell.strip() for cell in cells[width:]):
        raise DataError(
            f"{path}: row {number} has {len(cells):,} fields and the header {width}; put a text "
            f'that holds a {delimiter} between quotes ("..."), with no space before them'
        )
    if len(cells) < width:
        raise DataError(
            f"{path}: row {number} has {len(cells)} fields and the header {width}; complete it "
            f"(an empty field needs its {delimiter}, too), or check the quotes before it"
        )
    for cell in cells:
        if cell[:1].isspace() and len(text := cell.strip()) > 1 and text[0] == text[-1] == '"':
            raise DataError(
                f"{path}: row {number} has a space before the quotes of '{short(text, 40)}', which "
                f"then quote nothing; remove the space after the {delimiter}"
            )


def _check_unique(path: Path, rows: Sequence[Row], column: str) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        if not row[column]:
            raise DataError(f"{path}: row {row.number} has no {column}; give one, or remove it")
        if (first := seen.setdefault(row[column], row.number)) != row.number:
            raise DataError(
                f"{path}: {column} '{short(row[column])}' stands twice, in rows {first} and "
                f"{row.number}; give each once"
            )
