"""What speaks for a counterfactual, measured: its validity, its distances, where it changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import torch

from xrj.datamodules.images import UInt8
from xrj.justify.change import CtrChange as CtrChange
from xrj.justify.change import Distance as Distance
from xrj.justify.change import distances, unexplained_share, weigh_hearts
from xrj.justify.mapping import MappingResult
from xrj.justify.protocol import PART, Justifiable
from xrj.justify.reading import Diagnosis
from xrj.justify.wording import percent
from xrj.justify.words import Words, weigh_words, word_warnings
from xrj.measures.agreement import Lexicon

CHANGED = 16
"""Grey levels, of 255, above which a pixel counts as changed."""


@dataclass(frozen=True)
class EvidenceSettings:
    """What is asked of a counterfactual beside its validity.

    Attributes:
        ctr_direction: 1 for labels towards which the cardiothoracic ratio should grow, -1 where it
            should shrink; see `direction`.
        unexplained: Share of an X-ray's variance that its reconstruction may leave unexplained.
        lexicon: What counts as a statement of a label in a caption.
    """

    ctr_direction: Mapping[str, int] = field(
        default_factory=lambda: {"cardiomegaly": 1, "normal": -1, "pleural effusion": -1}
    )
    unexplained: float = 0.25
    lexicon: Lexicon = field(default_factory=Lexicon.of_hearts)

    def direction(self, label: str, target: str) -> int | None:
        """Return how the ratio should change from one label to another.

        Returns:
            1 or -1 where the heart decides between both, and so the change should lie there; 0
            where it should stay, since both have hearts of one kind; None where nothing is known.
        """
        asked = self.ctr_direction.get(target)
        return 0 if asked is not None and asked == self.ctr_direction.get(label) else asked


@dataclass(frozen=True)
class Vote:
    """What one judge says of a picture.

    Attributes:
        label: The most certain label.
        certainty: Of each label; they sum to 1.
        agrees: Whether the label is the one expected: the alternative diagnosis, or, for a vote on
            the original, the diagnosis.
    """

    label: str
    certainty: dict[str, float]
    agrees: bool


@dataclass(frozen=True)
class Evidence:
    """What speaks for or against one counterfactual.

    Attributes:
        unlike: What the X-ray looks like where it is unlike those that the model learned from.
        frontal: Whether it shows a heart between two lungs; None where it is too small to say.
        decoder: Decoded from r'; agrees by construction where the mapping converged.
        reencoded: Decoded from I(G(r')).
        independent: A trained classifier on G(r') of stage II; None without one.
        on_xray: Decoded from I of the alternative on the X-ray.
        on_xray_independent: The classifier on it.
        to_original: G(r') of stage II against the X-ray.
        to_reconstruction: G(r') against G(r), both of stage II.
        embedding_distance: Euclidean, between the codes of r and r' on the decoder's scale.
        noise_distance: Euclidean, between their noise parts.
        heart_share: Share of |G(r') - G(r)| inside the heart's region and its border; None where
            the heart cannot be found.
        changed_share: Share of pixels that change by more than `CHANGED` grey levels.
        ctr: None where the pictures are too small to measure.
        words: Whether both captions say what their diagnoses say.
        unexplained: Share of the X-ray's variance that G(r) leaves unexplained.
        allowed: Share that it may.
        warnings: A sentence for each check that failed.
    """

    unlike: str | None
    frontal: bool | None
    decoder: Vote
    reencoded: Vote
    independent: Vote | None
    on_xray: Vote
    on_xray_independent: Vote | None
    to_original: Distance
    to_reconstruction: Distance
    embedding_distance: float
    noise_distance: float
    heart_share: float | None
    changed_share: float
    ctr: CtrChange | None
    words: Words
    unexplained: float
    allowed: float
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        votes = {
            "decoder": self.decoder,
            "reencoded": self.reencoded,
            "independent": self.independent,
            "on_xray": self.on_xray,
            "on_xray_independent": self.on_xray_independent,
        }
        return {
            "unlike": self.unlike,
            "frontal": self.frontal,
            "validity": {judge: vote and vote.agrees for judge, vote in votes.items()},
            "certainty": {judge: vote and vote.certainty for judge, vote in votes.items()},
            "distance": {
                "original": asdict(self.to_original),
                "reconstruction": asdict(self.to_reconstruction),
                "embedding": self.embedding_distance,
                "noise": self.noise_distance,
            },
            "change": {"heart_share": self.heart_share, "changed_share": self.changed_share},
            "ctr": self.ctr and self.ctr.to_json(),
            "captions": asdict(self.words),
            "reconstruction": {"unexplained": self.unexplained, "allowed": self.allowed},
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Pictures:
    """What is weighed, of B X-rays; (B, H, W), 0 to 255, at the larger size unless said.

    Attributes:
        originals: The X-rays as the model sees them.
        reconstructions: G(r).
        alternatives: G(r').
        small: G(r') at the smaller size, (B, h, w).
        on_xrays: The alternatives on the X-rays, (H, W) each, of the X-rays' own sizes.
    """

    originals: UInt8
    reconstructions: UInt8
    alternatives: UInt8
    small: UInt8
    on_xrays: Sequence[UInt8]


def gather_evidence(
    model: Justifiable,
    r: torch.Tensor,
    mappings: Sequence[MappingResult],
    pictures: Pictures,
    votes: Sequence[Vote | None],
    unlike: Sequence[str | None],
    said: Sequence[tuple[Diagnosis, Diagnosis]],
    settings: EvidenceSettings,
) -> list[Evidence]:
    """Check counterfactuals on the pictures that are shown.

    Args:
        model: That made them.
        r: Representations of the X-rays, (B, v + n).
        mappings: Of each r.
        pictures: That are shown.
        votes: The independent classifier's on the originals, each None without one.
        unlike: How each X-ray is unlike those that the model learned from.
        said: Diagnosis and caption of each r and r'.
        settings: What is asked.
    """
    targets = [model.labels[mapping.target] for mapping in mappings]
    mapped = torch.cat([mapping.r for mapping in mappings])
    with torch.no_grad():
        decoder = model.label_logits(mapped).softmax(dim=1)
        again = model.encode(model.to_images(pictures.small))
        reencoded = model.label_logits(again).softmax(dim=1)
        moves = [
            (after - before).norm(dim=1).tolist()
            for before, after in zip(model.split(r), model.split(mapped), strict=True)
        ]
    independent = classify(model, pictures.alternatives)
    on_xray, on_xray_independent = read_pictures(model, pictures.on_xrays)
    to_original = distances(pictures.originals, pictures.alternatives)
    to_reconstruction = distances(pictures.reconstructions, pictures.alternatives)
    unexplained = unexplained_share(pictures.originals, pictures.reconstructions)
    directions = [
        settings.direction(found.diagnosis, target)
        for (found, _), target in zip(said, targets, strict=True)
    ]
    hearts = weigh_hearts(
        pictures.originals,
        pictures.reconstructions,
        pictures.alternatives,
        directions,
    )
    found = []
    for row, (mapping, target) in enumerate(zip(mappings, targets, strict=True)):
        before, after = pictures.reconstructions[row], pictures.alternatives[row]
        evidence = Evidence(
            unlike=unlike[row],
            frontal=hearts[row].frontal,
            decoder=take_vote(model.labels, decoder[row], target),
            reencoded=take_vote(model.labels, reencoded[row], target),
            independent=None
            if independent is None
            else take_vote(model.labels, independent[row], target),
            on_xray=take_vote(model.labels, on_xray[row], target),
            on_xray_independent=None
            if on_xray_independent is None
            else take_vote(model.labels, on_xray_independent[row], target),
            to_original=to_original[row],
            to_reconstruction=to_reconstruction[row],
            embedding_distance=moves[0][row],
            noise_distance=moves[1][row],
            heart_share=hearts[row].share,
            changed_share=float((cv2.absdiff(before, after) > CHANGED).mean()),
            ctr=hearts[row].ctr,
            words=weigh_words(*said[row], target, model.labels, settings.lexicon),
            unexplained=float(unexplained[row]),
            allowed=settings.unexplained,
            warnings=(),
        )
        reasons = [
            *_warnings(evidence, mapping, target, votes[row], directions[row]),
            *word_warnings(evidence.words, said[row][0].diagnosis, target),
        ]
        found.append(replace(evidence, warnings=tuple(reasons)))
    return found


@torch.no_grad()
def classify(model: Justifiable, pictures: UInt8) -> torch.Tensor | None:
    """Return the independent classifier's probabilities (B, L) for pictures (B, H, W)."""
    parts = [model.classify(part) for part in model.to_images(pictures).split(PART)]
    certain = [part for part in parts if part is not None]
    return torch.cat(certain) if certain else None


@torch.no_grad()
def read_pictures(
    model: Justifiable, pictures: Sequence[UInt8]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what a model and its classifier say of pictures of any sizes, as of new X-rays.

    Returns:
        Probabilities of the labels, (B, L) each; None without a classifier.
    """
    small, large = (
        np.stack([model.view(picture, size) for picture in pictures]) for size in model.sizes
    )
    read = model.label_logits(model.encode(model.to_images(small))).softmax(dim=1)
    return read, classify(model, large)


def take_vote(labels: Sequence[str], probabilities: torch.Tensor, expected: str) -> Vote:
    """Return the vote of one row of probabilities, (L,)."""
    certainty = dict(zip(labels, probabilities.tolist(), strict=True))
    label = max(labels, key=lambda name: certainty[name])
    return Vote(label, certainty, label == expected)


def _warnings(
    evidence: Evidence,
    mapping: MappingResult,
    target: str,
    vote: Vote | None,
    direction: int | None,
) -> Iterator[str]:
    """Yield a sentence for each check that failed."""
    strange = []
    if evidence.frontal is False:
        strange.append("A frontal chest X-ray shows a heart between two lungs; none is found here.")
    if evidence.unlike is not None:
        look = "" if evidence.unlike == "unlike" else f"; it seems to be {evidence.unlike}"
        strange.append(f"This X-ray is unlike those that the network learned from{look}.")
    if strange:
        yield f"{' '.join(strange)} Nothing that the network says of it can be relied on."
    if not (mapping.converged and evidence.decoder.agrees):
        yield (
            f"The search found no picture that the network reads as {target}; this one comes "
            "closest."
        )
    for judge, redrawn, on_xray in (
        ("Read anew by the network", evidence.reencoded, evidence.on_xray),
        ("Read by an independent classifier", evidence.independent, evidence.on_xray_independent),
    ):
        pictures = {"redrawn": redrawn, "on the X-ray": on_xray}
        failed = {name: one for name, one in pictures.items() if one and not one.agrees}
        if failed:
            seen = " and ".join(sorted({one.label for one in failed.values()}))
            yield f"{judge}, the alternative {' and '.join(failed)} is {seen}, not {target}."
    if vote is not None and not vote.agrees:
        yield f"An independent classifier diagnoses this X-ray as {vote.label}."
    ctr = evidence.ctr
    if ctr is not None and ctr.towards is False and ctr.reconstruction and ctr.alternative:
        asked = "change" if direction else "stay"
        yield (
            f"The heart does not {asked} as {target} says: its share of the chest's width goes "
            f"from {ctr.reconstruction.ctr:.2f} to {ctr.alternative.ctr:.2f}."
        )
    share = evidence.heart_share
    if direction and share is not None and share < 0.5:
        yield f"Most of the change, {percent(1 - share)}, lies outside the heart."
    if evidence.unexplained > evidence.allowed:
        yield (
            "The reconstruction is far from the X-ray, so what changes may not be this patient's: "
            f"{percent(evidence.unexplained)} of its variance is missing."
        )
