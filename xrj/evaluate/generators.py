"""Generators of stage I under independent critics: table 2 and the noise sweep (section 4.2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xrj.build import noise_encoder
from xrj.datamodules.images import to_tensor
from xrj.datamodules.vocabulary import Vocabulary
from xrj.evaluate.chains import Chain, Splits
from xrj.evaluate.critics import SPLITS, CriticSettings, Estimate, Pairs, estimate
from xrj.evaluate.results import Column
from xrj.evaluate.runs import Run
from xrj.handover import StageExport
from xrj.measures.images import sliced_wasserstein
from xrj.nets.folding import fold
from xrj.nets.noise import NoiseEncoder
from xrj.nets.representation import Representation
from xrj.nets.zoo import Classifier
from xrj.seeding import numpy_rng, torch_generator

TRAIN = 256
"""Training X-rays that critics are read on; they are read there for comparison alone."""
PART = 128
Score = Callable[[Tensor], Tensor]
FLOOR, CEILING = "Floor: real against real", "Ceiling: drawn from shuffled captions"
KINDS = ("wasserstein", "alignment")
COLUMNS = (
    Column("runs", "Runs", 0),
    Column("wasserstein", "Wasserstein estimate, test", 2, better="low"),
    Column("wasserstein_deviation", "σ over runs", 2),
    Column("wasserstein_val", "validation", 2),
    Column("wasserstein_train", "training", 2),
    Column("alignment", "Alignment estimate, test", 2, better="low"),
    Column("alignment_deviation", "σ over runs", 2),
    Column("alignment_val", "validation", 2),
    Column("alignment_train", "training", 2),
    Column("mismatch", "Gap to wrong captions", 2, better="high"),
    Column("sliced", "Sliced Wasserstein, no critic", better="low", least=0),
    Column("label_seen", "Show their label", 1, percent=True, better="high"),
    Column("alike", "Codes of one label, cosine", 2, least=-1, most=1),
)
DEVIATIONS = {kind: f"{kind}_deviation" for kind in KINDS}
KEYS = tuple(column.key for column in COLUMNS[1:] if column.key not in DEVIATIONS.values())


@dataclass(frozen=True)
class Captioned:
    """A split for the critics: X-rays with a caption each.

    Attributes:
        frame: Rows of the data's table.
        images: (N, C, h, w), in [-1, 1].
        tokens: The first caption with its label, (N, T).
        codes: Of the frozen ARAE, on a scale of variance 1, (N, v): all rivals' condition.
    """

    frame: pd.DataFrame
    images: Tensor
    tokens: Tensor
    codes: Tensor


@dataclass(frozen=True)
class Generator:
    """A text-to-image GAN of stage I: whose E, whose G, and how r is put together.

    Attributes:
        encoder: E.
        net: G.
        representation: How r is put together.
        reader: Of noise off X-rays, as which noise is drawn; None: it is drawn from N(0, 1).
    """

    encoder: nn.Module
    net: nn.Module
    representation: Representation
    reader: NoiseEncoder | None

    @classmethod
    def of(cls, export: StageExport, encoder: nn.Module, device: str) -> "Generator":
        """Take G of an export."""
        net = fold(export.net("generator")).to(device)
        reader = noise_encoder(export)
        reader = reader if reader is None else reader.to(device)
        return cls(encoder, net, Representation.of(export.info["dims"]), reader)

    @torch.no_grad()
    def draw(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Return X-rays (B, C, h, w) of captions, with fresh noise."""
        codes = torch.cat([self.encoder(part) for part in tokens.split(PART)])
        noise = self.representation.sample_noise(len(tokens), tokens.device, generator)
        if self.reader is not None:
            noise = self.reader.spread(noise)
        r = self.representation.join(codes, noise)
        return torch.cat([self.net(part) for part in r.split(PART)])

    def draw_all(self, data: Mapping[str, Captioned], draws: int, seed: int) -> dict[str, Tensor]:
        """Return X-rays of each split's captions, several times, (K, N, C, h, w)."""
        found = {}
        for name, split in data.items():
            generator = torch_generator(seed, "draws", name)
            drawn = [self.draw(split.tokens, generator) for _ in range(draws)]
            found[name] = torch.stack(drawn)
        return found


def captioned(
    chain: Chain, splits: Splits, encoder: nn.Module, device: str
) -> dict[str, Captioned]:
    """Return the splits of a chain with the codes of its text encoder."""
    export = chain.export("arae")
    found = {}
    for split in SPLITS:
        pictures, frame = splits.images(export, split, "small")
        if split == "train" and len(frame) > TRAIN:
            rows = np.sort(
                numpy_rng(0, "critics", "train").choice(len(frame), TRAIN, replace=False)
            )
            pictures, frame = pictures[rows], frame.iloc[rows]
        tokens = _tokens(frame, export.vocabulary).to(device)
        with torch.no_grad():
            codes: Tensor = torch.cat([encoder(part) for part in tokens.split(256)])
        images = to_tensor(pictures).to(device)
        found[split] = Captioned(frame, images, tokens, codes * codes.shape[1] ** 0.5)
    return found


def _tokens(frame: pd.DataFrame, vocabulary: Vocabulary) -> Tensor:
    rows = [
        torch.tensor(vocabulary.encode(label, captions[0]))
        for label, captions in frame[["label", "captions"]].itertuples(index=False)
    ]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


def estimates(
    data: Mapping[str, Captioned],
    drawn: Mapping[str, Tensor],
    settings: CriticSettings,
    seed: int,
) -> tuple[dict[str, Estimate], float]:
    """Return both estimates of a generator, and its gap to wrong captions under the joint critic.

    The gap is E f(G(e, z), e) - E f(G(e, z), e') with e' the code of a caption of another label: 0
    where pictures do not depend on what their captions say.

    Args:
        data: The splits.
        drawn: X-rays of their captions, (K, N, C, h, w).
        settings: Of the critics.
        seed: Of the critics.
    """
    both = {kind: _estimate(data, drawn, kind, settings, seed) for kind in KINDS}
    found = {kind: one for kind, (one, _) in both.items()}
    labels, rng = data["test"].frame["label"].to_numpy(), numpy_rng(seed, "wrong captions")
    pairs = [(row, np.flatnonzero(labels != label)) for row, label in enumerate(labels)]
    chosen = [(row, int(rng.choice(others))) for row, others in pairs if len(others)]
    if not chosen:
        return found, float("nan")
    rows, wrong = (torch.tensor(column) for column in zip(*chosen, strict=True))
    codes, (_, score) = data["test"].codes, both["alignment"]
    pictures = drawn["test"][0][rows].flatten(1)
    right = score(torch.cat([pictures, codes[rows]], dim=1))
    return found, float((right - score(torch.cat([pictures, codes[wrong]], dim=1))).mean())


def _estimate(
    data: Mapping[str, Captioned],
    drawn: Mapping[str, Tensor],
    kind: str,
    settings: CriticSettings,
    seed: int,
) -> tuple[Estimate, Score]:
    pairs = {
        name: Pairs(
            _pairs(split.images, split.codes, kind),
            torch.stack([_pairs(images, split.codes, kind) for images in drawn[name]]),
        )
        for name, split in data.items()
    }
    return _fit(data, pairs, kind, settings, seed)


def floor(
    data: Mapping[str, Captioned], kind: str, settings: CriticSettings, seed: int
) -> Estimate:
    """Return the estimate between two halves of the real X-rays of each split."""
    halves = {}
    for name, split in data.items():
        whole = _pairs(split.images, split.codes, kind)
        first, second = _halves(len(whole), seed, name)
        rng = torch_generator(seed, "rivals", name)
        rows = torch.randint(len(second), (settings.draws, len(first)), generator=rng)
        halves[name] = Pairs(whole[first], whole[second][rows])
    return _fit(data, halves, kind, settings, seed)[0]


def _halves(n: int, seed: int, name: str) -> tuple[Tensor, Tensor]:
    order = torch.randperm(n, generator=torch_generator(seed, "halves", name))
    first, second = order.chunk(2) if n > 1 else (order, order)
    return first, second


def _pairs(images: Tensor, codes: Tensor, kind: str) -> Tensor:
    pixels = images.flatten(1)
    return torch.cat([pixels, codes], dim=1) if kind == "alignment" else pixels


def _fit(
    data: Mapping[str, Captioned],
    pairs: Mapping[str, Pairs],
    kind: str,
    settings: CriticSettings,
    seed: int,
) -> tuple[Estimate, Score]:
    images, codes = data["val"].images, data["val"].codes
    condition = codes.shape[1] if kind == "alignment" else 0
    return estimate(pairs, condition, (images.shape[1], images.shape[2]), settings, seed)


@dataclass(frozen=True)
class Judged:
    """What was found of a generator of stage I.

    Attributes:
        name: Of the chain.
        split: Hash of its split.
        seed: Of its training; None where it is not recorded.
        patients: Of each test X-ray.
        found: By a critic for each kind of estimate.
        constant: Measures that are as they are, without an interval over patients.
    """

    name: str
    split: str
    seed: int | None
    patients: Sequence[str]
    found: Mapping[str, Estimate]
    constant: Mapping[str, float]

    @property
    def run(self) -> Run:
        """The run, whose test estimates can be resampled; the others are as they are."""
        elsewhere = {
            f"{kind}_{split}": one.gaps[split]
            for kind, one in self.found.items()
            for split in ("val", "train")
        }
        fixed = dict.fromkeys(KEYS, float("nan")) | dict(self.constant)
        fixed |= {key: float(gaps.mean()) for key, gaps in elsewhere.items()}
        gaps = {kind: one.gaps["test"] for kind, one in self.found.items()}

        def scores(rows: NDArray[np.int64]) -> dict[str, float]:
            return fixed | {kind: float(values[rows].mean()) for kind, values in gaps.items()}

        counts = {key: len(values) for key, values in elsewhere.items()}
        return Run(self.name, self.split, self.seed, self.patients, scores, counts)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; null for what is undefined."""
        known = {key: value if np.isfinite(value) else None for key, value in self.constant.items()}
        found = {kind: one.to_dict() for kind, one in self.found.items()}
        return {**vars(self), "patients": list(self.patients), "found": found, "constant": known}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Judged":
        """Read the JSON form."""
        found = {kind: Estimate.from_dict(one) for kind, one in value["found"].items()}
        constant = {
            key: float("nan") if one is None else one for key, one in value["constant"].items()
        }
        return cls(**{**value, "found": found, "constant": constant})


def judge(
    chain: Chain,
    stage: str,
    splits: Splits,
    settings: CriticSettings,
    seed: int,
    device: str,
    classifier: StageExport | None = None,
) -> Judged:
    """Estimate a chain's stage I, "gan1", or its rival "embedding_gan1".

    Args:
        chain: Whose stage it is.
        stage: Which.
        splits: Of all chains.
        settings: Of the critics.
        seed: Of the draws and the critics.
        device: A torch device.
        classifier: That looks for the label in generated X-rays; None: nobody does.

    Raises:
        UserError: A stage or the data are missing.
    """
    export, arae = chain.export(stage), chain.export("arae")
    encoder = arae.net("encoder").to(device)
    data = captioned(chain, splits, encoder, device)
    own = encoder if stage == "gan1" else export.net("encoder").to(device)
    drawn = Generator.of(export, own, device).draw_all(data, settings.draws, seed)
    found, mismatch = estimates(data, drawn, settings, seed)
    test = data["test"]
    sliced = sliced_wasserstein(drawn["test"][0], test.images, seed=seed)
    labels = test.frame["label"].to_numpy()
    with torch.no_grad():
        codes = own(test.tokens)
    constant = {"mismatch": mismatch, "sliced": sliced, "alike": codes_alike(codes, labels)}
    if classifier is not None:
        constant["label_seen"] = label_seen(classifier, drawn["test"][0], labels)
    patients = list(test.frame["patient_id"])
    seen = (chain.name, export.info["split"], chain.seed(stage), patients)
    return Judged(*seen, found, constant)


def codes_alike(codes: Tensor, labels: NDArray[Any]) -> float:
    """Return the mean cosine between codes of one label: 1 where they say nothing else.

    Args:
        codes: Of captions, (N, v).
        labels: Of each, (N,). They count alike; one with a single caption does not.
    """
    codes = nn.functional.normalize(codes, dim=1)
    means = []
    for label in np.unique(labels):
        own = codes[torch.from_numpy(labels == label)]
        if (n := len(own)) > 1:
            means.append(float((own.sum(dim=0).square().sum() - n) / (n * (n - 1))))
    return float(np.mean(means)) if means else float("nan")


@torch.no_grad()
def label_seen(classifier: StageExport, pictures: Tensor, labels: NDArray[Any]) -> float:
    """Return the share of pictures in which a classifier finds their label.

    Args:
        classifier: Export of the stage.
        pictures: (N, C, h, w), in [-1, 1].
        labels: Of the captions that they were drawn from, (N,). Labels count alike.
    """
    net = cast(Classifier, classifier.net("classifier").to(pictures.device))
    votes = torch.cat([net.classify(part) for part in pictures.split(PART)]).argmax(dim=1).cpu()
    seen = np.array(classifier.vocabulary.labels)[votes.numpy()] == labels
    return float(np.mean([seen[labels == label].mean() for label in np.unique(labels)]))


def judge_ends(
    chain: Chain, splits: Splits, settings: CriticSettings, seed: int, device: str
) -> dict[str, Judged]:
    """Return the floor and the ceiling of table 2 for the split of a chain."""
    encoder = chain.export("arae").net("encoder").to(device)
    data = captioned(chain, splits, encoder, device)
    generator = Generator.of(chain.export("gan1"), encoder, device)
    test, split = data["test"], chain.export("gan1").info["split"]
    lows = {kind: floor(data, kind, settings, seed) for kind in KINDS}
    first, _ = _halves(len(test.images), seed, "test")
    shuffled = {
        name: drawn[:, torch.randperm(drawn.shape[1], generator=torch_generator(seed, name))]
        for name, drawn in generator.draw_all(data, settings.draws, seed).items()
    }
    high, _ = _estimate(data, shuffled, "alignment", settings, seed)
    origin, patients = (chain.name, split, chain.seed("gan1")), test.frame["patient_id"]
    return {
        FLOOR: Judged(*origin, list(patients.iloc[first.tolist()]), lows, {}),
        CEILING: Judged(*origin, list(patients), {"alignment": high}, {}),
    }
