"""Image files that a table names: as written, or spelled in a way that can only mean them."""

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path, PureWindowsPath

from xrj.datamodules.archives import is_litter
from xrj.datamodules.text import folded, listed, short
from xrj.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg")


def inside(folder: Path, name: str, source: Path) -> Path:
    """Return `folder / name`; backslashes part folders where no file has them in its name.

    Args:
        folder: Where the path begins.
        name: The path as the user wrote it.
        source: The file that names the path, for the error.

    Raises:
        DataError: The path is empty, an address or none that a file can have, or it leads out of
            `folder`: by `..`, as an absolute path or through a link.
    """
    if not name.strip():
        raise DataError(f"{source}: the path of an image is empty; name its file")
    if "://" in name:
        raise DataError(
            f"{source}: '{short(name)}' is an address; fetch the image and give its path"
        )
    windows = PureWindowsPath(name)
    path = folder / name
    if "\\" in name and not os.path.lexists(path):
        path = folder / windows.as_posix()
    try:
        leads_in = path.resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError) as error:
        raise DataError(
            f"{source}: {short(name)!a} is no path of a file ({error}); mend it"
        ) from error
    if not leads_in or (windows.drive and windows.root):
        raise DataError(
            f"{source}: the path '{short(name)}' leads out of {folder}; move the image into it "
            "and give the path from there"
        )
    return path


class ImageFiles:
    """The image files below a folder, for a table that names them.

    Args:
        folder: Where the table's paths begin.
        source: The table, for messages.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self.source = source
        self._listings: dict[Path, dict[str, list[Path]]] = {}
        self._guesses: dict[str, Path] = {}

    def find(self, name: str) -> Path | None:
        """Return the file of an image, None where there is none.

        Backslashes, upper and lower case, accents as one character or two, and the suffixes of PNG
        and JPEG may differ where just one file is meant.

        Raises:
            DataError: See `inside`.
        """
        path = inside(self.folder, name, self.source)
        with suppress(OSError):  # such as a name that is too long for the file system
            if path.is_file():
                if path != self.folder / name:
                    self._guesses[name] = path
                return path
        parts = path.relative_to(self.folder).parts
        if not parts or ".." in parts:
            return None
        places, last = [self.folder], Path(parts[-1])
        for part in parts[:-1]:
            places = [found for place in places for found in self._like(place, part)]
        for suffix in (last.suffix, *PICTURES):
            files = [found for place in places for found in self._like(place, last.stem + suffix)]
            files = [file for file in files if file.is_file()]
            if len(files) == 1:
                self._guesses[name] = files[0]
                return inside(self.folder, str(files[0].relative_to(self.folder)), self.source)
        return None

    @property
    def notes(self) -> list[str]:
        """A line on the files that were found under another spelling, if there are any."""
        if not self._guesses:
            return []
        name, file = next(iter(self._guesses.items()))
        return [
            f"{self.source}: {len(self._guesses):,} image files are spelled otherwise on disk, "
            f"such as '{file.relative_to(self.folder)}' for '{short(name)}'"
        ]

    def beside(self, path: Path) -> str:
        """Return what the folder of a missing file holds, by suffix."""
        if not path.parent.is_dir():
            return f"there is no folder {path.parent}"
        held = Counter(
            file.suffix or "no suffix"
            for files in self._list(path.parent).values()
            for file in files
        )
        return f"its folder holds {listed(held)}" if held else "its folder is empty"

    def _like(self, folder: Path, name: str) -> list[Path]:
        return self._list(folder).get(folded(name), [])

    def _list(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._listings:
            names: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if not is_litter(path.name):
                    names.setdefault(folded(path.name), []).append(path)
            self._listings[folder] = names
        return self._listings[folder]
