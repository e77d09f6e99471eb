"""Where a training's measures go: a CSV always, and Weights & Biases."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import wandb
from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from wandb.sdk.lib import wbauth

from xrj.checks import identity
from xrj.config import plain
from xrj.errors import ConfigError
from xrj.files import sha256_json
from xrj.offline import log_again

_ALIASES = {"dryrun": "offline", "run": "online"}
_MODES = ("offline", "online", "disabled")
_EARLIER = ".earlier-"


def wandb_mode(cfg: DictConfig) -> str:
    """Return W&B's mode: `disabled` as a setting, else WANDB_MODE, else the setting.

    Raises:
        ConfigError: WANDB_MODE names no mode.
    """
    given = os.environ.get("WANDB_MODE", "").strip().lower()
    if cfg.logger.wandb == "disabled" or not given:
        return str(cfg.logger.wandb)
    mode = _ALIASES.get(given, given)
    if mode not in _MODES:
        raise ConfigError(f"WANDB_MODE={given}: choose {', '.join(_MODES)}, or unset it")
    return mode


def check_loggers(cfg: DictConfig) -> None:
    """Check what loggers need, such as what W&B will ask for, before anything is read or written.

    Empty variables of W&B count as unset, and its own reading of them is silenced.

    Raises:
        ConfigError: W&B refuses its settings, or it is online and has no key.
    """
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        if not os.environ[name].strip():
            del os.environ[name]
    if cfg.logger.tensorboard and find_spec("tensorboard") is None:
        raise ConfigError(
            "logger.tensorboard=true: TensorBoard is not installed; "
            "pip install 'xrj[tensorboard]', or leave it out"
        )
    mode = wandb_mode(cfg)
    if mode == "disabled":
        return
    os.environ["WANDB_MODE"] = mode
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        wandb.Settings(project=cfg.logger.project)
    except (wandb.Error, ValueError) as error:
        raise ConfigError(
            f"logger.project={cfg.logger.project}: refused by W&B ({_reason(error)}); choose "
            "another, or logger.wandb=disabled"
        ) from error
    try:
        host = wandb.setup().settings.base_url  # silent from here on, not only in a run
        key = mode == "offline" or wbauth.authenticate_session(
            host=host, source="train.py", prompt=False, update_session=False
        )
    except (wandb.Error, ValueError) as error:
        raise ConfigError(
            f"W&B refuses its settings ({_reason(error)}); mend the variable WANDB_* or the "
            "configuration, or set logger.wandb=disabled"
        ) from error
    if not key:
        raise ConfigError(
            f"logger.wandb=online: there is no key for {host}; run wandb login, set "
            "WANDB_API_KEY, or set logger.wandb=offline"
        )


def _reason(error: Exception) -> str:
    text, _, _ = str(error).partition("For further information")
    return " ".join(text.split())


def loggers(cfg: DictConfig, folder: Path) -> list[Logger]:
    """Return the loggers of a training in `folder`."""
    found: list[Logger] = [CSVLogger(folder, name="logs")] if cfg.logger.csv else []
    if cfg.logger.tensorboard:
        found.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    if (mode := wandb_mode(cfg)) != "disabled":
        found.append(
            WandbLogger(
                project=cfg.logger.project,
                name=f"{cfg.name}/{cfg.stage}",
                id=sha256_json([str(folder.resolve()), identity(cfg)])[:16],
                group=cfg.name,
                job_type=cfg.stage,
                save_dir=folder,
                mode=mode,
                resume="allow",
                config=plain(cfg),
            )
        )
    return found


@contextmanager
def wandb_run(found: Sequence[Logger], folder: Path, epoch: int) -> Iterator[None]:
    """Begin a training's W&B run, if it has one, and finish it.

    Args:
        found: The training's loggers.
        folder: The training's folder, in which lies all that W&B writes.
        epoch: The epoch after which the training continues, -1 at its start. What an offline run
            has logged before becomes part of this one.

    Raises:
        ConfigError: W&B cannot begin.
    """
    status, earlier = 1, []
    with _in(folder):
        try:
            if (run := _begin(found)) is not None and run.offline:
                own = Path(run.dir).parent
                parts = {*folder.glob("wandb/offline-run-*"), *folder.glob(f"wandb/{_EARLIER}*")}
                earlier = [_hide(part) for part in parts if not part.samefile(own)]
                log_again(run, earlier, epoch)
            yield
            status = 0
        finally:
            wandb.finish(exit_code=status)
            for part in earlier:
                shutil.rmtree(part, ignore_errors=True)


def _begin(found: Sequence[Logger]) -> wandb.Run | None:
    """Begin the W&B run of rank zero, and return it."""
    for logger in found:
        if isinstance(logger, WandbLogger):
            try:
                run = logger.experiment
            except (wandb.Error, ValueError, OSError) as error:
                raise ConfigError(
                    f"W&B cannot begin ({_reason(error)}); set logger.wandb=offline or disabled"
                ) from error
            return run if isinstance(run, wandb.Run) else None
    return None


def _hide(part: Path) -> Path:
    """Rename a part that is being logged again, so that it is not uploaded beside the whole."""
    return part.rename(part.with_name(_EARLIER + part.name.removeprefix(_EARLIER)))


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    """Let all that W&B writes lie in a folder, that of spawned ranks, too, and not in the home."""
    own = {
        "WANDB_DIR": folder,
        "WANDB_DATA_DIR": folder / "wandb" / "data",
        "WANDB_CACHE_DIR": folder / "wandb" / "cache",
    }
    before = {name: os.environ.pop(name, None) for name in own}
    os.environ.update({name: str(path) for name, path in own.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
