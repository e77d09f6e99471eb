"""The trained chain as something to justify: nets loaded from the stages' exports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xrj.datamodules.images import Frame, UInt8, frame, prepare, to_tensor
from xrj.datamodules.vocabulary import Vocabulary
from xrj.errors import DataError
from xrj.files import read_json
from xrj.handover import StageExport, check_fit, load_export
from xrj.justify.protocol import SaliencyMap
from xrj.justify.saliency import saliency_maps
from xrj.nets.decoding import PAD
from xrj.nets.familiarity import Familiarity
from xrj.nets.folding import fold
from xrj.nets.image import GeneratorStage1, GeneratorStage2
from xrj.nets.inverse import InverseMapping
from xrj.nets.representation import Representation
from xrj.nets.text import TextDecoder
from xrj.nets.zoo import Classifier

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
        decoder: D.
        stage1: G1.
        stage2: G2.
        inverse: I.
        familiarity: What tells X-rays unlike those of the training; None in chains from before it.
        training: Number of X-rays in the training split; None where nothing counts them.
        learned_from: What these were, in words; None where only `data` says so.
        said: The captions of the training by label, where no others are to be said; None where any
            are decoded.
        classifier: The independent one; None where none was trained.
        selection: Which epoch of the inverse mapping.
        beams: Of the search for captions, as in `beam_search`.
        device: Where the nets live.
    """

    name: str
    exports: Mapping[str, StageExport]
    vocabulary: Vocabulary
    representation: Representation
    decoder: TextDecoder
    stage1: GeneratorStage1
    stage2: GeneratorStage2
    inverse: InverseMapping
    familiarity: Familiarity | None
    training: int | None
    learned_from: str | None
    said: Mapping[str, Sequence[str]] | None
    classifier: Classifier | None
    selection: str
    beams: int
    device: torch.device

    @classmethod
    def load(
        cls, folders: Mapping[str, Path], name: str, selection: str, beams: int, device: str
    ) -> "JustificationModel":
        """Load a chain and check that its stages belong together.

        Args:
            folders: Run folder of each stage; that of "classifier" may be missing or unfinished.
            name: Of the run.
            selection: Which epoch of the inverse mapping: "ours_label" or "ours_caption".
            beams: See the attributes.
            device: A torch device.

        Raises:
            HandoverError: A stage is missing or does not fit the others.
        """
        exports = {stage: load_export(folders[stage], stage) for stage in STAGES}
        if "classifier" in folders and (folders["classifier"] / "export" / "stage.json").is_file():
            exports["classifier"] = load_export(folders["classifier"], "classifier")
        training = _count_training(exports["gan2"].folder.parent)
        return cls.of(exports, name, selection, beams, device, training=training)

    @classmethod
    def of(
        cls,
        exports: Mapping[str, StageExport],
        name: str,
        selection: str,
        beams: int,
        device: str,
        *,
        training: int | None = None,
        learned_from: str | None = None,
        said: Mapping[str, Sequence[str]] | None = None,
    ) -> "JustificationModel":
        """Build a chain from its exports and check that they belong together.

        Args:
            exports: Of each stage; "classifier" may be missing.
            name: Of the run.
            selection: As of `load`; so are the next two.
            beams: See the attributes.
            device: A torch device.
            training: See the attributes.
            learned_from: See the attributes.
            said: See the attributes.

        Raises:
            HandoverError: A stage does not fit the others.
        """
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
            representation=Representation.of(last.info["dims"]),
            decoder=net("arae", "decoder"),
            stage1=fold(net("gan1", "generator")),
            stage2=fold(net("gan2", "generator")),
            inverse=fold(net("inverse", "inverse", selection)),
            familiarity=net("inverse", "familiarity", selection)
            if "familiarity" in exports["inverse"].info["nets"]
            else None,
            training=training,
            learned_from=learned_from,
            said=said,
            classifier=net("classifier", "classifier") if "classifier" in exports else None,
            selection=selection,
            beams=beams,
            device=torch.device(device),
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """What files say of it: its name, and the hashes of its stages and of the split.

        And source and number of the X-rays that it learned from, in words where they are known, and
        whether it tells others apart.
        """
        return {
            "name": self.name,
            "stages": {stage: export.hash for stage, export in self.exports.items()},
            "split": self.exports["arae"].info["split"],
            "data": self.exports["arae"].info["data"]["source"],
            "trained_on": self.training,
            **({"learned_from": self.learned_from} if self.learned_from else {}),
            "tells_unlike": self.familiarity is not None,
        }

    @property
    def card(self) -> Mapping[str, Any]:
        """What its exports record of it: `identity`, what it is for, its data and its measures.

        `stages` has hash, epoch and validation measures of each stage's kept epoch, `data` how the
        data were configured, and `version` is that of the package that trained it.
        """
        info = self.exports["inverse"].info
        return {
            **self.identity,
            "labels": list(self.labels),
            "sizes": list(self.sizes),
            "intended_use": info["intended_use"],
            "version": info["version"],
            "data": info["data"],
            "stages": {
                stage: {"hash": export.hash, **self._kept(stage)}
                for stage, export in self.exports.items()
            },
        }

    def _kept(self, stage: str) -> Mapping[str, Any]:
        kept: Mapping[str, Any] = self.exports[stage].info["selections"]
        entry = kept[self.selection if stage == "inverse" else next(iter(kept))]
        return {key: entry[key] for key in ("epoch", "monitor", "metrics")}

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

    def frame(self, shape: tuple[int, int]) -> Frame:
        """Return the part of an X-ray of this shape that the nets see."""
        return frame(shape, self.sizes[1], self.exports["gan1"].info["data"]["margin"])

    def to_images(self, pictures: UInt8) -> Tensor:
        """Return pictures (B, H, W) as images."""
        return to_tensor(pictures).to(self.device)

    def encode(self, images: Tensor) -> Tensor:
        """Return r = I(x) of images of stage I."""
        r: Tensor = self.inverse(images)
        return r

    def split(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Return the code, on the decoder's scale, and the noise."""
        return self.representation.code(r), self.representation.noise_part(r)

    def label_logits(self, r: Tensor) -> Tensor:
        """Return the decoder's first-step logits of the labels, (B, L); differentiable."""
        logits = self.decoder.first_logits(self.representation.code(r))
        return logits[:, self.vocabulary.label_ids]

    def certainty(self, r: Tensor) -> Tensor:
        """Return each label's certainty, renormalised over the labels, (B, L)."""
        return self.label_logits(r).softmax(dim=1)

    def unlike(self, images: Tensor) -> Sequence[str | None]:
        """Say how X-rays of stage I are unlike those that the chain learned from."""
        return [None] * len(images) if self.familiarity is None else self.familiarity(images)

    def captions(self, r: Tensor) -> list[tuple[str, list[str]]]:
        """Return label and words decoded from each r."""
        if self.said is not None:
            return self._likeliest(self.representation.code(r), self.said)
        length = self.exports["arae"].info["data"]["captions"]["max_words"] + 2
        labels = torch.tensor(self.vocabulary.label_ids, device=r.device)
        tokens = self.decoder.decode(self.representation.code(r), length, labels, self.beams)
        decoded = (self.vocabulary.decode(row) for row in tokens.tolist())
        return [(cast(str, label), words) for label, words in decoded]

    @torch.no_grad()
    def _likeliest(
        self, code: Tensor, said: Mapping[str, Sequence[str]]
    ) -> list[tuple[str, list[str]]]:
        """Return the label of each code, and of the captions known with it the likeliest."""
        certainty = self.decoder.first_logits(code)[:, self.vocabulary.label_ids]
        found: dict[int, tuple[str, list[str]]] = {}
        for place, label in enumerate(self.labels):
            rows = (certainty.argmax(dim=1) == place).nonzero()[:, 0]
            captions = [caption.split() for caption in said[label]]
            tokens = [torch.tensor(self.vocabulary.encode(label, words)) for words in captions]
            padded = pad_sequence(tokens, batch_first=True).to(code.device)
            for row in rows.tolist():
                logits = self.decoder(code[row].expand(len(padded), -1), padded)
                each = logits.log_softmax(dim=2).gather(2, padded[:, :, None])[:, :, 0]
                likelihood = (each * (padded != PAD)).sum(dim=1)
                found[row] = label, captions[int(likelihood.argmax())]
        return [found[row] for row in range(len(code))]

    def generate(self, r: Tensor) -> Tensor:
        """Return the X-rays of stage I for r; differentiable."""
        images: Tensor = self.stage1(r)
        return images

    def draw(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Return the X-rays of both stages for r."""
        small = self.stage1(r)
        return small, self.stage2(r, small)

    def classify(self, images: Tensor) -> Tensor | None:
        """Return the classifier's probabilities (B, L) for X-rays of stage II; None without one."""
        return None if self.classifier is None else self.classifier.classify(images)

    def saliency(self, images: Tensor, targets: Sequence[str]) -> list[tuple[SaliencyMap, ...]]:
        """Return the classifier's saliency maps of X-rays of stage II; none without one."""
        if self.classifier is None:
            return [()] * len(images)
        return saliency_maps(self.classifier, images, targets, self.labels)


def _count_training(run: Path) -> int | None:
    """Return how many X-rays a run learned from, by the counts that lie beside its export."""
    try:
        return int(dict(read_json(run / "counts.json")["details"])["images in train"])
    except (DataError, KeyError, TypeError, ValueError):
        return None
