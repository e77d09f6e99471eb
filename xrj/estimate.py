"""How long the chain takes at the default sizes, as a bare `python train.py` says."""

import time
from collections.abc import Mapping

import torch
from omegaconf import DictConfig
from torch.nn import functional as F

from xrj.compute import Device, choose_precision
from xrj.programs import program

COST: Mapping[str, float] = {
    "arae": 0.025,
    "gan1": 0.64,
    "gan2": 8.0,
    "inverse": 0.55,
    "classifier": 0.63,
}
"""What an X-ray costs in a training step at the default sizes, in `convolution`s.

Measured on two threads, a few steps each; another machine, a GPU above all, may differ.
"""
QUICK = "-m stage=arae,gan1,gan2,inverse,classifier experiment=demo"
XRAYS = 1000


def convolution(trainer: DictConfig) -> float:
    """Return the seconds of one convolution of 96 channels and its gradient, the best of three.

    Args:
        trainer: The configuration's node, which decides in which precision.
    """
    found = Device.of(trainer.accelerator)
    half = choose_precision(trainer.precision, found) != "32-true"
    device = found.kind
    images = torch.randn(8, 96, 64, 64, device=device, requires_grad=True)
    weights = torch.randn(96, 96, 3, 3, device=device, requires_grad=True)
    took = []
    for _ in range(3):
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            made = F.conv2d(images, weights, padding=1)
        made.float().square().mean().backward()
        float(weights.grad.sum()) if weights.grad is not None else None  # waits for the device
        took.append(time.perf_counter() - start)
    return min(took)


def estimate(cfg: DictConfig, seconds: float) -> str:
    """Say in a line how long the chain will take, how that is known, and what is quicker.

    Args:
        cfg: Of a training.
        seconds: Of a `convolution` on this machine.
    """
    hours = sum(cost * cfg[stage].max_epochs for stage, cost in COST.items())
    hours *= seconds * XRAYS / 3600
    return (
        f"{', '.join(COST)}: roughly {hours:,.0f} hours for {XRAYS:,} X-rays on this machine, "
        f"estimated from the time of one convolution; quicker: {program('train')} {QUICK}"
    )
