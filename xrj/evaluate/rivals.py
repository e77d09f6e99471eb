"""Rivals of the mapping M: other ways to a picture with another diagnosis.

Each explains the model's reading of the X-ray, never the independent classifier, which judges them.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from xrj.datamodules.images import UInt8
from xrj.evaluate.methods import Counterfactuals, Found, Xrays, as_found
from xrj.justify.mapping import MappingSettings, map_to_nearest
from xrj.justify.protocol import Justifiable
from xrj.justify.reading import to_pictures
from xrj.seeding import torch_generator

REACH, STRIDES, HALVINGS = 2.0, 50, 6
"""Of the latent shift: how far it goes, in lengths of r, in how many strides, refined how often."""


def shift_latent(logits: Callable[[Tensor], Tensor], r: Tensor, certainty: float) -> Found:
    """Shift each r along a gradient to the nearest place with another diagnosis.

    Cohen et al. 2021: r' = r - l dp(d)/dr with the smallest l at which another label has more than
    `certainty`. The gradient of the log odds has the same direction and does not vanish.

    Args:
        logits: r to the logits of the labels, (N, L): of the representation itself, or, as Cohen et
            al. have it, of the picture that G draws of it.
        r: (N, v + n).
        certainty: Of the other label.
    """
    began = time.perf_counter()
    with torch.enable_grad():
        point = r.detach().requires_grad_()
        said = logits(point)
        source = said.argmax(dim=1, keepdim=True)
        others = said.scatter(1, source, -torch.inf).logsumexp(dim=1)
        (slope,) = torch.autograd.grad((said.gather(1, source)[:, 0] - others).sum(), point)
    way = -F.normalize(slope, dim=1) * r.norm(dim=1, keepdim=True)

    @torch.no_grad()
    def turned(rows: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the highest certainty of another label, and which it is."""
        certainties = logits(r[rows] + lengths[:, None] * way[rows]).softmax(dim=1)
        best = certainties.scatter(1, source[rows], -1).max(dim=1)
        return best.values, best.indices

    count = torch.ones(len(r))
    length = torch.zeros(len(r), device=r.device)
    highest = torch.full_like(length, -1)
    target = torch.zeros_like(source[:, 0])
    waiting = torch.arange(len(r), device=r.device)
    for stride in range(1, STRIDES + 1):
        step = torch.full_like(length[waiting], REACH * stride / STRIDES)
        value, label = turned(waiting, step)
        count[waiting.cpu()] += 1
        better = value > highest[waiting]
        at = waiting[better]
        highest[at], length[at], target[at] = value[better], step[better], label[better]
        waiting = waiting[value <= certainty]
        if not len(waiting):
            break
    rows = (highest > certainty).nonzero()[:, 0]
    low, high = length[rows] - REACH / STRIDES, length[rows]
    for _ in range(HALVINGS if len(rows) else 0):
        middle = (low + high) / 2
        value, label = turned(rows, middle)
        count[rows.cpu()] += 1
        enough = value > certainty
        target[rows] = torch.where(enough, label, target[rows])
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    length[rows] = high
    return Found(
        r + length[:, None] * way,
        target.cpu().numpy(),
        (highest > certainty).cpu().numpy(),
        np.full(len(r), (time.perf_counter() - began) / len(r)),
        count.double().numpy(),
        np.full(len(r), np.nan),
    )


def step_at_random(
    model: Justifiable, r: Tensor, ours: Found, certainty: float, names: Sequence[str], seed: int
) -> Found:
    """Go as far as ours in a random direction of r."""
    began = time.perf_counter()
    drawn = [
        torch.randn(r.shape[1], generator=torch_generator(seed, "direction", name))
        for name in names
    ]
    length = (ours.r - r).norm(dim=1, keepdim=True)
    moved = r + length * F.normalize(torch.stack(drawn).to(r), dim=1)
    with torch.no_grad():
        certainties = model.label_logits(moved).softmax(dim=1).cpu().numpy()
    seconds = np.full(len(r), (time.perf_counter() - began) / len(r))
    reached = certainties[np.arange(len(r)), ours.targets] > certainty
    once = np.full(len(r), np.nan)
    return Found(moved, ours.targets, reached, seconds, np.ones(len(r)), once)


def change_pixels(
    model: Justifiable,
    name: str,
    xrays: Xrays,
    settings: MappingSettings,
    generators: Sequence[torch.Generator],
) -> Counterfactuals:
    """Search for an adversarial change: M on the pixels of the X-ray where ours has it on r.

    The same loss, weights and optimiser with G(x) = x, so that the picture need not be one that G
    draws. The larger picture takes the change of each small pixel over its area, the least change
    that has the same mean there.
    """
    images = model.to_images(xrays.small)
    shape = images.shape[1:]
    found = as_found(
        map_to_nearest(
            lambda pixels: model.label_logits(model.encode(pixels.unflatten(1, shape))),
            lambda pixels: pixels.unflatten(1, shape),
            images.flatten(1),
            images,
            settings,
            generators,
        )
    )
    changed = found.r.unflatten(1, shape).clamp(-1, 1)
    large = model.to_images(xrays.large)
    change = F.interpolate(changed - images, large.shape[-2:], mode="nearest")
    return Counterfactuals(
        name,
        found.targets,
        xrays.large,
        to_pictures(large + change),
        to_pictures(changed),
        None,
        None,
        found.converged,
        found.seconds,
        found.evaluations,
        found.tries,
    )


def nearest_real(
    name: str, xrays: Xrays, train: Xrays, targets: NDArray[np.int64]
) -> Counterfactuals:
    """Take the training X-ray of the other label that is nearest in the pixels that are encoded.

    Args:
        name: For people.
        xrays: That are explained.
        train: Training X-rays.
        targets: The other label of each; one without a training X-ray takes any, not converged.
    """
    began = time.perf_counter()
    queries, gallery = (torch.from_numpy(one.small).flatten(1).float() for one in (xrays, train))
    far = torch.cdist(queries, gallery)
    wrong = torch.from_numpy(train.labels[None] != targets[:, None])
    nearest = far.masked_fill(wrong, torch.inf).argmin(dim=1).tolist()
    taken = train.take(nearest)
    count = len(targets)
    return Counterfactuals(
        name,
        targets,
        xrays.large,
        taken.large,
        taken.small,
        None,
        None,
        taken.labels == targets,
        np.full(count, (time.perf_counter() - began) / count),
        np.zeros(count),
        np.full(count, np.nan),
    )


def true_counterfactual(
    name: str, xrays: Xrays, targets: NDArray[np.int64], small: UInt8, large: UInt8
) -> Counterfactuals:
    """Take what the patient would look like under the other label: a phantom knows it.

    Not a rival but the ceiling of what a method can reach.

    Args:
        name: For people.
        xrays: That are explained.
        targets: The other label of each.
        small: The same patients with it, at the size of `xrays.small`.
        large: And of `xrays.large`.
    """
    count = len(targets)
    nothing, once = np.zeros(count), np.full(count, np.nan)
    reached = np.ones(count, bool)
    return Counterfactuals(
        name, targets, xrays.large, large, small, None, None, reached, nothing, nothing, once
    )
