"""What `import xrj` finds: a trained model by its name or its folder."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from xrj.errors import ConfigError, HandoverError
from xrj.files import read_json
from xrj.finished import finished_names
from xrj.justify.facade import Model
from xrj.justify.model import STAGES, JustificationModel
from xrj.justify.output import SUMMARY_NAME
from xrj.justify.page import Calibration
from xrj.settings import nearest

RUNS = Path("runs")
"""Where a training lies under its name, below the working folder."""


def load(
    where: str | PathLike[str],
    *,
    selection: str = "ours_label",
    beams: int = 4,
    device: str = "auto",
) -> Model:
    """Load a trained model.

    Args:
        where: A run's name below `runs/`, or the path of a run's folder, which holds a folder for
            each stage.
        selection: Epoch of the inverse mapping: "ours_label" or "ours_caption".
        beams: Captions that the search for the most probable one follows; 1: greedily.
        device: "auto": the first GPU if there is one, otherwise the CPU; or a torch device.

    Raises:
        HandoverError: There is no such run, a stage of it has not finished, its files are broken,
            or its stages do not belong together.
        ConfigError: The device is not there.
    """
    run, name = _find(where)
    folders = {stage: run / stage for stage in (*STAGES, "classifier")}
    chain = JustificationModel.load(folders, name, selection, beams, usable(device))
    return with_calibration(chain, run / "report")


def _find(where: str | PathLike[str]) -> tuple[Path, str]:
    """Return a run's folder and its name.

    Raises:
        HandoverError: There is none.
    """
    path = Path(where).expanduser()
    for run in (path, RUNS / path):
        if any((run / stage).is_dir() for stage in STAGES):
            here, runs = run.resolve(), RUNS.resolve()
            name = here.relative_to(runs).as_posix() if runs in here.parents else here.name
            return run, name
    names = finished_names(RUNS, STAGES[-1])
    there = f"there are: {', '.join(names)}" if names else "none has finished there"
    raise HandoverError(
        f"{where}: neither a run's folder nor the name of a run in {RUNS.absolute()}; "
        f"{nearest(str(where), names)}{there}"
    )


def with_calibration(chain: JustificationModel, report: Path) -> Model:
    """Return a chain as a model, with the calibration that its report measured, where it did.

    Args:
        chain: It.
        report: Folder of `task=report`.
    """
    identity = {**chain.identity, "selection": chain.selection}
    return Model(chain, read_calibration(report / SUMMARY_NAME, identity))


def read_calibration(path: Path, identity: Mapping[str, Any]) -> Calibration | None:
    """Return the calibration that a report measured.

    Args:
        path: The report's summary; it need not exist.
        identity: Of the model that it must have been measured on: its stages, its split and the
            selected epoch.
    """
    if not path.is_file():
        return None
    summary = read_json(path)
    try:
        if any(summary["model"][key] != identity[key] for key in ("stages", "split", "selection")):
            return None
        figure = summary["measures"]["diagnosis"]["calibration_error"]
        return Calibration(float(figure["value"]), int(figure["n"]))
    except (KeyError, TypeError):
        return None


def usable(device: str) -> str:
    """Return a device that is there.

    Raises:
        ConfigError: It is not.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device={device}: not usable here ({reason}); choose cpu or auto"
        ) from error
    return device
