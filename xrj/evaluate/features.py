"""What the independent classifier sees in pictures: places, features and certainties in one pass.

They are "own-domain" features, of a net trained on X-rays of this kind; distances in them compare
within one classifier only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xrj.datamodules.images import UInt8, resize, to_tensor
from xrj.justify.protocol import PART
from xrj.nets.zoo import Classifier

GRID = 8
"""Places a side of the intermediate layer, whose features tell patients apart."""
THUMBNAIL = 32
"""Pixels a side at which pictures are compared without any net."""


@dataclass(frozen=True)
class Features:
    """Of N pictures.

    Attributes:
        places: Of the intermediate layer, (N, C * GRID^2).
        last: What the last layer judges by, (N, D).
        certainty: Of the labels, (N, L).
    """

    places: Tensor
    last: Tensor
    certainty: Tensor


@torch.no_grad()
def read_features(classifier: Classifier, pictures: UInt8) -> Features:
    """Return the features of pictures (N, H, W), 0 to 255."""
    device = next(classifier.parameters()).device
    places: list[Tensor] = []
    last: list[Tensor] = []

    def keep_places(_module: Any, _inputs: Any, output: Tensor) -> None:
        places.append(F.adaptive_avg_pool2d(output, GRID).flatten(1))

    def keep_last(_module: Any, inputs: tuple[Tensor]) -> None:
        last.append(inputs[0])

    head = classifier.net.get_submodule(classifier.architecture.head)
    handles = (
        classifier.intermediate.register_forward_hook(keep_places),
        head.register_forward_pre_hook(keep_last),
    )
    try:
        parts = torch.from_numpy(pictures).split(PART)
        certainty = [classifier.classify(to_tensor(part.numpy()).to(device)) for part in parts]
    finally:
        for handle in handles:
            handle.remove()
    return Features(torch.cat(places), torch.cat(last), torch.cat(certainty))


def thumbnails(pictures: Sequence[UInt8] | UInt8) -> Tensor:
    """Return pictures (H, W) as rows of `THUMBNAIL`^2 grey values in [-1, 1]."""
    small = [torch.from_numpy(resize(picture, THUMBNAIL)) for picture in pictures]
    return torch.stack(small).flatten(1) / 127.5 - 1
