"""The summary as rows for people."""

from collections.abc import Callable

from xrj.evaluate.summary import CtrSummary, Figure, Summary
from xrj.justify.page import Measure


def _percent(figure: Figure) -> str:
    value = f"{100 * figure.value:.1f} %"
    if figure.low is not None and figure.high is not None:
        value += f" ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
    return value


def _decimals(digits: int, unit: str = "", sign: str = "") -> Callable[[Figure], str]:
    return lambda figure: f"{figure.value:{sign}.{digits}f}{unit}"


def _row(name: str, figure: Figure, write: Callable[[Figure], str], meaning: str) -> Measure:
    return Measure(name, write(figure) if figure.n else "–", f"{figure.n}", meaning)


def measures(summary: Summary) -> list[Measure]:
    """Return the table of a summary; intervals are 95 % Wilson intervals."""
    diagnosis, captions, mapping = summary.diagnosis, summary.captions, summary.mapping
    bleu = (captions.bleu1, captions.bleu2, captions.bleu3, captions.bleu4)
    two, three = _decimals(2), _decimals(3)
    rows = [
        _row(
            "Accuracy",
            diagnosis.accuracy,
            _percent,
            f"always saying the commonest label would give {100 * diagnosis.majority.value:.1f} %",
        ),
        _row("Balanced accuracy", diagnosis.balanced_accuracy, _percent, "mean over the labels"),
        _row("AUROC", diagnosis.auroc, three, "1 ranks every X-ray rightly, 0.5 is chance"),
        _row(
            "Calibration error",
            diagnosis.calibration_error,
            three,
            "how far stated certainty lies from the share that is right; 0 is best",
        ),
        Measure(
            "Caption BLEU-1 to 4",
            " / ".join(f"{figure.value:.2f}" for figure in bleu),
            f"{captions.bleu1.n}",
            "words, pairs, threes and fours of words shared with the reports; up to 1",
        ),
        _row("Caption ROUGE-L", captions.rouge_l, two, "longest common run, gaps allowed; up to 1"),
        _row(
            "Caption CIDEr", captions.cider, two, "shared wording, rare words count more; up to 10"
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
    rows += [
        _row("Mapping success", mapping.success, _percent, "an alternative was found"),
        _row(
            "Mapping tries",
            mapping.tries_mean,
            two,
            f"mean number of starts; at most {mapping.tries_max.value:.0f}",
        ),
        _row("Mapping time", mapping.seconds, _decimals(1, " s"), "mean for one X-ray"),
    ]
    return rows + (_ctr_rows(summary.ctr) if summary.ctr else [])


def _ctr_rows(ctr: CtrSummary) -> list[Measure]:
    rows = [
        _row(
            "Heart changes the right way",
            ctr.towards,
            _percent,
            "cardiothoracic ratio (CTR) measured in picture 3 against picture 2, where both can be "
            f"measured; {_percent(ctr.towards_any)} of all {ctr.towards_any.n}",
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
    """Return the table for a terminal."""
    name = max(len(row.name) for row in rows)
    value = max(len(row.value) for row in rows)
    return "\n".join(f"{row.name:{name}}  {row.value:>{value}}  n={row.n}" for row in rows)
