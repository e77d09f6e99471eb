"""Ways to a picture with another diagnosis, all as the same object; and ours, the mapping M."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xrj.datamodules.images import UInt8
from xrj.justify.mapping import MappingResult, MappingSettings, map_to_nearest
from xrj.justify.protocol import Justifiable
from xrj.justify.reading import draw_pictures
from xrj.justify.refinement import RefinementSettings, refine

Floats = NDArray[np.float64]


class PerXray:
    """A dataclass of columns with one row for each X-ray; strings and None stand for all rows."""

    def take(self, rows: Sequence[int] | slice) -> Self:
        """Return some rows."""
        kept = {}
        for field in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            column = getattr(self, field.name)
            if isinstance(column, tuple) and not isinstance(rows, slice):
                column = tuple(column[row] for row in rows)
            elif not isinstance(column, str | None):
                column = column[rows]
            kept[field.name] = column
        return type(self)(**kept)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts."""
        joined: dict[str, Any] = {}
        for field in fields(cls):  # type: ignore[arg-type]
            columns = [getattr(part, field.name) for part in parts]
            first = columns[0]
            if isinstance(first, str | None):
                joined[field.name] = first
            elif isinstance(first, Tensor):
                joined[field.name] = torch.cat(columns)
            elif isinstance(first, tuple):
                joined[field.name] = sum(columns, ())
            else:
                joined[field.name] = np.concatenate(columns)
        return cls(**joined)


@dataclass(frozen=True)
class Xrays(PerXray):
    """X-rays as a model sees them.

    Attributes:
        small: (N, h, w), 0 to 255, as they are encoded.
        large: (N, H, W), as they are shown.
        labels: True ones, (N,), places in the model's labels.
        patients: Whose they are.
        names: Their files; they seed what is drawn at random for each.
    """

    small: UInt8
    large: UInt8
    labels: NDArray[np.int64]
    patients: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Start(PerXray):
    """Where searches in the space of r start from, and what it took to get there.

    Attributes:
        r: Representations of N X-rays, (N, v + n).
        large: G(r), (N, H, W), 0 to 255.
        seconds: For each X-ray, (N,).
        evaluations: Of a net and its gradient for each X-ray, (N,).
    """

    r: Tensor
    large: UInt8
    seconds: Floats
    evaluations: Floats


@dataclass(frozen=True)
class Found(PerXray):
    """Representations with another diagnosis; rows as of `Start`.

    Attributes:
        r: r', (N, v + n).
        targets: Labels d' that were aimed at, (N,).
        converged: Whether the search reached its end, (N,).
        seconds: See `Start`; so is the next.
        evaluations: Of a net, with or without its gradient.
        tries: Starts that the search used, (N,); NaN where it has but one.
    """

    r: Tensor
    targets: NDArray[np.int64]
    converged: NDArray[np.bool_]
    seconds: Floats
    evaluations: Floats
    tries: Floats


@dataclass(frozen=True)
class Counterfactuals(PerXray):
    """What a method makes of N X-rays.

    Attributes:
        name: For people.
        targets: The other label d' of each, (N,).
        before: Where the change starts, (N, H, W), 0 to 255: G(r), or the X-ray itself.
        after: The counterfactual, (N, H, W).
        small: The counterfactual as it is encoded, (N, h, w).
        r: Representations before; None where the method does not move in their space.
        r_after: And after.
        converged: Whether the search reached its end, (N,).
        seconds: All that it takes from the X-ray to r' or x', (N,).
        evaluations: Of a net, with or without its gradient, (N,).
        tries: See `Found`.
    """

    name: str
    targets: NDArray[np.int64]
    before: UInt8
    after: UInt8
    small: UInt8
    r: Tensor | None
    r_after: Tensor | None
    converged: NDArray[np.bool_]
    seconds: Floats
    evaluations: Floats
    tries: Floats


def encode(model: Justifiable, xrays: Xrays) -> Start:
    """Return r = I(x)."""
    began = time.perf_counter()
    with torch.no_grad():
        r = model.encode(model.to_images(xrays.small))
    seconds = np.full(len(r), (time.perf_counter() - began) / len(r))
    return Start(r, draw_pictures(model, r)[1], seconds, np.ones(len(r)))


def refined(model: Justifiable, xrays: Xrays, start: Start, settings: RefinementSettings) -> Start:
    """Fit the noise part of each r to its X-ray."""
    embedding = model.split(start.r)[0].shape[1]
    found = refine(model.generate, start.r, model.to_images(xrays.small), embedding, settings)
    r = torch.cat([one.r for one in found])
    return Start(
        r,
        draw_pictures(model, r)[1],
        start.seconds + [one.seconds for one in found],
        start.evaluations + [one.evaluations for one in found],
    )


def map_latent(
    model: Justifiable,
    r: Tensor,
    images: Tensor,
    settings: MappingSettings,
    generators: Sequence[torch.Generator],
) -> Found:
    """Map each r to its nearest alternative by M (section 3.4).

    Args:
        model: What diagnoses.
        r: (N, v + n).
        images: The X-rays of the smaller size that G(r') should stay near, (N, C, h, w).
        settings: Of M.
        generators: Of the restarts.
    """
    found = map_to_nearest(model.label_logits, model.generate, r, images, settings, generators)
    return as_found(found)


def draw(model: Justifiable, name: str, start: Start, found: Found) -> Counterfactuals:
    """Draw what was found in the space of r."""
    small, large = draw_pictures(model, found.r)
    return Counterfactuals(
        name,
        found.targets,
        start.large,
        large,
        small,
        start.r,
        found.r,
        found.converged,
        start.seconds + found.seconds,
        start.evaluations + found.evaluations,
        found.tries,
    )


def as_found(mappings: Sequence[MappingResult]) -> Found:
    """Return what M found."""
    return Found(
        torch.cat([mapping.r for mapping in mappings]),
        np.array([mapping.target for mapping in mappings], np.int64),
        np.array([mapping.converged for mapping in mappings]),
        np.array([mapping.seconds for mapping in mappings]),
        np.array([mapping.evaluations for mapping in mappings], np.float64),
        np.array([mapping.tries for mapping in mappings], np.float64),
    )
