"""Which arguments of Lightning's Trainer a training takes, and why it does not take the others.

All of them are here: a test walks the Trainer's signature.
"""

from collections.abc import Mapping
from typing import Any

SETTINGS = (
    *("accelerator", "devices", "num_nodes", "precision", "deterministic", "sync_batchnorm"),
    "callbacks",
)
"""Settings of this project that have the Trainer's names."""
TRIALS: Mapping[str, Any] = {
    "fast_dev_run": False,
    "limit_train_batches": None,
    "limit_val_batches": None,
    "overfit_batches": 0.0,
}
"""Arguments that make a training a trial, with the values at which it is none."""
PASSED = (
    *("benchmark", "detect_anomaly", "enable_model_summary", "enable_progress_bar"),
    *("log_every_n_steps", "max_time", "num_sanity_val_steps", "profiler"),
)
"""Arguments that change nothing of what is learnt."""
_EPOCHS = "a stage's schedule is in whole epochs, at each of which it is measured and can resume"
_OPTIMISERS = "several optimisers take turns in most stages"
REFUSED: Mapping[str, str] = {
    "strategy": "chosen by trainer.devices and trainer.num_nodes; set these",
    "logger": "set logger=wandb, tensorboard, csv or none, or logger.KEY",
    "max_epochs": "set that of the stage, such as gan1.max_epochs",
    "min_epochs": "set that of the stage, such as gan1.max_epochs; trainer.callbacks may stop it",
    "max_steps": f"{_EPOCHS}; set gan1.max_epochs or the like, or trainer.limit_train_batches",
    "min_steps": f"{_EPOCHS}; set gan1.max_epochs or the like",
    "val_check_interval": f"{_EPOCHS}; set gan1.max_epochs or the like",
    "check_val_every_n_epoch": f"{_EPOCHS}; set gan1.max_epochs or the like",
    "limit_test_batches": "trainings test nothing; infer.py task=report measures the test split",
    "limit_predict_batches": "trainings predict nothing; infer.py image=PATH does",
    "enable_checkpointing": "a stage writes last.ckpt and exports its best epochs itself; leave "
    "it out",
    "accumulate_grad_batches": f"{_OPTIMISERS}; set gan1.batch_size or the like",
    "gradient_clip_val": f"{_OPTIMISERS}; set arae.clip, no other stage clips",
    "gradient_clip_algorithm": f"{_OPTIMISERS}; set arae.clip, which clips norms",
    "inference_mode": "validation is in it wherever a stage's measures allow it; leave it out",
    "use_distributed_sampler": "the data module shares out the training split itself; leave it out",
    "plugins": "precision and checkpoints have their own; set trainer.precision",
    "reload_dataloaders_every_n_epochs": "items are drawn anew each epoch anyway; leave it out",
    "default_root_dir": "set runs and name",
    "enable_autolog_hparams": "run.json and the loggers hold the configuration; leave it out",
    "barebones": "set logger=none, or debug=one_batch for a trial",
    "model_registry": "set infer.py task=export, which writes what a registry wants",
}
"""Why a training does not take an argument, and what does the same."""


def is_trial(trainer: Mapping[str, Any]) -> bool:
    """Return whether a training is a trial, which leaves nothing for the next stage."""
    return any(trainer[key] != default for key, default in TRIALS.items())


def passed(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Trainer's arguments among the settings of the node `trainer`, as they are."""
    return {key: trainer[key] for key in (*TRIALS, *PASSED)}
