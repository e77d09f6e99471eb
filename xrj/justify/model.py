"""A trained chain: everything that a justification needs, loaded from the stages' exports."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from xrj.build import build_representation
from xrj.datamodules.images import UInt8, prepare, to_tensor
from xrj.datamodules.vocabulary import Vocabulary
from xrj.handover import StageExport, check_fit, load_export
from xrj.nets.image import GeneratorStage1, GeneratorStage2
from xrj.nets.inverse import InverseMapping
from xrj.nets.representation import Representation
from xrj.nets.text import TextDecoder, TextEncoder

STAGES = ("arae", "gan1", "gan2", "inverse")


@dataclass(frozen=True)
class JustificationModel:
    """The nets of a finished chain, frozen and in evaluation mode.

    Images are (B, C, h, w) in [-1, 1], representations r (B, v + n).

    Attributes:
        name: Of the run.
        exports: Of each stage.
        vocabulary: Shared by all stages.
        representation: How r is put together.
        encoder: E.
        decoder: D.
        stage1: G1.
        stage2: G2.
        inverse: I.
        device: Where the nets live.
    """

    name: str
    exports: Mapping[str, StageExport]
    vocabulary: Vocabulary
    representation: Representation
    encoder: TextEncoder
    decoder: TextDecoder
    stage1: GeneratorStage1
    stage2: GeneratorStage2
    inverse: InverseMapping
    device: torch.device

    @classmethod
    def load(
        cls, folders: Mapping[str, Path], name: str, selection: str, device: str
    ) -> "JustificationModel":
        """Load a chain and check that its stages belong together.

        Args:
            folders: Run folder of each stage.
            name: Of the run.
            selection: Which epoch of the inverse mapping: "ours_label" or "ours_caption".
            device: A torch device.

        Raises:
            HandoverError: A stage is missing or does not fit the others.
        """
        exports = {stage: load_export(folders[stage], stage) for stage in STAGES}
        last = exports["gan2"]
        lineage = {stage: export.hash for stage, export in exports.items()}
        for export in exports.values():
            check_fit(
                export,
                dims=last.info["dims"],
                vocabulary=last.vocabulary,
                split_hash=last.info["split"],
                parents=lineage,
            )

        def net(stage: str, part: str, selection: str | None = None) -> Any:
            return exports[stage].net(part, selection).to(device)

        return cls(
            name=name,
            exports=exports,
            vocabulary=last.vocabulary,
            representation=build_representation(last.info["dims"]),
            encoder=net("arae", "encoder"),
            decoder=net("arae", "decoder"),
            stage1=net("gan1", "generator"),
            stage2=net("gan2", "generator"),
            inverse=net("inverse", "inverse", selection),
            device=torch.device(device),
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names, in the order of all certainties."""
        return self.vocabulary.labels

    @property
    def sizes(self) -> tuple[int, int]:
        """Pixels a side of stage I and of stage II."""
        dims = self.exports["gan2"].info["dims"]
        return int(dims["small"]), int(dims["large"])

    def view(self, image: UInt8, resolution: int) -> UInt8:
        """Return an X-ray (H, W) as the nets see it: resized and cut as in validation."""
        return prepare(image, resolution, self.exports["gan1"].info["data"]["margin"])

    def read(self, image: UInt8) -> Tensor:
        """Return an X-ray (H, W), 0 to 255, as a batch of one for the inverse mapping."""
        return to_tensor(self.view(image, self.sizes[0])[None]).to(self.device)

    def label_logits(self, r: Tensor) -> Tensor:
        """Return the decoder's first-step logits of the labels, (B, L); differentiable."""
        logits = self.decoder.first_logits(self.representation.code(r))
        return logits[:, self.vocabulary.label_ids]

    def certainty(self, r: Tensor) -> Tensor:
        """Return each label's certainty, renormalised over the labels, (B, L)."""
        return self.label_logits(r).softmax(dim=1)

    def captions(self, r: Tensor) -> list[tuple[str, list[str]]]:
        """Return label and words decoded greedily from each r."""
        length = self.exports["arae"].info["data"]["captions"]["max_words"] + 2
        labels = torch.tensor(self.vocabulary.label_ids, device=r.device)
        tokens = self.decoder.greedy(self.representation.code(r), length, labels)
        decoded = (self.vocabulary.decode(row) for row in tokens.tolist())
        return [(cast(str, label), words) for label, words in decoded]

    def draw(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Return the X-rays of both stages for r."""
        small = self.stage1(r)
        return small, self.stage2(r, small)


def to_uint8(image: Tensor) -> UInt8:
    """Return an image (1, C, H, W) in [-1, 1] as grey values (H, W), 0 to 255."""
    grey = image[0].mean(dim=0).clamp(-1, 1).add(1).mul(127.5).round()
    return grey.cpu().numpy().astype(np.uint8)
