"""What justifications were worth, over many: reconstruction, mapping, validity, change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xrj.datamodules.images import UInt8
from xrj.evaluate.figure import Figure
from xrj.justify.change import Distance, distances
from xrj.justify.justification import Justification


@dataclass(frozen=True)
class RefinementSummary:
    """The reconstruction before and after the refinement of r.

    Attributes:
        error_before: Mean square error in [-1, 1], at the size of stage I.
        error_after: Of the refined one.
        ssim_before: Structural similarity to the X-ray, at the size of stage II.
        ssim_after: Of the refined one.
        diagnosis_unchanged: Share of X-rays whose diagnosis is that of I(x).
        caption_unchanged: Share of X-rays whose caption is that of I(x).
        seconds: Mean share of the wall-clock time.
    """

    error_before: Figure
    error_after: Figure
    ssim_before: Figure
    ssim_after: Figure
    diagnosis_unchanged: Figure
    caption_unchanged: Figure
    seconds: Figure


@dataclass(frozen=True)
class MappingSummary:
    """Of the test X-rays that were mapped.

    Attributes:
        success: Share that converged.
        tries_mean: Starts a mapping.
        tries_max: Most starts.
        evaluations: Mean number of evaluations of L_M and its gradient.
        seconds: Mean wall-clock time.
    """

    success: Figure
    tries_mean: Figure
    tries_max: Figure
    evaluations: Figure
    seconds: Figure


@dataclass(frozen=True)
class ValiditySummary:
    """Shares of counterfactuals that read as the alternative diagnosis.

    Attributes:
        decoder: Decoded from r'.
        reencoded: Decoded from I(G(r')).
        independent: By the independent classifier; None without one.
        on_xray: Read anew from the X-ray with the alternative drawn on it.
        on_xray_independent: The classifier on it; None without one.
        redrawn: Mean share of the X-ray that is drawn for it.
        same_diagnosis: X-rays in which the classifier sees the diagnosis that is justified; None
            without one.
        warned: Justifications with at least one warning.
    """

    decoder: Figure
    reencoded: Figure
    independent: Figure | None
    on_xray: Figure
    on_xray_independent: Figure | None
    redrawn: Figure
    same_diagnosis: Figure | None
    warned: Figure


@dataclass(frozen=True)
class DistanceSummary:
    """Mean distances; see `justify.evidence.Distance`.

    Attributes:
        original_l1: Of the counterfactual to the X-ray.
        original_l2: See `original_l1`.
        original_ssim: See `original_l1`.
        reconstruction_l1: Of the counterfactual to the reconstruction.
        reconstruction_l2: See `reconstruction_l1`.
        reconstruction_ssim: See `reconstruction_l1`.
        embedding: Between the codes of r and r'.
        noise: Between their noise parts.
    """

    original_l1: Figure
    original_l2: Figure
    original_ssim: Figure
    reconstruction_l1: Figure
    reconstruction_l2: Figure
    reconstruction_ssim: Figure
    embedding: Figure
    noise: Figure


@dataclass(frozen=True)
class ChangeSummary:
    """Where the counterfactual differs from the reconstruction.

    Attributes:
        heart_share: Mean share of the change inside the heart's region, where it can be found
            and should not stay.
        changed_share: Mean share of pixels that change visibly.
    """

    heart_share: Figure
    changed_share: Figure


@dataclass(frozen=True)
class WordsSummary:
    """The alternatives' captions; see `justify.words.Words`.

    Attributes:
        agree: Share that states the alternative diagnosis, of those that state one.
        contradict: Share that states another, or affirms and denies the same.
        silent: Share that states none.
        repeated: Share that is the first caption, word for word; measured for any labels, where the
            others are None if the lexicon does not know them.
        distinct: Number of different captions.
    """

    agree: Figure | None
    contradict: Figure | None
    silent: Figure | None
    repeated: Figure
    distinct: Figure


@dataclass(frozen=True)
class CtrSummary:
    """The cardiothoracic ratio measured in the generated pictures.

    Attributes:
        towards: Share whose CTR moves as the alternative diagnosis says, among mapped X-rays where
            it can be measured with confidence in both pictures.
        change: Mean change in that direction.
        measured: Share of those that were mapped in which it can be.
        meter_error: Mean absolute error of the meter on the originals of the test split, where the
            data know the truth.
    """

    towards: Figure
    change: Figure
    measured: Figure
    meter_error: Figure | None


def summarise_refinement(
    justifications: Sequence[Justification], one_shot: Sequence[tuple[str, str]]
) -> RefinementSummary | None:
    """Compare reconstructions with and without the refinement.

    Args:
        justifications: Of X-rays.
        one_shot: Diagnosis and caption of I(x), for each of them.

    Returns:
        None where nothing was refined.
    """
    refinements = [one.refinement for one in justifications if one.refinement is not None]
    before = [one.one_shot for one in justifications if one.one_shot is not None]
    if not refinements or not before:
        return None
    originals = [one.original for one in justifications]
    return RefinementSummary(
        error_before=Figure.mean([one.error_before for one in refinements]),
        error_after=Figure.mean([one.error_after for one in refinements]),
        ssim_before=Figure.mean(_similarity(originals, before)),
        ssim_after=Figure.mean(_similarity(originals, [one.found.large for one in justifications])),
        diagnosis_unchanged=Figure.share_of(
            [
                one.found.diagnosis == diagnosis
                for one, (diagnosis, _) in zip(justifications, one_shot, strict=True)
            ]
        ),
        caption_unchanged=Figure.share_of(
            [
                one.found.caption == caption
                for one, (_, caption) in zip(justifications, one_shot, strict=True)
            ]
        ),
        seconds=Figure.mean([one.seconds for one in refinements]),
    )


def _similarity(pictures: Sequence[UInt8], others: Sequence[UInt8]) -> list[float]:
    return [
        distances(picture[None], other[None])[0].ssim
        for picture, other in zip(pictures, others, strict=True)
    ]


def summarise_mapping(justifications: Sequence[Justification]) -> MappingSummary:
    """Count what the mapping reached and what it took."""
    mappings = [justification.mapping for justification in justifications]
    tries = [float(mapping.tries) for mapping in mappings]
    return MappingSummary(
        success=Figure.share_of([mapping.converged for mapping in mappings]),
        tries_mean=Figure.mean(tries),
        tries_max=Figure(max(tries, default=math.nan), len(tries)),
        evaluations=Figure.mean([float(mapping.evaluations) for mapping in mappings]),
        seconds=Figure.mean([mapping.seconds for mapping in mappings]),
    )


def summarise_validity(justifications: Sequence[Justification]) -> ValiditySummary:
    """Count the judges that see the alternative diagnosis."""
    evidence = [justification.evidence for justification in justifications]
    independent = [one.independent.agrees for one in evidence if one.independent is not None]
    drawn = [one.on_xray_independent for one in evidence]
    convinced = [vote.agrees for vote in drawn if vote is not None]
    second = [one.found_by_classifier for one in justifications]
    same = [vote.agrees for vote in second if vote is not None]
    return ValiditySummary(
        decoder=Figure.share_of([one.decoder.agrees for one in evidence]),
        reencoded=Figure.share_of([one.reencoded.agrees for one in evidence]),
        independent=Figure.share_of(independent) if independent else None,
        on_xray=Figure.share_of([one.on_xray.agrees for one in evidence]),
        on_xray_independent=Figure.share_of(convinced) if convinced else None,
        redrawn=Figure.mean([one.on_xray.redrawn for one in justifications]),
        same_diagnosis=Figure.share_of(same) if same else None,
        warned=Figure.share_of([bool(one.warnings) for one in evidence]),
    )


def summarise_distances(justifications: Sequence[Justification]) -> DistanceSummary:
    """Average how far counterfactuals lie from X-rays and reconstructions."""
    evidence = [justification.evidence for justification in justifications]
    original: list[Distance] = [one.to_original for one in evidence]
    reconstruction: list[Distance] = [one.to_reconstruction for one in evidence]
    return DistanceSummary(
        original_l1=Figure.mean([one.l1 for one in original]),
        original_l2=Figure.mean([one.l2 for one in original]),
        original_ssim=Figure.mean([one.ssim for one in original]),
        reconstruction_l1=Figure.mean([one.l1 for one in reconstruction]),
        reconstruction_l2=Figure.mean([one.l2 for one in reconstruction]),
        reconstruction_ssim=Figure.mean([one.ssim for one in reconstruction]),
        embedding=Figure.mean([one.embedding_distance for one in evidence]),
        noise=Figure.mean([one.noise_distance for one in evidence]),
    )


def summarise_change(justifications: Sequence[Justification]) -> ChangeSummary:
    """Average where counterfactuals differ from reconstructions."""
    evidence = [justification.evidence for justification in justifications]
    return ChangeSummary(
        heart_share=Figure.mean(
            [
                one.heart_share
                for one in evidence
                if one.heart_share is not None and not (one.ctr and one.ctr.direction == 0)
            ]
        ),
        changed_share=Figure.mean([one.changed_share for one in evidence]),
    )


def summarise_words(justifications: Sequence[Justification]) -> WordsSummary:
    """Count the alternatives' captions that say what their diagnoses say."""
    words = [one.evidence.words for one in justifications]
    verdicts = [one.alternative for one in words if one.alternative is not None]
    agree = contradict = silent = None
    if verdicts:
        stating = [verdict == "agrees" for verdict in verdicts if verdict != "silent"]
        agree = Figure.share_of(stating)
        contradict = Figure.share_of([verdict == "contradicts" for verdict in verdicts])
        silent = Figure.share_of([verdict == "silent" for verdict in verdicts])
    different = {one.alternative.caption for one in justifications}
    return WordsSummary(
        agree=agree,
        contradict=contradict,
        silent=silent,
        repeated=Figure.share_of([one.repeated for one in words]),
        distinct=Figure(float(len(different)), len(justifications)),
    )


def summarise_ctr(
    justifications: Sequence[Justification], meter_error: Figure | None
) -> CtrSummary | None:
    """Measure whether hearts grow and shrink as the alternative diagnoses say.

    Args:
        justifications: Of X-rays that were mapped.
        meter_error: See `CtrSummary`.

    Returns:
        None when no label has a direction or the pictures are too small to measure.
    """
    changes = [justification.evidence.ctr for justification in justifications]
    asked = [ctr.gain for ctr in changes if ctr is not None and ctr.direction]
    if not asked:
        return None
    gains = [gain for gain in asked if gain is not None]
    return CtrSummary(
        towards=Figure.share_of([gain > 0 for gain in gains]),
        change=Figure.mean(gains),
        measured=Figure.share_of([gain is not None for gain in asked]),
        meter_error=meter_error,
    )
