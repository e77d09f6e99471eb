"""One file to resume from, with the kept weights inside, and the export at the end.

Lightning's ModelCheckpoint keeps the best epoch in a file of its own beside the last one; a kill
between the two writes leaves them telling different stories. Here the kept weights are part of the
callback's state, so that one rename moves everything forward.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, Timer
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.plugins.io import TorchCheckpointIO

from xrj.errors import DataError
from xrj.files import atomic_path
from xrj.handover import Kept
from xrj.modules.base import StageModule


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints in one rename within their folder; Lightning would go through /tmp."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the checkpoint.

        Raises:
            DataError: The disk is full or the folder cannot be written.
        """
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:
                # torch hides what the system refused behind its own complaint of half an archive
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise


def check_checkpoint(path: Path, module: StageModule) -> int:
    """Check that a checkpoint is whole, a module's, and nothing but tensors and plain values.

    Returns:
        Its epoch.

    Raises:
        DataError: It does not; nothing in it has been executed.
    """
    try:
        state = torch.load(path, map_location="meta", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = (
            "it holds other objects than tensors"
            if isinstance(error, UnpicklingError)
            else "it is broken"
        )
        raise DataError(
            f"{path}: cannot be continued from, {reason}; remove it to start the stage over"
        ) from error
    if state["state_dict"].keys() != module.state_dict().keys():
        raise DataError(
            f"{path}: cannot be continued from, it was written by another version of xrj; "
            f"remove {path.parent} to start the stage over"
        )
    return int(state["epoch"])


class StageCheckpoint(Checkpoint):
    """Writes `last.ckpt` after each epoch, keeps the selected weights, exports them at the end.

    A training that another callback stops is not done: the checkpoint of its last whole epoch is
    there to continue from, with that callback's count begun anew. Lightning calls checkpoints last,
    once all callbacks have had their say.

    Args:
        path: The checkpoint.
        export: Called once on rank zero with the kept epochs by selection.
        early_stopping_ends: Whether the epoch that `EarlyStopping` stops at is the last.
    """

    def __init__(
        self,
        path: Path,
        export: Callable[[Mapping[str, Kept]], None],
        *,
        early_stopping_ends: bool = False,
    ) -> None:
        self.path = path
        self.export = export
        self.early_stopping_ends = early_stopping_ends
        self.kept: dict[str, dict[str, Any]] = {}
        self.epochs = 0
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        """Return the kept epochs, and whether `EarlyStopping` stopped at the last one."""
        return {"kept": self.kept, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the kept epochs from a checkpoint."""
        self.kept = state_dict["kept"]
        self.stopped = state_dict.get("stopped", False)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let what stopped the training count from zero: it would stop it again at once."""
        self.epochs = checkpoint["epoch"] + 1
        states = checkpoint["callbacks"]
        stopped = states.get(self.state_key, {}).get("stopped", False)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by its connector
            if isinstance(callback, Timer) or (stopped and isinstance(callback, EarlyStopping)):
                states.pop(callback.state_key, None)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Train no further where the checkpoint is that of the last epoch."""
        trainer.should_stop = trainer.should_stop or (self.stopped and self.early_stopping_ends)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the nets whose measure is the best so far."""
        stage = cast(StageModule, pl_module)
        if trainer.sanity_checking:
            return
        metrics = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        for name, selection in stage.selections.items():
            old = self.kept.get(name)
            if old is None or selection.better(metrics, old["metrics"]):
                self.kept[name] = {
                    "epoch": trainer.current_epoch + 1,
                    "monitor": selection.monitor,
                    "metrics": metrics,
                    "weights": {
                        f"{net}.{key}": tensor.detach().cpu().clone()
                        for net, module in stage.exports().items()
                        for key, tensor in module.state_dict().items()
                    },
                }

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the checkpoint of a whole epoch; rank zero does."""
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        self.epochs = trainer.current_epoch + 1
        self.stopped = any(
            callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED
            and callback.stopped_epoch == trainer.current_epoch
            for callback in trainer.early_stopping_callbacks
        )
        trainer.save_checkpoint(self.path, weights_only=False)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Export what was kept, on rank zero, or say that the training is not done."""
        done = self.epochs == trainer.max_epochs or (self.stopped and self.early_stopping_ends)
        if trainer.is_global_zero and done:
            self.export({name: Kept(**kept) for name, kept in self.kept.items()})
        elif trainer.is_global_zero:
            hint = "trainer.early_stopping_ends=true takes it as done, " if self.stopped else ""
            print(
                f"{self.path.parent.name}: stopped by a callback after {self.epochs} of "
                f"{trainer.max_epochs} whole epochs, not done; {hint}the same command continues"
            )
        trainer.strategy.barrier("export")


class StatelessRandom(pl.Callback):
    """Seeds each training batch from (seed, stage, epoch, batch, rank).

    Noise and dropout then depend on no hidden state, and a resumed run draws what the killed one
    would have drawn.
    """

    def __init__(self, seed_of: Callable[[int, int, int], int]) -> None:
        self.seed_of = seed_of

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed torch's generators of this process."""
        torch.manual_seed(self.seed_of(trainer.current_epoch, batch_idx, trainer.global_rank))
