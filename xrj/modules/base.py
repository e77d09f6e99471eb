"""What every stage's LightningModule shares."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import AveragedModel

from xrj.datamodules.vocabulary import Vocabulary
from xrj.measures.diagnosis import diagnosis_report

Batch = Mapping[str, Tensor]

DIAGNOSIS = ("accuracy", "balanced_accuracy", "auroc")
"""Measures of a diagnosis that validation logs."""


@dataclass(frozen=True)
class Selection:
    """Which epoch's nets a stage keeps: the one with the best `monitor`, of equals the latest.

    Without `monitor` it is the last epoch.
    """

    monitor: str | None
    mode: Literal["min", "max"] = "max"

    def better(self, new: Mapping[str, float], old: Mapping[str, float]) -> bool:
        """Return whether an epoch of measures `new` is to be kept rather than an earlier one.

        Anything is better than not-a-number, which stands for what could not be measured, too.
        """
        if self.monitor is None:
            return True
        value, best = new.get(self.monitor, math.nan), old.get(self.monitor, math.nan)
        if math.isnan(best):
            return True
        return value <= best if self.mode == "min" else value >= best


class StageModule(pl.LightningModule):
    """A stage: nets that learn, nets that stay frozen, and what is kept at the end.

    Attributes:
        selections: Name of each kept set of weights and how its epoch is chosen.
        frozen: Names of the attributes that hold nets of earlier stages.
        headline: The measure that the progress bar shows.
        adversarial: Whether some steps leave parameters unused, as where several optimisers take
            turns, so that DDP must look for them.
        absent: Labels that no X-ray of the validation split has.
    """

    selections: dict[str, Selection]
    frozen: ClassVar[tuple[str, ...]] = ()
    headline: str
    adversarial: bool = False
    absent: Sequence[str] = ()

    def measures(self) -> set[str]:
        """Return the names of all that is logged once an epoch."""
        raise NotImplementedError

    def unmeasured(self) -> set[str]:
        """Return the measures that are undefined where labels are absent from validation."""
        undefined = {"val/balanced_accuracy", "val/auroc", "val/auprc"}
        return self.measures() & undefined if self.absent else set()

    def measured(self) -> set[str]:
        """Return the measures that can be watched."""
        return self.measures() - self.unmeasured()

    def reason(self, measure: str) -> str:
        """Return why a measure is not logged, in brackets, where its labels are why."""
        if measure not in self.unmeasured():
            return ""
        return f" (validation has no X-ray of {', '.join(self.absent)})"

    def exports(self) -> dict[str, nn.Module]:
        """Return the nets that the next stages need, averaged where averages are kept."""
        raise NotImplementedError

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Return rows of images (B, C, H, W) in [-1, 1] for a validation batch."""
        return {}

    def captions(self, batch: Batch) -> list[dict[str, str]]:
        """Return rows of decoded captions for a validation batch."""
        return []

    def freeze_parents(self) -> None:
        """Take gradients off the frozen nets."""
        for net in self._frozen_nets():
            net.requires_grad_(False).eval()

    def _frozen_nets(self) -> list[nn.Module]:
        return [net for name in self.frozen if (net := getattr(self, name)) is not None]

    def train(self, mode: bool = True) -> "StageModule":
        """Switch to training, but leave the frozen nets in evaluation mode."""
        super().train(mode)
        for net in self._frozen_nets():
            net.eval()
        return self

    def on_validation_start(self) -> None:
        """Take over rank zero's buffers: every rank then measures, and ends with, the same nets."""
        if torch.distributed.is_initialized():
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, 0)

    def optimizer_list(self) -> list[Optimizer]:
        """Return the trainer's optimisers as a list, one or many."""
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]  # type: ignore[return-value,list-item]  # Lightning wraps them

    def descend(
        self, optimizer: Any, loss: Tensor, clip: float | None = None, *, shared: bool = False
    ) -> None:
        """Take one manual step of `optimizer` down `loss`.

        `shared` says that a later step goes back through some of what `loss` was computed by. Where
        the loss is scaled for half precision, so is the bound `clip`: gradients are brought back to
        their size only when the step is taken.
        """
        optimizer.zero_grad()
        self.manual_backward(loss, retain_graph=shared)
        if clip is not None:
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            bound = clip * (scaler.get_scale() if scaler else 1.0)
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            nn.utils.clip_grad_norm_(weights, bound)
        optimizer.step()


def diagnosis_measures(
    probabilities: NDArray[np.floating], targets: NDArray[np.integer], names: Sequence[str]
) -> dict[str, float]:
    """Return measures of a diagnosis as they are logged, without those that are undefined.

    Args:
        probabilities: Of each label, (N, L).
        targets: True labels, (N,).
        names: Attributes of `DiagnosisScores`.

    Returns:
        "val/NAME": value; all not-a-number where a probability is not finite.
    """
    if not np.isfinite(probabilities).all():
        return {f"val/{name}": math.nan for name in names}
    scores = diagnosis_report(probabilities, targets)
    values = {f"val/{name}": float(getattr(scores, name)) for name in names}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def adam(parameters: Iterable[nn.Parameter], rate: float) -> Adam:
    """Return Adam with the paper's betas, 0.5 and 0.999."""
    parameters = list(parameters)
    on_cpu = parameters[0].device.type == "cpu"  # elsewhere torch chooses well by itself
    return Adam(parameters, lr=rate, betas=(0.5, 0.999), fused=on_cpu or None)


def averaged(net: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential average of a net, to be updated after each step.

    The first steps do not linger: the decay of step t is at most (1 + t) / (10 + t).

    Args:
        net: Whose weights and buffers are averaged.
        decay: A step; 0 follows the net itself.
    """
    average = AveragedModel(net, use_buffers=True, multi_avg_fn=partial(_average, decay=decay))
    average.requires_grad_(False)
    return average


@torch.no_grad()
def _average(old: Any, new: Any, seen: Tensor | int, decay: float) -> None:
    step = float(seen)
    weight = 1 - min(decay, (1 + step) / (10 + step))
    if old[0].is_floating_point():
        torch._foreach_lerp_(old, new, weight)
    else:
        torch._foreach_copy_(old, new)


def set_rate(optimizer: Any, rate: float) -> None:
    """Set the learning rate of all of an optimiser's groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def annealed(epoch: int, epochs: int) -> float:
    """Return the factor on a rate that falls to zero along half a cosine, at `epoch` from 0."""
    return 0.5 * (1 + math.cos(math.pi * epoch / max(epochs, 1)))


def halved(rate: float, epoch: int, milestones: list[int]) -> float:
    """Return `rate` halved once for each milestone that `epoch` (from 0) has reached."""
    return float(rate * 0.5 ** sum(epoch >= milestone for milestone in milestones))


def unique_parameters(*nets: nn.Module) -> list[nn.Parameter]:
    """Return the nets' trainable parameters, shared ones once."""
    return list({id(p): p for net in nets for p in net.parameters() if p.requires_grad}.values())


def description(vocabulary: Vocabulary, ids: Tensor) -> str:
    """Return tokens (T,) as text: "label: words"."""
    label, words = vocabulary.decode(ids.tolist())
    return f"{label or 'unlabelled'}: {' '.join(words)}"
