"""What speaks for a counterfactual, measured: its validity, its distances, where it changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import torch

from xrj.datamodules.images import UInt8
from xrj.justify.change import CtrChange as CtrChange
from xrj.justify.change import Distance as Distance
from xrj.justify.change import distances, unexplained_share, weigh_hearts
from xrj.justify.mapping import MappingResult
from xrj.justify.model import PART, Justifiable

CHANGED = 16
"""Grey levels, of 255, above which a pixel counts as changed."""


@dataclass(frozen=True)
class EvidenceSettings:
    """What is asked of a counterfactual beside its validity.

    Attributes:
        ctr_direction: 1 for labels towards which the cardiothoracic ratio should grow, -1 where it
            should shrink; such labels are decided by the heart, and so the change should lie there.
        unexplained: Share of an X-ray's variance that its reconstruction may leave unexplained.
    """

    ctr_direction: Mapping[str, int]
    unexplained: float


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
        decoder: Decoded from r'; agrees by construction where the mapping converged.
        reencoded: Decoded from I(G(r')).
        independent: A trained classifier on G(r') of stage II; None without one.
        to_original: G(r') of stage II against the X-ray.
        to_reconstruction: G(r') against G(r), both of stage II.
        embedding_distance: Euclidean, between the codes of r and r' on the decoder's scale.
        noise_distance: Euclidean, between their noise parts.
        heart_share: Share of |G(r') - G(r)| inside the heart's region and its border; None where
            the heart cannot be found.
        changed_share: Share of pixels that change by more than `CHANGED` grey levels.
        ctr: None where the pictures are too small to measure.
        unexplained: Share of the X-ray's variance that G(r) leaves unexplained.
        allowed: Share that it may.
        warnings: A sentence for each check that failed.
    """

    decoder: Vote
    reencoded: Vote
    independent: Vote | None
    to_original: Distance
    to_reconstruction: Distance
    embedding_distance: float
    noise_distance: float
    heart_share: float | None
    changed_share: float
    ctr: CtrChange | None
    unexplained: float
    allowed: float
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        independent = self.independent
        return {
            "validity": {
                "decoder": self.decoder.agrees,
                "reencoded": self.reencoded.agrees,
                "independent": independent and independent.agrees,
            },
            "certainty": {
                "decoder": self.decoder.certainty,
                "reencoded": self.reencoded.certainty,
                "independent": independent and independent.certainty,
            },
            "distance": {
                "original": asdict(self.to_original),
                "reconstruction": asdict(self.to_reconstruction),
                "embedding": self.embedding_distance,
                "noise": self.noise_distance,
            },
            "change": {"heart_share": self.heart_share, "changed_share": self.changed_share},
            "ctr": self.ctr and self.ctr.to_json(),
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
    """

    originals: UInt8
    reconstructions: UInt8
    alternatives: UInt8
    small: UInt8


def gather_evidence(
    model: Justifiable,
    r: torch.Tensor,
    mappings: Sequence[MappingResult],
    pictures: Pictures,
    votes: Sequence[Vote | None],
    settings: EvidenceSettings,
) -> list[Evidence]:
    """Check counterfactuals on the pictures that are shown.

    Args:
        model: That made them.
        r: Representations of the X-rays, (B, v + n).
        mappings: Of each r.
        pictures: That are shown.
        votes: The independent classifier's on the originals, each None without one.
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
    to_original = distances(pictures.originals, pictures.alternatives)
    to_reconstruction = distances(pictures.reconstructions, pictures.alternatives)
    unexplained = unexplained_share(pictures.originals, pictures.reconstructions)
    hearts = weigh_hearts(
        pictures.originals,
        pictures.reconstructions,
        pictures.alternatives,
        [settings.ctr_direction.get(target) for target in targets],
    )
    found = []
    for row, (mapping, target) in enumerate(zip(mappings, targets, strict=True)):
        before, after = pictures.reconstructions[row], pictures.alternatives[row]
        evidence = Evidence(
            decoder=take_vote(model.labels, decoder[row], target),
            reencoded=take_vote(model.labels, reencoded[row], target),
            independent=None
            if independent is None
            else take_vote(model.labels, independent[row], target),
            to_original=to_original[row],
            to_reconstruction=to_reconstruction[row],
            embedding_distance=moves[0][row],
            noise_distance=moves[1][row],
            heart_share=hearts[row].share,
            changed_share=float((cv2.absdiff(before, after) > CHANGED).mean()),
            ctr=hearts[row].ctr,
            unexplained=float(unexplained[row]),
            allowed=settings.unexplained,
            warnings=(),
        )
        reasons = _warnings(evidence, mapping, target, votes[row], settings)
        found.append(replace(evidence, warnings=tuple(reasons)))
    return found


@torch.no_grad()
def classify(model: Justifiable, pictures: UInt8) -> torch.Tensor | None:
    """Return the independent classifier's probabilities (B, L) for pictures (B, H, W)."""
    parts = [model.classify(part) for part in model.to_images(pictures).split(PART)]
    certain = [part for part in parts if part is not None]
    return torch.cat(certain) if certain else None


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
    settings: EvidenceSettings,
) -> Iterator[str]:
    """Yield a sentence for each check that failed."""
    if not (mapping.converged and evidence.decoder.agrees):
        yield (
            f"The search found no picture that the network reads as {target}; this one comes "
            "closest."
        )
    if not evidence.reencoded.agrees:
        yield (
            f"Read anew by the network, the alternative picture is {evidence.reencoded.label}, "
            f"not {target}."
        )
    if evidence.independent is not None and not evidence.independent.agrees:
        yield (
            f"An independent classifier reads the alternative picture as "
            f"{evidence.independent.label}, not {target}."
        )
    if vote is not None and not vote.agrees:
        yield f"An independent classifier diagnoses this X-ray as {vote.label}."
    ctr = evidence.ctr
    if ctr is not None and ctr.towards is False and ctr.reconstruction and ctr.alternative:
        yield (
            f"The heart does not change as {target} says: its share of the chest's width goes from "
            f"{ctr.reconstruction.ctr:.2f} to {ctr.alternative.ctr:.2f}."
        )
    share = evidence.heart_share
    if target in settings.ctr_direction and share is not None and share < 0.5:
        yield f"Most of the change, {100 * (1 - share):.0f} %, lies outside the heart."
    if evidence.unexplained > evidence.allowed:
        yield (
            "The reconstruction is far from the X-ray, so what changes may not be this patient's: "
            f"{100 * evidence.unexplained:.0f} % of its variance is missing."
        )
