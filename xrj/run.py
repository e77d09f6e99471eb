"""One training run: a stage under a name."""

import gc
import logging
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
import wandb
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
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
from xrj.callbacks.pictures import Pictures
from xrj.callbacks.progress import EpochLines
from xrj.checks import FREE, check, identity
from xrj.config import STAGES, plain
from xrj.datamodules.datamodule import IUXRayDataModule
from xrj.datamodules.records import Counts
from xrj.errors import ConfigError, HandoverError
from xrj.files import locked, read_json, remove_temporaries, sha256_json, write_json
from xrj.handover import Kept, StageExport, check_fit, load_export, write_export
from xrj.modules.base import StageModule
from xrj.seeding import derive

LAUNCHERS = ("SLURM_NTASKS", "LOCAL_RANK", "TORCHELASTIC_RUN_ID")
"""Environment variables of launchers that start the ranks themselves."""


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


def train(cfg: DictConfig) -> dict[str, float]:
    """Train one stage, or continue it, or find it done.

    Returns:
        The validation measures of the first kept epoch.

    Raises:
        UserError: The configuration, the data, the parents or the run folder do not allow it.
    """
    check(cfg)
    folder = Path(cfg.runs) / cfg.name / cfg.stage
    parents = {stage: load_export(Path(cfg.parents[stage]), stage) for stage in STAGES[cfg.stage]}
    if _rank() > 0:
        return _train_locked(cfg, folder, parents)
    with locked(folder / ".lock", wait=False) as obtained:
        if not obtained:
            raise ConfigError(
                f"{folder}: another process trains there; wait for it or choose another name="
            )
        remove_temporaries(folder)
        try:
            return _train_locked(cfg, folder, parents)
        finally:  # the next job of a multirun needs the memory
            gc.collect()
            torch.cuda.empty_cache()


def _train_locked(
    cfg: DictConfig, folder: Path, parents: Mapping[str, StageExport]
) -> dict[str, float]:
    lineage = {stage: export.hash for stage, export in parents.items()}
    settings = {**identity(cfg), **{f"parents.{stage}": value for stage, value in lineage.items()}}
    _check_settings(folder, settings)
    if (folder / "export" / "stage.json").exists():
        done = load_export(folder, cfg.stage)
        print(f"{cfg.stage}: done, {done.folder}")
        return _measures(done)

    torch.use_deterministic_algorithms(cfg.trainer.deterministic, warn_only=True)
    data = build_data(cfg)
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
    for loader in (data.train_dataloader, data.val_dataloader):
        loader()  # what is wrong with the data is said here, before other processes start
    torch.manual_seed(derive(cfg.seed, cfg.stage, "start"))
    module = build_module(cfg, data, parents)
    if cfg.trainer.compile:
        for net in module.children():
            net.compile()
    if cfg.trainer.channels_last:
        module.to(memory_format=torch.channels_last)
    trainer = _trainer(cfg, folder, module, data, lineage)
    begun = (folder / "run.json").exists()
    if _rank() == 0:
        write_json(folder / "counts.json", asdict(data.table.counts))
        data.table.split.write(folder / "split.json")
        run = {"version": __version__, "settings": settings, "data": made_of}
        write_json(folder / "run.json", run)
    _fit(trainer, folder / "last.ckpt", module, data, begun=begun)
    return _measures(load_export(folder, cfg.stage))


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
) -> pl.Trainer:
    """Return the trainer that the configuration describes.

    Raises:
        ConfigError: There is no such device, precision or callback.
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
    callbacks: list[pl.Callback] = [
        StatelessRandom(partial(derive, cfg.seed, cfg.stage, "batch")),
        Pictures(folder / "pictures", cfg.logger.pictures_every),
        RichProgressBar(leave=True) if interactive else EpochLines(cfg.stage),
        *(
            hydra.utils.instantiate(extra, _convert_="all")
            for extra in cfg.trainer.callbacks.values()
        ),
        StageCheckpoint(folder / "last.ckpt", export),
    ]
    on_gpu = torch.cuda.is_available() and cfg.trainer.accelerator != "cpu"
    try:
        return pl.Trainer(
            accelerator=cfg.trainer.accelerator,
            devices=plain(cfg.trainer.devices)
            if OmegaConf.is_config(cfg.trainer.devices)
            else cfg.trainer.devices,
            num_nodes=cfg.trainer.num_nodes,
            strategy=_strategy(cfg, module),
            precision=cfg.trainer.precision,
            sync_batchnorm=cfg.trainer.sync_batchnorm and on_gpu,  # torch has none for the CPU
            max_epochs=cfg[cfg.stage].max_epochs,
            callbacks=callbacks,
            logger=_loggers(cfg, folder),
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_progress_bar=interactive,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=10,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        given = ", ".join(
            f"{key}={cfg.trainer[key]}" for key in ("accelerator", "devices", "precision")
        )
        raise ConfigError(
            f"trainer ({given}): {str(error).strip()}; change one of these"
        ) from error


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
        SystemExit: SIGTERM stopped the training; Lightning's own exit would look like success.
    """
    resume = checkpoint.exists()
    if resume:
        check_checkpoint(checkpoint, module)
        if _rank() == 0:
            print(f"{checkpoint.parent.name}: continues from {checkpoint}")
    elif begun and _rank() == 0:
        print(f"{checkpoint.parent.name}: starts over, {checkpoint} is missing")
    status = 1
    try:
        trainer.fit(
            module, datamodule=data, ckpt_path=checkpoint if resume else None, weights_only=True
        )
        status = 0
    except SIGTERMException:
        print("stopped by SIGTERM; the same command continues", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    finally:
        wandb.finish(exit_code=status)


def _export(folder: Path, kept: Mapping[str, Kept], **description: Any) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write_export(folder, kept=kept, **description)


def _strategy(cfg: DictConfig, module: StageModule) -> str:
    """Choose how devices work together.

    Ranks are spawned from this process, which, unlike relaunching the script, works within a
    multirun; where a launcher has started them, each is one rank. Stages whose optimisers take
    turns leave parameters unused in each backward pass.
    """
    devices = cfg.trainer.devices
    many = cfg.trainer.num_nodes > 1 or devices not in (1, "1", [0])
    if devices in ("auto", -1, "-1"):
        many = cfg.trainer.num_nodes > 1 or torch.cuda.device_count() > 1
    if not many:
        return "auto"
    base = "ddp" if any(name in os.environ for name in LAUNCHERS) else "ddp_spawn"
    return f"{base}_find_unused_parameters_true" if module.adversarial else base


def _loggers(cfg: DictConfig, folder: Path) -> list[Logger]:
    loggers: list[Logger] = [CSVLogger(folder, name="logs")]
    if cfg.logger.wandb != "disabled":
        mode = os.environ.get("WANDB_MODE", cfg.logger.wandb)
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ["WANDB_DIR"] = str(folder)  # a spawned rank finds its media's place only here
        wandb.setup()  # silent from here on, not only once a run has begun
        whole = plain(cfg)
        loggers.append(
            WandbLogger(
                project=cfg.logger.project,
                name=f"{cfg.name}/{cfg.stage}",
                id=sha256_json([str(folder.resolve()), identity(cfg)])[:16],
                group=cfg.name,
                job_type=cfg.stage,
                save_dir=folder,
                mode=mode,
                resume="allow",
                config=whole,
            )
        )
    return loggers
