"""Mends what the process's environment lacks, before anything heavy is imported."""

import atexit
import getpass
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

_HOMES = {
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
}
"""Where libraries keep files, each by its variable and its place in the home folder."""


def mend_environment() -> None:
    """Set the variables that libraries read as they are imported, or write by.

    None of them may ask a server, look for a screen, or fail because the user has no name, no home
    or none that can be written. Processes that this one starts inherit it all.
    """
    # albumentations asks a server for its newest version at import unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    # Figures go to files; a notebook hands its own backend on to commands, which may lack it.
    if not {"matplotlib", "ipykernel"} & sys.modules.keys():
        os.environ["MPLBACKEND"] = "agg"
    try:
        getpass.getuser()  # torch names folders by it
    except (KeyError, OSError, ImportError):
        os.environ["LOGNAME"] = str(os.getuid())
    try:
        home = Path.home()
    except RuntimeError:
        home = _scratch()
        os.environ["HOME"] = str(home)
    for name, below in _HOMES.items():
        if not _writable(Path(os.environ.get(name) or home / below)):
            os.environ[name] = str(_scratch() / below)


def _writable(folder: Path) -> bool:
    """Return whether files can be made in a folder, or in the one that it would be made in."""
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@cache
def _scratch() -> Path:
    """Return a folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="xrj-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
