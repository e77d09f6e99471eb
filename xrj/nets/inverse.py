"""The inverse mapping I: an X-ray to its representation (section 3.3).

Appendix B is lost but for its caption: 4x4 convolutions with stride 2, dropout 0.1 after each
LeakyReLU and 0.5 after each ReLU. The ladder mirrors the stage I discriminator.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xrj.nets.image import BASE, Residual, down, halvings


class InverseMapping(nn.Module):
    """I: an image to r, whose code part is put back on the encoder's sphere.

    Args:
        embedding: Width v of the code.
        noise: Width of the noise.
        scale: Norm of the code part of r (`Representation.scale`).
        width: Channels of the first layer.
        size: Side of the image.
        channels: Image channels.
        dropout: After every ReLU of the dense layers; 0.5 in the paper.
        convolution_dropout: After every LeakyReLU; 0.1 in the paper.
        residual_blocks: After every halving; none in the paper.
    """

    def __init__(
        self,
        embedding: int,
        noise: int,
        scale: float,
        width: int,
        size: int,
        channels: int,
        dropout: float,
        convolution_dropout: float,
        residual_blocks: int = 0,
    ) -> None:
        super().__init__()
        self.embedding, self.scale = embedding, scale
        ladder = [channels] + [width << i for i in range(halvings(size))]
        self.convolutions = nn.Sequential(
            *(
                nn.Sequential(
                    down(a, b, nn.LeakyReLU(0.2), norm=i > 0),
                    nn.Dropout(convolution_dropout),
                    *(Residual(b) for _ in range(residual_blocks)),
                )
                for i, (a, b) in enumerate(pairwise(ladder))
            )
        )
        if residual_blocks:
            for layer in self.convolutions.modules():
                if isinstance(layer, nn.Conv2d):  # He et al. 2015, as torchvision's ResNets
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        hidden = 2 * ladder[-1]
        self.dense = nn.Sequential(
            nn.Linear(ladder[-1] * BASE * BASE, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden // 2), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden // 2, embedding + noise),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, C, size, size) in [-1, 1] to r (B, v + n)."""
        r = self.dense(self.convolutions(image).flatten(1)).to(self.dense[-1].weight.dtype)
        code = F.normalize(r[:, : self.embedding], dim=1) * self.scale
        return torch.cat([code, r[:, self.embedding :]], dim=1)
