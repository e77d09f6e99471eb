"""What `import xrj` finds: a trained model by its name, its folder or its place on a hub."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from xrj.errors import ConfigError, HandoverError
from xrj.files import read_json
from xrj.finished import CONFIG, STARTER, find_packed, finished_names
from xrj.justify.facade import Model
from xrj.justify.model import STAGES, JustificationModel
from xrj.justify.output import SUMMARY_NAME
from xrj.justify.page import Calibration
from xrj.packed import CARD, WEIGHTS, read_packed
from xrj.settings import nearest

RUNS = Path("runs")
"""Where a training lies under its name, below the working folder."""
SELECTION = "ours_label"
"""The epoch of the inverse mapping that is used unless another is asked for."""
HUB = "hf://"
"""What precedes the names of repositories on the Hugging Face hub."""


def load(
    where: str | PathLike[str],
    *,
    selection: str | None = None,
    beams: int = 4,
    device: str = "auto",
) -> Model:
    """Load a trained model.

    Args:
        where: A run's name below `runs/`; the path of a run's folder, which holds a folder for
            each stage, or of one that `task=export` wrote; "starter", which comes with the package;
            or "hf://OWNER/NAME", which is fetched from the Hugging Face hub.
        selection: Epoch of the inverse mapping: "ours_label", the default, or "ours_caption". What
            was exported holds one of them.
        beams: Captions that the search for the most probable one follows; 1: greedily.
        device: "auto": the first GPU if there is one, otherwise the CPU; or a torch device.

    Raises:
        HandoverError: There is no such model, a stage of it has not finished, its files are broken,
            or its stages do not belong together.
        ConfigError: The device is not there, or what fetches from a hub is not installed.
    """
    device = usable(device)
    if (name := str(where)).startswith(HUB):
        return load_packed(_fetch(name.removeprefix(HUB)), selection, beams, device)
    run = _find_run(Path(where).expanduser())
    if run is not None:
        folders = {stage: run / stage for stage in (*STAGES, "classifier")}
        epoch = selection or SELECTION
        chain = JustificationModel.load(folders, _name_of(run), epoch, beams, device)
        return with_calibration(chain, run / "report")
    if (folder := find_packed(name, RUNS)) is not None:
        return load_packed(folder, selection, beams, device)
    names = finished_names(RUNS, STAGES[-1])
    there = f"there are: {', '.join(names)}" if names else "none has finished there"
    raise HandoverError(
        f"{where}: neither a model's folder nor the name of a run in {RUNS.absolute()}; "
        f"{nearest(str(where), [*names, STARTER])}{there}, and {STARTER} comes with xrj"
    )


def load_packed(folder: Path, selection: str | None, beams: int, device: str) -> Model:
    """Load a model that `task=export` wrote.

    Args:
        folder: Where it lies.
        selection: The epoch of the inverse mapping that it must hold; None for the one it does.
        beams: As of `load`.
        device: A torch device.

    Raises:
        HandoverError: It is not whole, or holds another epoch.
    """
    packed = read_packed(folder)
    config = packed.config
    held = config["selection"]
    if selection not in (None, held):
        raise HandoverError(
            f"{folder}: holds the epoch '{held}' of the inverse mapping, not '{selection}'; "
            "leave selection out"
        )
    chain = JustificationModel.of(
        packed.exports,
        config["name"],
        held,
        beams,
        device,
        training=config["trained_on"],
        learned_from=config["learned_from"],
        said=config["captions"],
    )
    measured = config["calibration"]
    return Model(chain, measured and Calibration(measured["error"], measured["n"]))


def _find_run(path: Path) -> Path | None:
    """Return the folder of a run, given it or the run's name; None where there is none."""
    for run in (path, RUNS / path):
        if any((run / stage).is_dir() for stage in STAGES):
            return run
    return None


def _name_of(run: Path) -> str:
    here, runs = run.resolve(), RUNS.resolve()
    return here.relative_to(runs).as_posix() if runs in here.parents else here.name


def _fetch(repository: str) -> Path:
    """Return the folder into which a hub's repository was fetched, or had been before.

    Raises:
        ConfigError: What fetches is not installed.
        HandoverError: There is no such repository, or the hub cannot be reached.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{HUB}{repository}: needs huggingface_hub; pip install 'xrj[hub]'"
        ) from error
    try:
        return Path(snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS, CARD]))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise HandoverError(
            f"{HUB}{repository}: cannot be fetched ({reason}); check the name and the connection"
        ) from error


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
