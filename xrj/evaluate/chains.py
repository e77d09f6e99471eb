"""Trained chains by name, and what one of them says of a split."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from xrj.build import build_evaluation_data
from xrj.datamodules.datamodule import IUXRayDataModule
from xrj.datamodules.images import UInt8, to_tensor
from xrj.errors import ConfigError, DataError
from xrj.evaluate.captioner import Captioner
from xrj.evaluate.readings import BATCH, Readings
from xrj.files import read_json, sha256_json
from xrj.handover import StageExport, check_fit, load_export
from xrj.nets.folding import fold
from xrj.nets.representation import Representation
from xrj.nets.text import TextDecoder
from xrj.nets.zoo import Classifier
from xrj.programs import program

UNSEEN = ("augmentations", "wrong", "cache_dir", "download", "num_workers")
"""Settings of data that change nothing of what a split holds."""
PART = 16
"""X-rays of the larger size that a classifier works on at once."""


@dataclass(frozen=True)
class Chain:
    """What was trained under a name.

    Attributes:
        name: Of the run.
        folders: Run folder of each stage; it may be missing.
    """

    name: str
    folders: Mapping[str, Path]
    _loaded: dict[str, StageExport] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def named(cls, runs: Path, name: str, flag: str, stages: Sequence[str]) -> "Chain":
        """Return the chain of a name.

        Raises:
            ConfigError: Nothing was trained under it.
        """
        if not (runs / name).is_dir():
            raise ConfigError(
                f"{flag}: {name}: nothing was trained under this name in {runs}; run "
                f"{program('train')} name={name} first, or leave it out"
            )
        return cls(name, {stage: runs / name / stage for stage in stages})

    def has(self, stage: str) -> bool:
        """Return whether a stage has finished."""
        return stage in self.folders and (self.folders[stage] / "export" / "stage.json").is_file()

    def export(self, stage: str) -> StageExport:
        """Return a stage's export.

        Raises:
            HandoverError: It is missing or broken, or was built on another stage than the one that
                now lies under the chain's name.
        """
        if stage not in self._loaded:
            export = load_export(self.folders[stage], stage)
            parents = [parent for parent in export.info["parents"] if self.has(parent)]
            check_fit(export, parents={parent: self.export(parent).hash for parent in parents})
            self._loaded[stage] = export
        return self._loaded[stage]

    def settings(self, stage: str) -> Mapping[str, Any]:
        """Return the settings that a stage was trained with; empty where none are recorded."""
        path = self.folders[stage] / "run.json"
        settings: dict[str, Any] = read_json(path)["settings"] if path.is_file() else {}
        return settings

    def typed(self) -> list[str] | None:
        """Return what was typed for all stages, as the autoencoder records it; None where not.

        Such as `experiment=NAME` or `data.csv=FILE`; no names, parents or settings of a stage.
        """
        path = self.folders["arae"] / "run.json"
        typed: list[str] | None = read_json(path).get("typed") if path.is_file() else None
        if typed is None:
            return None
        own = re.compile(r"[+~]*(name|stage|runs|(arae|parents|trainer|logger|hydra)[./].*)=")
        kept = (one for one in typed if not own.match(one))
        return [re.sub(r"='([^'\\]*)'$", r"=\1", one) for one in kept]  # quoted for Hydra

    def seed(self, stage: str) -> int | None:
        """Return the seed of a stage's training; None where it is not recorded."""
        return self.settings(stage).get("seed")


@dataclass
class Splits:
    """The data of chains, each read once.

    Attributes:
        moved: As in `build_evaluation_data`.
    """

    moved: Mapping[str, str | None]
    _known: dict[str, IUXRayDataModule] = field(default_factory=dict, repr=False)

    def of(self, export: StageExport) -> IUXRayDataModule:
        """Return the data that an export was trained on."""
        info = export.info
        seen = {key: value for key, value in info["data"].items() if key not in UNSEEN}
        key = sha256_json([info["split"], info["vocabulary"]["hash"], info["dims"]["large"], seen])
        if key not in self._known:
            self._known[key] = build_evaluation_data(export, self.moved, "images")
        return self._known[key]

    def images(self, export: StageExport, split: str, size: str) -> tuple[UInt8, Any]:
        """Return pictures and rows of a split at the export's size "small" or "large".

        Raises:
            DataError: The split is empty.
        """
        data = self.of(export)
        images, frame = data.evaluation_images(split, int(export.info["dims"][size]))  # type: ignore[arg-type]
        if not len(frame):
            raise DataError(f"{data.path}: no image is in the split '{split}'; check data.split")
        return images, frame


def targets_of(frame: Any, labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the true labels of rows as places in `labels`."""
    return np.array([labels.index(label) for label in frame["label"]], dtype=np.int64)


@torch.no_grad()
def read_chain(
    chain: Chain, selection: str, splits: Splits, device: str, beams: int = 1
) -> Readings:
    """Return what I and D of a chain say of the test split; needs `arae` and `inverse` alone.

    Args:
        chain: Whose stages are read.
        selection: Epoch of I: "ours_label" or "ours_caption".
        splits: Of all chains.
        device: A torch device.
        beams: Of the search for captions, as in `beam_search`.

    Raises:
        UserError: A stage or the data are missing.
    """
    inverse, arae = chain.export("inverse"), chain.export("arae")
    images, frame = splits.images(inverse, "test", "small")
    net = fold(inverse.net("inverse", selection)).to(device)
    decoder = cast(TextDecoder, arae.net("decoder").to(device))
    representation, vocabulary = Representation.of(inverse.info["dims"]), inverse.vocabulary
    allowed = torch.tensor(vocabulary.label_ids, device=device)
    length = arae.info["data"]["captions"]["max_words"] + 2
    certainties: list[torch.Tensor] = []
    decoded: list[tuple[str, list[str]]] = []
    for start in range(0, len(images), BATCH):
        code = representation.code(net(to_tensor(images[start : start + BATCH]).to(device)))
        certainties.append(decoder.first_logits(code)[:, allowed].softmax(dim=1).double().cpu())
        tokens = decoder.decode(code, length, allowed, beams).tolist()
        decoded += [cast(tuple[str, list[str]], vocabulary.decode(row)) for row in tokens]
    return Readings(
        frame, targets_of(frame, vocabulary.labels), torch.cat(certainties).numpy(), decoded
    )


@torch.no_grad()
def read_classifier(chain: Chain, splits: Splits, device: str) -> Readings:
    """Return what the stage `classifier` of a chain says of the test split.

    Raises:
        UserError: The stage or the data are missing.
    """
    export = chain.export("classifier")
    images, frame = splits.images(export, "test", "large")
    net = cast(Classifier, export.net("classifier").to(device))
    parts = [
        net.classify(to_tensor(images[start : start + PART]).to(device)).double().cpu()
        for start in range(0, len(images), PART)
    ]
    return Readings(
        frame, targets_of(frame, export.vocabulary.labels), torch.cat(parts).numpy(), []
    )


def read_captioner(chain: Chain, splits: Splits, device: str, beams: int) -> Readings:
    """Return what the stage `captioner` of a chain says of the test split; it has no certainties.

    Raises:
        UserError: The stage or the data are missing.
    """
    export = chain.export("captioner")
    images, frame = splits.images(export, "test", "large")
    captioner = Captioner.load(chain.folders["captioner"], device)
    decoded: list[tuple[str, list[str]]] = []
    for start in range(0, len(images), PART):
        decoded += captioner.captions(to_tensor(images[start : start + PART]), beams)
    labels = export.vocabulary.labels
    return Readings(
        frame, targets_of(frame, labels), np.full((len(frame), len(labels)), np.nan), decoded
    )
