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

        def write(tables: Sequence[ResultTable]) -> Any:
            return [table.to_dict() for table in tables]

        def told() -> list[ResultTable]:
            self.console.print(f"{key} ...")
            return list(make())

        tables, stored = self._get(key, inputs, told, read, write)
        if stored:
            self.console.print(f"{key}: already done", style="dim")
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
        found, _ = self._get(key, inputs, make, Judged.from_dict, Judged.to_dict)
        return found

    def _get(
        self,
        key: str,
        inputs: Mapping[str, Any],
        make: Callable[[], T],
        read: Callable[[Any], T],
        write: Callable[[T], Any],
    ) -> tuple[T, bool]:
        """Return a part, and whether it was stored."""
        path, identity = self.folder / f"{key}.json", sha256_json([code_hash(), inputs])
        if path.is_file():
            try:
                stored = read_json(path)
                if stored["inputs"] == identity:
                    return read(stored["value"]), True
            except (DataError, KeyError, TypeError):
                pass  # half a file, or of an older form: it is made anew
        made = make()
        write_json(path, {"inputs": identity, "value": write(made)})
        return made, False


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
