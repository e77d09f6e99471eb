"""What a discriminator or a teacher sees of pictures: shifted, brighter or darker, flatter."""

import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT = 0.125
"""Largest shift, a share of the picture's side."""
BRIGHTNESS, CONTRAST = 0.2, 0.3
"""Largest change of the mean grey value, of [-1, 1], and of the distances from it."""


def augment(images: Tensor, strength: float) -> Tensor:
    """Shift pictures and change their brightness and contrast, each by other amounts.

    Differentiable, so that G learns through it (Zhao et al. 2020): what D sees of real and of
    generated pictures varies alike, and some thousand real ones are not learnt by heart.

    Args:
        images: (B, C, H, W) in [-1, 1].
        strength: 1 for changes of up to `SHIFT`, `BRIGHTNESS` and `CONTRAST`; 0 for none.

    Returns:
        Pictures of the same shape; places from outside are 0.
    """
    if not strength:
        return images
    count, _, height, width = images.shape

    def drawn(reach: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1, device=images.device) * 2 - 1) * reach * strength

    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * (1 + drawn(CONTRAST)) + mean + drawn(BRIGHTNESS)
    reach = round(SHIFT * strength * width)
    padded = F.pad(images, (reach,) * 4)
    corner = torch.randint(0, 2 * reach + 1, (2, count, 1), device=images.device)
    rows = corner[0] + torch.arange(height, device=images.device)
    columns = corner[1] + torch.arange(width, device=images.device)
    place = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[place, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
