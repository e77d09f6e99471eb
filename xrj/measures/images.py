"""Distances between images, and between sets of them, that need no trained network."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from xrj.seeding import torch_generator

BASE = 32
"""Longest side in pixels at which whole images are compared."""
PATCH = 7
"""Side of the patches compared at finer scales."""
PLACES = 16
"""Places an image at which patches are taken."""


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity of each two images (Wang et al. 2004, eq. 13), (B,).

    With their Gaussian window of 11 pixels and constants, images mirrored at their borders. As
    torchmetrics has it, whose import takes longer than a justification.

    Args:
        a: (B, 1, H, W) in [0, 1], at least 6 pixels a side.
        b: Of the same shape.
    """
    place = torch.arange(-5.0, 6.0, dtype=a.dtype, device=a.device)
    window = torch.exp(-(place**2) / (2 * 1.5**2))
    window = window / window.sum()

    def local_mean(image: Tensor) -> Tensor:
        image = F.pad(image, (5, 5, 5, 5), mode="reflect")
        return F.conv2d(F.conv2d(image, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))

    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a = local_mean(a * a) - mean_a**2
    variance_b = local_mean(b * b) - mean_b**2
    covariance = local_mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return (luminance * structure).flatten(1).mean(dim=1)


def wasserstein_1d(a: Tensor, b: Tensor) -> Tensor:
    """Return the exact Wasserstein-1 distance between samples on the line, column by column.

    The integral of the difference of the two quantile functions; sizes may differ.

    Args:
        a: (N, P) samples of P distributions.
        b: (M, P).

    Returns:
        (P,) distances, >= 0.
    """
    n, m = len(a), len(b)
    a, b = a.sort(dim=0).values, b.sort(dim=0).values
    if n == m:
        return (a - b).abs().mean(dim=0)
    # Both quantile functions are constant between neighbouring multiples of 1/n and 1/m.
    steps = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    widths = torch.diff(steps, prepend=steps.new_zeros(1)).to(a) / (n * m)
    return widths @ (a[(steps - 1) // m] - b[(steps - 1) // n]).abs()


@torch.no_grad()
def sliced_wasserstein(a: Tensor, b: Tensor, *, projections: int = 128, seed: int) -> float:
    """Return the sliced Wasserstein-1 distance between two sets of images.

    A sum over the scales of a Laplacian pyramid (Karras et al. 2018, section 5, without the
    normalisation of patches): whole images at 32 pixels or less, and the patches of each finer
    detail image. A uniform shift by c costs about 0.8 c at any resolution. Symmetric; 0 for equal
    sets in any order.

    Args:
        a: (N, 1, H, W) in [-1, 1].
        b: (M, 1, H, W) in [-1, 1].
        projections: Random directions a scale.
        seed: Chooses directions and places of patches.

    Raises:
        ValueError: The images differ in size, or a set is empty.
    """
    if a.shape[1:] != b.shape[1:] or not len(a) or not len(b):
        raise ValueError(
            f"image sets of shapes {tuple(a.shape)} and {tuple(b.shape)} do not compare"
        )
    return slices_distance(*(slices(x, projections=projections, seed=seed) for x in (a, b)))


def slices(images: Tensor, *, projections: int = 128, seed: int) -> list[Tensor]:
    """Return all that `sliced_wasserstein` needs of images, which may be many batches of a set.

    Args:
        images: (N, 1, H, W) in [-1, 1].
        projections: As of `sliced_wasserstein`.
        seed: As of `sliced_wasserstein`.

    Returns:
        For each scale (N, places, projections).
    """
    generator = torch_generator(seed, "sliced_wasserstein")
    images = images.float()
    found = []
    while max(images.shape[2:]) > BASE and min(images.shape[2:]) >= 2 * PATCH:
        images, detail = _split_scale(images)
        ys, xs = (
            torch.randint(side - PATCH + 1, (PLACES,), generator=generator).tolist()
            for side in detail.shape[2:]
        )
        found.append(_project(_patches(detail, ys, xs), projections, generator))
    return [*found, _project(images.flatten(1)[:, None], projections, generator)]


def slices_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Return the sliced Wasserstein-1 distance between two sets, from their `slices`."""
    scales = zip(a, b, strict=True)
    return sum(float(wasserstein_1d(x.flatten(0, 1), y.flatten(0, 1)).mean()) for x, y in scales)


def _split_scale(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images at half size and what they lose by it."""
    small = F.avg_pool2d(images, 2)
    large = F.interpolate(small, images.shape[2:], mode="bilinear", align_corners=False)
    return small, images - large


def _patches(images: Tensor, ys: list[int], xs: list[int]) -> Tensor:
    """Return patches (N, places, C * PATCH^2), from the same places of every image."""
    places = zip(ys, xs, strict=True)
    cut = [images[:, :, y : y + PATCH, x : x + PATCH].flatten(1) for y, x in places]
    return torch.stack(cut, dim=1)


def _project(vectors: Tensor, projections: int, generator: torch.Generator) -> Tensor:
    directions = torch.randn(vectors.shape[-1], projections, generator=generator)
    return vectors @ F.normalize(directions, dim=0).to(vectors.device)
