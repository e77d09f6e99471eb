"""The summary as rows for people."""

from collections.abc import Callable

from xrj.evaluate.counterfactuals import (
    ChangeSummary,
    CtrSummary,
    DistanceSummary,
    MappingSummary,
    RefinementSummary,
    ValiditySummary,
    WordsSummary,
)
from xrj.evaluate.figure import Figure
from xrj.evaluate.summary import CaptionSummary, DiagnosisSummary, Summary
from xrj.justify.page import Measure

Writer = Callable[[Figure], str]
LEFT_OUT = "left out: "
"""Before the reason why something was not measured."""


def _percent(figure: Figure) -> str:
    value = f"{100 * figure.value:.1f} %"
    if figure.low is not None and figure.high is not None:
        value += f" ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
    return value


def _decimals(digits: int, unit: str = "", sign: str = "") -> Writer:
    def write(figure: Figure) -> str:
        value = f"{figure.value:{sign}z.{digits}f}{unit}"
        if figure.low is not None and figure.high is not None:
            value += f" ({figure.low:{sign}z.{digits}f} to {figure.high:{sign}z.{digits}f})"
        return value

    return write


_TWO, _THREE = _decimals(2), _decimals(3)
_TWO_SECONDS = _decimals(2, " s")


def _row(name: str, figure: Figure, write: Writer, meaning: str) -> Measure:
    return Measure(name, write(figure) if figure.n else "–", f"{figure.n}", meaning)


def measures(summary: Summary) -> list[Measure]:
    """Return the table of a summary, with 95 % intervals."""
    return [
        *_diagnosis_rows(summary.diagnosis),
        *(_classifier_rows(summary.classifier) if summary.classifier else []),
        *_caption_rows(summary.captions),
        *(_refinement_rows(summary.refinement) if summary.refinement else []),
        *_mapping_rows(summary.mapping),
        *_validity_rows(summary.validity),
        *_distance_rows(summary.distance),
        *_change_rows(summary.change),
        *_words_rows(summary.words),
        *(_ctr_rows(summary.ctr) if summary.ctr else []),
    ]


def _diagnosis_rows(diagnosis: DiagnosisSummary) -> list[Measure]:
    return [
        _row(
            "Accuracy",
            diagnosis.accuracy,
            _percent,
            f"always saying the commonest label would give {100 * diagnosis.majority.value:.1f} %",
        ),
        _row("Balanced accuracy", diagnosis.balanced_accuracy, _percent, "mean over the labels"),
        _row("AUROC", diagnosis.auroc, _THREE, "1 ranks every X-ray rightly, 0.5 is chance"),
        _row(
            "Calibration error",
            diagnosis.calibration_error,
            _THREE,
            "how far stated certainty lies from the share that is right; 0 is best",
        ),
    ]


def _classifier_rows(classifier: DiagnosisSummary) -> list[Measure]:
    return [
        _row(
            "Accuracy of the independent classifier",
            classifier.accuracy,
            _percent,
            f"which judges the pictures; balanced {100 * classifier.balanced_accuracy.value:.1f} %",
        )
    ]


def _caption_rows(captions: CaptionSummary) -> list[Measure]:
    bleu = (captions.bleu1, captions.bleu2, captions.bleu3, captions.bleu4)
    rows = [
        Measure(
            "Caption BLEU-1 to 4",
            " / ".join(f"{figure.value:.2f}" for figure in bleu),
            f"{captions.bleu1.n}",
            "words, pairs, threes and fours of words shared with the reports; up to 1",
        ),
        _row(
            "Caption ROUGE-L", captions.rouge_l, _TWO, "longest common run, gaps allowed; up to 1"
        ),
    ]
    meteor = "words, stems and synonyms shared with the reports; up to 1"
    if captions.meteor:
        rows.append(_row("Caption METEOR", captions.meteor, _TWO, meteor))
    else:
        rows.append(Measure("Caption METEOR", "–", "0", f"{LEFT_OUT}{captions.meteor_reason}"))
    rows += [
        _row(
            "Caption CIDEr", captions.cider, _TWO, "shared wording, rare words count more; up to 10"
        ),
        _row("Distinct captions", captions.distinct, _decimals(0), "different texts"),
    ]
    if captions.agree and captions.contradict and captions.silent:
        rows.append(
            _row(
                "Caption agrees with its label",
                captions.agree,
                _percent,
                "of the captions whose words state a label; "
                f"{_count(captions.contradict)} contradict, {_count(captions.silent)} are silent",
            )
        )
    return rows


def _refinement_rows(refinement: RefinementSummary) -> list[Measure]:
    return [
        _row(
            "Error of the reconstruction",
            refinement.error_after,
            _THREE,
            "mean square error, grey values from -1 to 1; "
            f"{refinement.error_before.value:.3f} before refining",
        ),
        _row(
            "SSIM of the reconstruction",
            refinement.ssim_after,
            _TWO,
            f"structural similarity, up to 1; {refinement.ssim_before.value:.2f} before refining",
        ),
        _row(
            "Diagnosis unchanged by refining",
            refinement.diagnosis_unchanged,
            _percent,
            f"and the caption: {_percent(refinement.caption_unchanged)}",
        ),
        _row("Refining time", refinement.seconds, _TWO_SECONDS, "mean for one X-ray"),
    ]


def _mapping_rows(mapping: MappingSummary) -> list[Measure]:
    return [
        _row("Mapping success", mapping.success, _percent, "an alternative was found"),
        _row(
            "Mapping tries",
            mapping.tries_mean,
            _TWO,
            f"mean number of starts; at most {mapping.tries_max.value:.0f}",
        ),
        _row(
            "Mapping time",
            mapping.seconds,
            _TWO_SECONDS,
            f"mean for one X-ray; {mapping.evaluations.value:.0f} evaluations of the loss",
        ),
    ]


def _validity_rows(validity: ValiditySummary) -> list[Measure]:
    rows = [
        _row(
            "Alternative valid: its representation",
            validity.decoder,
            _percent,
            "decodes to the alternative diagnosis, which the mapping aims for",
        ),
        _row(
            "Alternative valid: read anew",
            validity.reencoded,
            _percent,
            "picture 3 alone, given back to the network",
        ),
        _row(
            "Alternative on the X-ray valid: read anew",
            validity.on_xray,
            _percent,
            "the X-ray with what would change drawn on it, given back to the network",
        ),
    ]
    if validity.on_xray_independent:
        rows.append(
            _row(
                "Alternative on the X-ray valid: independent classifier",
                validity.on_xray_independent,
                _percent,
                "which never saw the network",
            )
        )
    rows.append(
        _row(
            "Share of the X-ray that is drawn",
            validity.redrawn,
            _percent,
            "outside it every pixel is the X-ray's own",
        )
    )
    if validity.independent and validity.same_diagnosis:
        rows += [
            _row(
                "Alternative valid: independent classifier",
                validity.independent,
                _percent,
                "which never saw the network, on picture 3",
            ),
            _row(
                "Diagnosis as the independent classifier's",
                validity.same_diagnosis,
                _percent,
                "on the X-ray itself",
            ),
        ]
    return [
        *rows,
        _row("With a warning", validity.warned, _percent, "justifications that fail a check"),
    ]


def _distance_rows(distance: DistanceSummary) -> list[Measure]:
    return [
        _row(
            "SSIM of pictures 3 and 2",
            distance.reconstruction_ssim,
            _TWO,
            "the evidence for the decision; mean square difference "
            f"{distance.reconstruction_l2.value:.3f}, absolute "
            f"{distance.reconstruction_l1.value:.3f}",
        ),
        _row(
            "SSIM of picture 3 and the X-ray",
            distance.original_ssim,
            _TWO,
            "holds the error of the reconstruction, too; mean square difference "
            f"{distance.original_l2.value:.3f}, absolute {distance.original_l1.value:.3f}",
        ),
        _row(
            "Way in the embedding",
            distance.embedding,
            _TWO,
            "distance of r' from r in what decides diagnosis and caption, of 2 at most",
        ),
        _row("Way in the noise", distance.noise, _TWO, "distance of r' from r in the rest"),
    ]


def _change_rows(change: ChangeSummary) -> list[Measure]:
    return [
        _row(
            "Change inside the heart and its border",
            change.heart_share,
            _percent,
            "mean share of the difference between pictures 3 and 2, where the heart is found",
        ),
        _row(
            "Pixels that change visibly",
            change.changed_share,
            _percent,
            "mean share of the picture",
        ),
    ]


def _words_rows(words: WordsSummary) -> list[Measure]:
    rows = []
    if words.agree and words.contradict and words.silent:
        rows.append(
            _row(
                "Alternative's caption agrees with its diagnosis",
                words.agree,
                _percent,
                "of the captions whose words state a label; "
                f"{_count(words.contradict)} contradict, {_count(words.silent)} are silent",
            )
        )
    return [
        *rows,
        _row(
            "Alternative's caption repeats the first",
            words.repeated,
            _percent,
            f"word for word; {words.distinct.value:.0f} different captions of alternatives",
        ),
    ]


def _ctr_rows(ctr: CtrSummary) -> list[Measure]:
    rows = [
        _row(
            "Heart changes the right way",
            ctr.towards,
            _percent,
            "cardiothoracic ratio (CTR) measured in picture 3 against picture 2, where both can be "
            f"measured: {_percent(ctr.measured)} of {ctr.measured.n}",
        ),
        _row("Change of CTR", ctr.change, _decimals(3, sign="+"), "mean, in the right direction"),
    ]
    if ctr.meter_error:
        rows.append(
            _row(
                "Error of the CTR meter",
                ctr.meter_error,
                _decimals(4),
                "mean absolute error on original X-rays whose true ratio is known",
            )
        )
    return rows


def _count(figure: Figure) -> str:
    return f"{figure.value * figure.n:.0f}"


def as_text(rows: list[Measure]) -> str:
    """Return the table for a terminal, with the reason where something was left out."""
    name = max(len(row.name) for row in rows)
    value = max(len(row.value) for row in rows)
    return "\n".join(
        f"{row.name:{name}}  {row.value:>{value}}  n={row.n}"
        + (f"  {row.meaning}" if row.meaning.startswith(LEFT_OUT) else "")
        for row in rows
    )
