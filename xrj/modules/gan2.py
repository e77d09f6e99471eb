"""Stage `gan2`: the text-to-image GAN's second stage, large X-rays from r and G1's image."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xrj import losses
from xrj.modules.adversarial import AdversarialModule
from xrj.modules.base import Batch


class Gan2Module(AdversarialModule):
    """Learn G2 and D2 at the large resolution; G1 is frozen.

    Args:
        stage1: G1.
        consistency: Weight of the mean square difference between G2's image, reduced to the small
            size, and G1's: the large image then shows the same patient.
        **adversarial: As `AdversarialModule`.
    """

    frozen = ("encoder", "stage1", "noise_encoder", "teachers")

    def __init__(self, *, stage1: nn.Module, consistency: float, **adversarial: Any) -> None:
        super().__init__(**adversarial)
        self.stage1 = stage1
        self.consistency = consistency
        self.small = torch.empty(0)

    def measures(self) -> set[str]:
        """Return the names of all that is logged once an epoch."""
        return super().measures() | ({"train/consistency"} if self.consistency else set())

    def synthesise(self, generator: nn.Module, r: Tensor, batch: Batch) -> Tensor:
        """Generate large images (B, C, H, W) from r by way of G1."""
        with torch.no_grad():
            self.small = self.stage1(r)
        images: Tensor = generator(r, self.small)
        return images

    def constraints(self, fake: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Hold the large image to the small one it refines, and to those whose noise was read."""
        terms = super().constraints(fake, batch)
        if self.consistency:
            reduced = F.adaptive_avg_pool2d(fake, self.small.shape[-1])
            terms["consistency"] = self.consistency * losses.mean_square(reduced, self.small)
        return terms

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Return real X-rays above G2's images and the G1 images that these refine."""
        rows = super().pictures(batch)
        return {
            **rows,
            "stage 1": F.interpolate(
                self.small, scale_factor=rows["real"].shape[-1] // self.small.shape[-1]
            ),
        }
