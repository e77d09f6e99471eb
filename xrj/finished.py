"""Which stages have finished under which names, and where exported models lie, by files alone."""

import shlex
from pathlib import Path

from xrj.errors import HandoverError
from xrj.programs import program
from xrj.settings import nearest

CONFIG = "config.json"
"""What makes a folder an exported model, see `packed`."""
STARTER = "starter"
"""The model that comes with the package."""
MODELS = Path(__file__).parent / "resources"
"""Where it lies."""


def is_finished(run: Path) -> bool:
    """Return whether a run folder holds an export."""
    return (run / "export" / "stage.json").is_file()


def require_finished(run: Path, stage: str) -> None:
    """Check that a stage has finished in its run folder.

    Raises:
        HandoverError: It has not; the message names its command, and the runs beside it where there
            is none of that name.
    """
    if is_finished(run):
        return
    message = f"{run}: stage '{stage}' has not finished there; run {training(run, stage)} first"
    if not run.parent.is_dir() and (names := finished_names(run.parent.parent, stage)):
        message += f"; {nearest(run.parent.name, names)}there are: {', '.join(names)}"
    raise HandoverError(message)


def finished_names(runs: Path, stage: str) -> list[str]:
    """Return the names below `runs` under which a stage has finished, sorted."""
    found = [*runs.glob(f"*/{stage}"), *runs.glob(f"*/*/{stage}")]
    return sorted(run.parent.relative_to(runs).as_posix() for run in found if is_finished(run))


def training(run: Path, stage: str) -> str:
    """Return the command that trains a stage into its run folder."""
    runs, name = run.parent.parent, run.parent.name
    place = [] if runs == Path("runs") else [f"runs={runs}"]
    return f"{program('train')} {shlex.join([f'stage={stage}', f'name={name}', *place])}"


def is_packed(folder: Path) -> bool:
    """Return whether a folder looks like an exported model."""
    return (folder / CONFIG).is_file()


def shipped(name: str) -> Path | None:
    """Return the folder of a model that comes with the package; None where there is none."""
    return MODELS / name if name == STARTER and is_packed(MODELS / name) else None


def find_packed(name: str, runs: Path) -> Path | None:
    """Return the folder of an exported model, by its path or its name; None where there is none.

    A run of that name goes before the model that comes with the package.
    """
    for folder in (Path(name).expanduser(), runs / name):
        if is_packed(folder):
            return folder
    return None if (runs / name).is_dir() else shipped(name)
