"""Finished parts on disk, so that an evaluation that was stopped goes on where it was."""

import hashlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

import xrj
from xrj.errors import DataError
from xrj.evaluate.generators import Judged
from xrj.evaluate.results import ResultTable
from xrj.files import read_json, sha256_json, write_json

PACKAGE = Path(xrj.__file__).parent
T = TypeVar("T")
Make = Callable[[], Sequence[ResultTable]]


@dataclass(frozen=True)
class Store:
    """Tables, and what critics found, by the hash of all that they depend on.

    Attributes:
        folder: Where they lie.
        console: Told what is done.
    """

    folder: Path
    console: Console

    def tables(self, key: str, inputs: Mapping[str, Any], make: Make) -> list[ResultTable]:
        """Return tables as they were stored, or make and store them.

        Args:
            key: Name of the file.
            inputs: What they depend on beside the code.
            make: Makes them.

        Raises:
            UserError: They cannot be made, or the folder not written.
        """

        def read(stored: Any) -> list[ResultTable]:
            return [ResultTable.from_dict(table) for table in stored]

        if (known := self._read(key, inputs, read)) is not None:
            self.console.print(f"{key}: already done", style="dim")
            return known
        self.console.print(f"{key} ...")
        tables = list(make())
        self._write(key, inputs, [table.to_dict() for table in tables])
        return tables

    def judged(self, key: str, inputs: Mapping[str, Any], make: Callable[[], Judged]) -> Judged:
        """Return what was found of a generator as it was stored, or find and store it.

        Args:
            key: Name of the file.
            inputs: What it depends on beside the code.
            make: Finds it.

        Raises:
            UserError: It cannot be found, or the folder not written.
        """
        if (known := self._read(key, inputs, Judged.from_dict)) is not None:
            return known
        found = make()
        self._write(key, inputs, found.to_dict())
        return found

    def _read(self, key: str, inputs: Mapping[str, Any], read: Callable[[Any], T]) -> T | None:
        path = self.folder / f"{key}.json"
        if not path.is_file():
            return None
        try:
            stored = read_json(path)
            return read(stored["value"]) if stored["inputs"] == _identity(inputs) else None
        except (DataError, KeyError, TypeError):
            return None  # half a file, or of an older form: it is made anew

    def _write(self, key: str, inputs: Mapping[str, Any], value: Any) -> None:
        write_json(self.folder / f"{key}.json", {"inputs": _identity(inputs), "value": value})


def _identity(inputs: Mapping[str, Any]) -> str:
    return sha256_json([code_hash(), inputs])


def code_hash() -> str:
    """Return the hash of the package's sources."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def code_version() -> str:
    """Return the commit of the checkout, "+" where it was changed; or the package's version."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != PACKAGE.parent.resolve():
            return f"xrj {xrj.__version__}"
        changed = git("status", "--porcelain", "--", "xrj", "conf")
        return f"commit {git('rev-parse', '--short=12', 'HEAD')}{'+' if changed else ''}"
    except (OSError, subprocess.CalledProcessError):
        return f"xrj {xrj.__version__}"
