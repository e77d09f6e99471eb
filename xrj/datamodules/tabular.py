"""Reading CSV files and paths that a user wrote."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from xrj.errors import DataError


def read_csv(
    path: Path, columns: Sequence[str], *, unique: str = "", optional: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Read rows as text, trimmed; optional columns that are absent are empty.

    Raises:
        DataError: The file is missing, no CSV, lacks a column, or repeats a value of `unique`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        given = tuple(reader.fieldnames or ())
        if missing := [column for column in columns if column not in given]:
            raise DataError(
                f"{path}: column '{missing[0]}' is missing; it needs {', '.join(columns)}"
            )
        wanted = (*columns, *optional)
        rows = [{name: (row.get(name) or "").strip() for name in wanted} for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}: not a valid CSV file ({error}); check its quotes") from error
    seen: set[str] = set()
    for row in rows if unique else ():
        if row[unique] in seen:
            raise DataError(f"{path}: {unique} '{row[unique]}' stands twice; give each once")
        seen.add(row[unique])
    return rows


def inside(folder: Path, name: str, source: Path) -> Path:
    """Return `folder / name`.

    Raises:
        DataError: The path leads out of `folder`, by `..`, as an absolute path or through a link.
    """
    path = folder / name
    if not name or not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{source}: the path '{name}' leads out of {folder}; move the image into it"
        )
    return path
