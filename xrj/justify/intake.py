"""The X-rays that a path names: found by what the files hold, and named for the outputs."""

import csv
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from glob import glob
from itertools import chain
from pathlib import Path

from xrj.datamodules.decoding import anonymous_name, image_format
from xrj.datamodules.images import DICOM_SUFFIXES, SUFFIXES
from xrj.errors import DataError
from xrj.files import atomic_path, sha256_file
from xrj.justify.output import INDEX_NAME, JSON_NAME, SUMMARY_NAME
from xrj.justify.wording import readable

NAMES_NAME = "names.csv"
HEADER = ["folder", "file"]
NO_XRAYS = frozenset({"dicomdir", "thumbs.db", ".ds_store", "desktop.ini"})
"""Names of files that discs and file managers keep beside pictures."""
DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
)
"""Names that no folder may have where results are copied to Windows."""
HEAD = 132
"""Bytes that tell a picture: up to the end of DICOM's prefix."""
UNSAFE = re.compile(r'[<>:"/\\|?*\ufffd]')
LONGEST = 200
"""Bytes of a folder's name; file systems take 255, of which a number needs some."""


class XRays:
    """The files that a path, a folder or a glob names, in order, each looked into when it is due.

    A folder is searched with all below it. Files of another kind are passed over, as are hidden
    folders and those that hold a justification.

    Attributes:
        single: Whether the path is a file.
        passed: Names of what was passed over so far.
    """

    def __init__(self, pattern: str) -> None:
        """Find the first file.

        Raises:
            DataError: There is none.
        """
        self.path = Path(pattern).expanduser()
        self.single = _is_file(self.path)
        self.passed: list[str] = []
        found = iter([self.path]) if self.single else filter(self._takes, self._named())
        first = next(found, None)
        if first is None:
            what = "no such file, folder or match"
            if self.passed or _is_folder(self.path):
                what = "no PNG, JPEG or DICOM file there"
            told = f" ({self.told()})" if self.passed else ""
            raise DataError(f"{self.path}: {what}{told}; choose another image=")
        self._found = chain([first], found)

    def __iter__(self) -> Iterator[Path]:
        """Go on through the files; once."""
        return self._found

    def told(self) -> str:
        """Say what was passed over; "" of nothing."""
        if not self.passed:
            return ""
        names = sorted(set(map(readable, self.passed)))
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")
        return f"{len(self.passed)} passed over, which hold no X-ray: {shown}"

    def _named(self) -> Iterator[Path]:
        """Yield what the path names, folders with all below them."""
        if _is_folder(self.path):
            yield from self._below(self.path)
            return
        told = set()
        # Path.glob refuses absolute patterns.
        for match in sorted(map(Path, glob(str(self.path), recursive=True))):  # noqa: PTH207
            if _is_file(match.parent / JSON_NAME):
                self.passed.append(f"{match.parent.name}/{match.name}")
                continue
            for path in self._below(match) if _is_folder(match) else [match]:
                if path not in told:
                    told.add(path)
                    yield path

    def _below(self, top: Path) -> Iterator[Path]:
        seen = set()

        def unreadable(error: OSError) -> None:
            self.passed.append(f"{Path(error.filename).name}/ ({error.strerror})")

        for root, folders, names in os.walk(top, onerror=unreadable, followlinks=True):
            here = Path(root).stat()
            if (here.st_dev, here.st_ino) in seen:  # links may run in circles
                folders.clear()
                continue
            seen.add((here.st_dev, here.st_ino))
            if JSON_NAME in names:
                self.passed.append(f"{Path(root).name}/")
                folders.clear()
                continue
            self.passed += [f"{name}/" for name in folders if name.startswith(".")]
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(root, name) for name in sorted(names))

    def _takes(self, path: Path) -> bool:
        taken = _is_file(path) and _may_be_xray(path)
        if not taken:
            self.passed.append(path.name)
        return taken


def shown_name(path: Path) -> str:
    """Return what outputs call an X-ray's file: its path, or, for DICOM, a name from its content.

    Names of DICOM files and of their folders often are names of patients.
    """
    by_suffix = path.suffix.lower() in DICOM_SUFFIXES
    try:
        if by_suffix or _format(path) == "DICOM":
            return f"xray-{sha256_file(path)[:12]}"  # `anonymous_name` of a file of any size
    except OSError:  # which reading it says, too
        if by_suffix:
            return anonymous_name(b"")
    return readable(str(path))


class FolderNames:
    """Gives each X-ray a folder of its own, which any file system and viewer takes.

    It is the file's stem without what hides it or means something elsewhere; numbered where another
    has it, in whatever case, or the outputs or Windows need it.
    """

    def __init__(self) -> None:
        self._taken = {INDEX_NAME, SUMMARY_NAME, NAMES_NAME, *DEVICES}
        self._numbers: dict[str, int] = {}

    def name(self, shown: str) -> str:
        """Return the next folder's name.

        Args:
            shown: Of the file, as `shown_name` gives it.
        """
        path = Path(shown)
        stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
        stem = UNSAFE.sub("_", stem).strip(" .").encode()[:LONGEST].decode(errors="ignore")
        stem = stem.rstrip(" .") or "xray"
        name, number = stem, self._numbers.get(_folded(stem), 1)
        while _folded(name) in self._taken:
            number += 1
            name = f"{stem}-{number}"
        self._numbers[_folded(stem)] = number
        self._taken.add(_folded(name))
        return name


def read_names(path: Path) -> dict[str, str]:
    """Return the file of each folder's X-ray out of a `names.csv`; nothing where there is none.

    Raises:
        DataError: It is another file.
    """
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        if header == HEADER:
            return dict(rows)
    except (OSError, ValueError, csv.Error):
        pass
    raise DataError(f"{path}: exists and says no names of X-rays; choose another out=")


def write_names(path: Path, names: dict[str, str]) -> None:
    """Write which file each folder is of, for nobody but the user to read."""
    with atomic_path(path) as temporary:
        temporary.touch(mode=0o600)
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            csv.writer(file).writerows([HEADER, *names.items()])


def _folded(name: str) -> str:
    """Return what is equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(_mode(path))


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    """Return a file's type bits; 0 where there is none, or it cannot be asked for."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # too long, a folder that may not be entered, a NUL byte
        return 0


def _format(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(HEAD)
    return image_format(head)


def _may_be_xray(path: Path) -> bool:
    """Return whether a file is a picture by its suffix or its content, and no companion of one."""
    name = path.name.casefold()
    if name.startswith("._") or name in NO_XRAYS:
        return False
    if path.suffix.lower() in SUFFIXES:
        return True  # what is wrong with it is said
    try:
        return _format(path) is not None
    except OSError:
        return True  # likewise
