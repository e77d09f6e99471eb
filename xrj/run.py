"""One training run: a stage under a name."""

import gc
import logging
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from omegaconf import DictConfig
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.profilers import (
    AdvancedProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import (  # type: ignore[attr-defined]  # re-exported
    MisconfigurationException,
    SIGTERMException,
)
from rich.console import Console

from xrj import __version__
from xrj.build import build_data, build_module, net_specs
from xrj.callbacks.checkpoint import (
    AtomicCheckpointIO,
    StageCheckpoint,
    StatelessRandom,
    check_checkpoint,
)
from xrj.callbacks.failures import explained
from xrj.callbacks.finite import StopUnlessFinite
from xrj.callbacks.further import build_further
from xrj.callbacks.pictures import Pictures
from xrj.callbacks.progress import EpochLines
from xrj.checks import FREE, check, identity
from xrj.compute import AUTO, Device, choose_precision, lay_out, precision_of_training, prepare
from xrj.config import STAGES, plain
from xrj.datamodules.datamodule import IUXRayDataModule
from xrj.datamodules.datasets import ImageDataset
from xrj.datamodules.records import Counts
from xrj.errors import ConfigError, HandoverError, UserError
from xrj.files import locked, read_json, remove_temporaries, write_json
from xrj.finished import is_finished
from xrj.flags import TRIALS, is_trial, passed
from xrj.handover import Kept, StageExport, check_fit, load_export, write_export
from xrj.launch import check_processes, count_devices, devices, launched
from xrj.loggers import check_loggers, loggers, wandb_run
from xrj.modules.base import StageModule
from xrj.seeding import derive

# Lightning names devices and advertises packages. Set at import, as the filters below: spawned
# ranks import this module, too.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
for message in (
    # The data are a memory map: worker processes would only add overhead.
    ".*does not have many workers",
    # Small data: fewer batches an epoch than steps between two rows of the log.
    "The number of training batches",
    # Nets of earlier stages are frozen in evaluation mode on purpose.
    r"Found \d+ module\(s\) in eval mode",
    # Every rank validates on the whole split, so there is nothing to reduce.
    r"It is recommended to use `self\.log\(.*sync_dist=True",
    # Lightning 2.6 asks torch in a way that torch 2.13 calls old.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
):
    warnings.filterwarnings("ignore", message)


TRIAL = "debug"
"""Folder below a run's name that trials write into."""
PROFILERS: Mapping[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}
"""What times a training's parts, by the setting's name."""


def train(cfg: DictConfig) -> dict[str, float]:
    """Train one stage, or continue it, or find it done.

    Returns:
        The validation measures of the first kept epoch.

    Raises:
        UserError: The configuration, the data, the parents or the run folder do not allow it.
    """
    check(cfg)
    launch = launched()
    rank_zero_only.rank = launch.rank  # type: ignore[attr-defined]  # set on the function
    check_processes(launch, cfg.trainer)
    check_loggers(cfg)
    folder = Path(cfg.runs) / cfg.name / cfg.stage
    parents = {stage: load_export(Path(cfg.parents[stage]), stage) for stage in STAGES[cfg.stage]}
    if is_trial(cfg.trainer):
        folder = Path(cfg.runs) / cfg.name / TRIAL / cfg.stage
        if _rank() == 0:
            shutil.rmtree(folder, ignore_errors=True)
    if (done := _finished(cfg, folder, parents)) is not None:
        return done
    if _rank() > 0:
        return _train_claimed(cfg, folder, parents)
    with _claimed(folder):
        try:
            return _train_claimed(cfg, folder, parents)
        finally:  # the next job of a multirun needs the memory
            gc.collect()
            torch.cuda.empty_cache()


def headline(cfg: DictConfig) -> float | None:
    """Return the measure by which a finished stage's epoch was chosen; None where there is none.

    It is what a sweeper optimises.
    """
    folder = Path(cfg.runs) / cfg.name / cfg.stage
    if is_trial(cfg.trainer) or not is_finished(folder):
        return None
    first = next(iter(load_export(folder, cfg.stage).info["selections"].values()))
    measure: float | None = first["metrics"].get(first["monitor"])
    return measure


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a run's folder alone; a start that fails takes with it what it has made.

    Raises:
        ConfigError: Another process holds it.
        DataError: It cannot be written.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    with locked(folder / ".lock", wait=False) as obtained:
        if not obtained:
            raise ConfigError(
                f"{folder}: another process trains there; wait for it or choose another name="
            )
        remove_temporaries(folder)
        try:
            yield
        except BaseException as error:
            begun = (folder / "run.json").exists() and not isinstance(error, UserError)
            if folder in new and not begun and not (folder / "last.ckpt").exists():
                shutil.rmtree(folder, ignore_errors=True)
                with suppress(OSError):  # other stages may have come
                    for path in new[1:]:
                        path.rmdir()
            raise


def _finished(
    cfg: DictConfig, folder: Path, parents: Mapping[str, StageExport]
) -> dict[str, float] | None:
    """Return the measures of a run that is done, None for one that is not.

    Raises:
        ConfigError: The folder holds a run with other settings.
    """
    _check_settings(folder, _settings(cfg, parents))
    if not (folder / "export" / "stage.json").exists():
        return None
    done = load_export(folder, cfg.stage)
    if _rank() == 0:
        print(f"{cfg.stage}: done, {done.folder}")
    return _measures(done)


def _settings(cfg: DictConfig, parents: Mapping[str, StageExport]) -> dict[str, Any]:
    """Return what `run.json` records of a run: its identity and its parents."""
    return {
        **identity(cfg),
        **{f"parents.{stage}": export.hash for stage, export in parents.items()},
    }


def _train_claimed(
    cfg: DictConfig, folder: Path, parents: Mapping[str, StageExport]
) -> dict[str, float]:
    if (done := _finished(cfg, folder, parents)) is not None:  # by another process, just now
        return done
    lineage = {stage: export.hash for stage, export in parents.items()}
    device = Device.of(cfg.trainer.accelerator)
    prepare(device, deterministic=cfg.trainer.deterministic)
    precision = choose_precision(cfg.trainer.precision, device)
    data = build_data(cfg)
    data.held = bool(cfg.trainer.overfit_batches)
    data.prepare_data()
    data.setup("fit")
    if not parents and _rank() == 0:
        _print_counts(data.table.counts, folder.parent)
    for export in parents.values():
        check_fit(
            export,
            dims=plain(cfg.dims),
            vocabulary=data.vocabulary,
            split_hash=data.split_hash,
            parents=lineage,
        )
    _check_siblings(cfg, folder.parent, data)
    made_of = {"split": data.split_hash, "vocabulary": data.vocabulary.hash}
    _check_data(folder, made_of)
    # What is wrong with the data is said here, before other processes start.
    _, validation = data.train_dataloader(), data.val_dataloader()
    torch.manual_seed(derive(cfg.seed, cfg.stage, "start"))
    module = build_module(cfg, data, parents)
    module.absent = _absent(validation.dataset, data.label_names)
    if (unmeasured := sorted(module.unmeasured())) and _rank() == 0:
        print(
            f"{cfg.stage}: not measured: {', '.join(unmeasured)}"
            f"{module.reason(unmeasured[0])}; add data or change data.split"
        )
    further = build_further(plain(cfg.trainer.callbacks), cfg.stage, module)
    if cfg.trainer.compile:
        for net in module.children():
            net.compile()
    lay_out(module)
    trainer = _trainer(cfg, folder, module, data, lineage, list(further.values()), device)
    begun = (folder / "run.json").exists()
    if _rank() == 0:
        write_json(folder / "counts.json", asdict(data.table.counts))
        data.table.split.write(folder / "split.json")
        run = {
            "version": __version__,
            "typed": list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else [],
            "settings": _settings(cfg, parents),
            "data": made_of,
            "computes": {"device": device.kind, "precision": precision},
        }
        write_json(folder / "run.json", run)
        if cfg.trainer.precision == AUTO:
            print(f"{cfg.stage}: trainer.precision=auto computes in {precision}, {device}")
    try:
        _fit(trainer, folder / "last.ckpt", module, data, begun=begun)
    except UserError:
        raise
    except Exception as error:
        raise explained(error, further, cfg.data.num_workers) from error
    if is_trial(cfg.trainer):
        if _rank() == 0:
            print(f"{cfg.stage}: a trial, in {folder}; nothing is kept for the next stage")
        found = trainer.callback_metrics.items()
        return {name: float(value) for name, value in found if name.startswith("val/")}
    if not (folder / "export" / "stage.json").exists():  # a callback has stopped it
        return {}
    return _measures(load_export(folder, cfg.stage))


def _absent(validation: Any, labels: Sequence[str]) -> list[str]:
    """Return the labels that no X-ray of a validation set has; none where it is of captions."""
    if not isinstance(validation, ImageDataset):
        return []
    return [name for index, name in enumerate(labels) if index not in validation.labels]


def _check_siblings(cfg: DictConfig, chain: Path, data: IUXRayDataModule) -> None:
    """Check that what has finished under the name, which is evaluated together, is of these data.

    Raises:
        HandoverError: It is of another split or vocabulary.
    """
    if cfg.stage == "segmenter":
        return  # learns from data of its own and takes no part in a chain
    for stage in STAGES:
        if stage == "segmenter" or not (chain / stage / "export" / "stage.json").is_file():
            continue
        info = load_export(chain / stage, stage).info
        if (info["split"], info["vocabulary"]["hash"]) != (data.split_hash, data.vocabulary.hash):
            raise HandoverError(
                f"{chain}: holds '{stage}' of another split or vocabulary, and stages under one "
                f"name are evaluated together; give '{cfg.stage}' the data settings that "
                f"'{stage}' had, or another name="
            )


def _print_counts(counts: Counts, chain: Path) -> None:
    """Print what each filter leaves, unless a stage of the chain was trained on the same."""
    told = (Counts(**read_json(path)).table() for path in chain.glob("*/counts.json"))
    if (table := counts.table()) not in told:
        print(table)


def _measures(export: StageExport) -> dict[str, float]:
    first = next(iter(export.info["selections"].values()))
    return dict(first["metrics"])


def _rank() -> int:
    """Return this process' place among those that a launcher has started, 0 where none has."""
    return int(rank_zero_only.rank)  # type: ignore[attr-defined]  # set on the function


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Check that the run folder is new or was started with these settings.

    Raises:
        ConfigError: It was started with others.
    """
    path = folder / "run.json"
    if not path.exists():
        return
    recorded = read_json(path)["settings"]
    old = {key: value for key, value in recorded.items() if key not in FREE}
    changed = sorted(key for key in {*old, *settings} if old.get(key) != settings.get(key))
    if changed:
        key = changed[0]
        more = f" and {len(changed) - 1} more settings" if changed[1:] else ""
        raise ConfigError(
            f"{folder}: was started with {key}={old.get(key)}, now {key}={settings.get(key)}"
            f"{more}; choose another name=, or remove the folder to start over"
        )


def _check_data(folder: Path, made_of: Mapping[str, str]) -> None:
    """Check that a run continues on the data that it was started on, wherever they lie now.

    Raises:
        ConfigError: It was started on others.
    """
    path = folder / "run.json"
    old = read_json(path).get("data", made_of) if path.exists() else made_of
    if changed := [key for key, value in made_of.items() if old.get(key) != value]:
        raise ConfigError(
            f"{folder}: was started on data with another {changed[0]}; give the same data, choose "
            "another name=, or remove the folder to start over"
        )


def _trainer(
    cfg: DictConfig,
    folder: Path,
    module: StageModule,
    data: IUXRayDataModule,
    lineage: Mapping[str, str],
    further: Sequence[pl.Callback],
    device: Device,
) -> pl.Trainer:
    """Return the trainer that the configuration describes.

    Raises:
        ConfigError: There is no such device.
    """
    export = partial(
        _export,
        folder / "export",
        stage=cfg.stage,
        nets=net_specs(module),
        dims=plain(cfg.dims),
        vocabulary=data.vocabulary,
        split_hash=data.split_hash,
        parents=lineage,
        data=plain(cfg.data),
    )
    interactive = Console().is_terminal
    precision = choose_precision(cfg.trainer.precision, device)
    callbacks: list[pl.Callback] = [
        StatelessRandom(partial(derive, cfg.seed, cfg.stage, "batch")),
        Pictures(folder / "pictures", cfg.logger.pictures_every),
        RichProgressBar(leave=True)
        if interactive and cfg.trainer.enable_progress_bar is not False
        else EpochLines(cfg.stage, partial(data.table.lacking, "val")),
        StopUnlessFinite(cfg.stage, _remedy(cfg, folder, precision)),
        *further,
    ]
    trial, flags = is_trial(cfg.trainer), passed(plain(cfg.trainer))
    if not trial:
        ends = cfg.trainer.early_stopping_ends
        callbacks.append(StageCheckpoint(folder / "last.ckpt", export, early_stopping_ends=ends))
    # Lightning's own way would put its sampler in the place of ours.
    if batches := flags.pop("overfit_batches"):
        flags["limit_train_batches"] = batches
    if flags["enable_progress_bar"] is None:
        flags["enable_progress_bar"] = interactive
    if flags["profiler"] is not None:
        flags["profiler"] = PROFILERS[flags["profiler"]](dirpath=folder, filename="profile")
    on_gpu = torch.cuda.is_available() and cfg.trainer.accelerator != "cpu"
    environment = TorchElasticEnvironment() if launched().processes > 1 else LightningEnvironment()
    try:
        return pl.Trainer(
            accelerator=cfg.trainer.accelerator,
            devices=devices(cfg.trainer),
            num_nodes=cfg.trainer.num_nodes,
            strategy=_strategy(count_devices(cfg.trainer) * cfg.trainer.num_nodes, module),
            sync_batchnorm=cfg.trainer.sync_batchnorm and on_gpu,  # torch has none for the CPU
            max_epochs=cfg[cfg.stage].max_epochs,
            callbacks=callbacks,
            logger=loggers(cfg, folder),
            plugins=[AtomicCheckpointIO(), environment, precision_of_training(precision, device)],
            default_root_dir=folder,
            enable_checkpointing=not trial,
            use_distributed_sampler=False,
            **flags,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        changed = [key for key in (*TRIALS, "max_time") if cfg.trainer[key] != TRIALS.get(key)]
        given = ", ".join(
            f"{key}={cfg.trainer[key]}" for key in ("accelerator", "devices", "precision", *changed)
        )
        raise ConfigError(
            f"trainer ({given}): {str(error).strip()}; change one of these"
        ) from error


def _remedy(cfg: DictConfig, folder: Path, precision: str) -> str:
    """Return what to change where losses are not finite."""
    rates = (key for key in cfg[cfg.stage] if str(key).endswith("rate"))
    lower = ", ".join(f"{cfg.stage}.{key}={cfg[cfg.stage][key]}" for key in rates)
    precise = "" if precision == "32-true" else ", or set trainer.precision=32-true"
    return f"lower {lower}{precise} and choose another name= or remove {folder}"


def _fit(
    trainer: pl.Trainer,
    checkpoint: Path,
    module: StageModule,
    data: IUXRayDataModule,
    *,
    begun: bool,
) -> None:
    """Train from the start or from the checkpoint, which a run that has `begun` should have.

    Raises:
        DataError: The checkpoint cannot be continued from.
        KeyboardInterrupt: Ctrl-C stopped the training, which Lightning turns into an exit.
        SystemExit: SIGTERM stopped the training; Lightning's own exit would look like success.
    """
    resume, epoch = checkpoint.exists(), -1
    if resume:
        epoch = check_checkpoint(checkpoint, module)
        if _rank() == 0:
            print(f"{checkpoint.parent.name}: continues from {checkpoint}")
    elif begun and _rank() == 0:
        print(f"{checkpoint.parent.name}: starts over, {checkpoint} is missing")
    try:
        with wandb_run(trainer.loggers, checkpoint.parent, epoch):
            trainer.fit(
                module, datamodule=data, ckpt_path=checkpoint if resume else None, weights_only=True
            )
    except SIGTERMException:
        print("stopped by SIGTERM; the same command continues", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        if launcher := trainer.strategy.launcher:
            launcher.kill(signal.SIGKILL)  # spawned ranks; checkpoints survive it
        raise KeyboardInterrupt from None


def _export(folder: Path, kept: Mapping[str, Kept], **description: Any) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write_export(folder, kept=kept, **description)


def _strategy(count: int, module: StageModule) -> str:
    """Choose how `count` devices work together.

    Ranks are spawned from this process, which, unlike relaunching the script, works within a
    multirun; where a launcher has started them, each is one rank. Stages whose optimisers take
    turns leave parameters unused in each backward pass.
    """
    if count == 1:
        return "auto"
    base = "ddp" if launched().processes > 1 else "ddp_spawn"
    return f"{base}_find_unused_parameters_true" if module.adversarial else base
