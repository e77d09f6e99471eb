"""The rival captioner of table 4, from its export."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from xrj.handover import StageExport, load_export
from xrj.nets.captioner import ConvolutionalCaptioner


@dataclass(frozen=True)
class Captioner:
    """What stage `captioner` has learned, frozen and in evaluation mode.

    Attributes:
        export: Of the stage.
        net: The captioner.
        device: Where it lives.
    """

    export: StageExport
    net: ConvolutionalCaptioner
    device: torch.device

    @classmethod
    def load(cls, folder: Path, device: str) -> "Captioner":
        """Load the captioner from the stage's run folder.

        Raises:
            HandoverError: It is missing or broken.
        """
        export = load_export(folder, "captioner")
        net = cast(ConvolutionalCaptioner, export.net("captioner").to(device))
        return cls(export, net, torch.device(device))

    @torch.no_grad()
    def captions(self, images: Tensor, beams: int) -> list[tuple[str, list[str]]]:
        """Return label and words decoded for each image (B, 1, H, W) in [-1, 1]."""
        vocabulary = self.export.vocabulary
        length = self.export.info["data"]["captions"]["max_words"] + 2
        labels = torch.tensor(vocabulary.label_ids, device=self.device)
        tokens = self.net.decode(self.net.see(images.to(self.device)), length, labels, beams)
        decoded = (vocabulary.decode(row) for row in tokens.tolist())
        return [(cast(str, label), words) for label, words in decoded]
