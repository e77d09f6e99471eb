"""Table 4: the captions of the inverse mapping against a captioner's."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from xrj.evaluate.chains import Chain, Splits, read_captioner, read_chain
from xrj.evaluate.figure import Figure
from xrj.evaluate.readings import Readings
from xrj.evaluate.results import Cell, Column, ResultTable, Row
from xrj.evaluate.runs import Rows, Run, Scores, check_balance, deviation, over_runs
from xrj.handover import StageExport
from xrj.measures.agreement import verdict
from xrj.measures.captions import clean, score_captions
from xrj.measures.corpus import MEASURES as CORPUS_MEASURES
from xrj.measures.corpus import CaptionCorpus
from xrj.measures.findings import FindingLexicon, count_findings

OURS = {"ours_label": "Ours (label)", "ours_caption": "Ours (caption)"}
PRETRAINED, SCRATCH = "Captioner, ImageNet weights", "Captioner, from scratch"
_PAPER_KEYS = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "meteor", "cider", "deviation")
PAPER: Mapping[str, Mapping[str, float]] = {
    name: dict(zip(_PAPER_KEYS, values, strict=True))
    for name, values in {
        PRETRAINED: (0.34, 0.23, 0.16, 0.12, 0.29, 0.15, 0.54, 0.03),
        SCRATCH: (0.39, 0.26, 0.20, 0.15, 0.32, 0.15, 0.64, 0.00),
        OURS["ours_label"]: (0.49, 0.35, 0.24, 0.18, 0.40, 0.27, 0.58, 0.02),
        OURS["ours_caption"]: (0.49, 0.35, 0.25, 0.18, 0.40, 0.27, 0.60, 0.01),
    }.items()
}
"""Table 4 of the paper; the deviation is CIDEr's over three runs."""
SCORES = (
    *(
        Column(f"bleu{order}", f"BLEU-{order}", better="high", least=0, most=1)
        for order in range(1, 5)
    ),
    Column("rouge_l", "ROUGE-L", better="high", least=0, most=1),
    Column("meteor", "METEOR", better="high", least=0, most=1),
    Column("cider", "CIDEr-D", better="high", least=0),
    Column("deviation", "σ of CIDEr-D"),
    Column("cider_wide", "CIDEr-D, wider frequencies", better="high", least=0),
)
WORDS = (
    Column("distinct", "Distinct captions", 1, percent=True),
    Column("silent", "Silent on their label", 1, percent=True, better="low"),
    Column("consistent", "Agree with their label, of the others", 1, percent=True, better="high"),
    Column("finding_f1", "Findings, F1", 1, percent=True, better="high"),
    Column("finding_precision", "Findings, precision", 1, percent=True, better="high"),
    Column("finding_recall", "Findings, recall", 1, percent=True, better="high"),
    Column("flipped", "Findings turned round", 1, percent=True, better="low"),
)
TOKENIZER = (
    "captions tokenised by the data module (lower case, letters and digits, OOV kept), scored by "
    "pycocoevalcap without its own tokeniser"
)


@dataclass(frozen=True)
class CaptionRun:
    """A run's captions, scored with the label word left out and with it.

    Attributes:
        bare: Without the label word.
        labelled: With it, in captions and references.
        meteor: Of both; None where it cannot be measured.
        reason: Why not.
        distinct: Number of different captions over that of all.
    """

    bare: Run
    labelled: Run
    meteor: tuple[float | None, float | None]
    reason: str
    distinct: float


def caption_run(
    name: str,
    split: str,
    seed: int | None,
    readings: Readings,
    lexicon: FindingLexicon,
    background: Sequence[tuple[str, Sequence[str]]] = (),
) -> CaptionRun:
    """Score what a run says of the test split.

    Args:
        name: Of the chain.
        split: Hash of its split.
        seed: Of its training.
        readings: Its decoded captions beside those of the reports.
        lexicon: What counts as a statement.
        background: Label and captions of each training X-ray.
    """
    said = [clean(" ".join(words)) for _, words in readings.decoded]
    true = [[clean(" ".join(words)) for words in several] for several in readings.frame["captions"]]
    patients = list(readings.frame["patient_id"])
    findings = count_findings(said, true, lexicon)
    consistent = _consistency(readings, lexicon)
    silent = np.isnan(consistent)
    known = _known(readings, lexicon)
    bare = CaptionCorpus(said, true, [texts for _, texts in background])

    def scores(rows: Rows) -> Scores:
        stating = consistent[rows][~silent[rows]]
        return {
            **bare.scores(rows),
            **findings.scores(rows),
            "silent": float(silent[rows].mean()) if known else float("nan"),
            "consistent": float(stating.mean()) if len(stating) else float("nan"),
        }

    with_label = (
        [f"{label} {text}" for (label, _), text in zip(readings.decoded, said, strict=True)],
        [
            [f"{label} {text}" for text in several]
            for label, several in zip(readings.frame["label"], true, strict=True)
        ],
    )
    labelled = CaptionCorpus(
        *with_label, [[f"{label} {text}" for text in texts] for label, texts in background]
    )
    with ThreadPoolExecutor() as pool:  # METEOR is a process of its own
        scored = [
            pool.submit(score_captions, *texts, meteor=True) for texts in ((said, true), with_label)
        ]
    meteors = [future.result() for future in scored]
    return CaptionRun(
        bare=Run(name, split, seed, patients, scores, {"consistent": int((~silent).sum())}),
        labelled=Run(name, split, seed, patients, labelled.scores),
        meteor=(meteors[0].meteor, meteors[1].meteor),
        reason=meteors[0].meteor_reason,
        distinct=meteors[0].distinct / len(said),
    )


def _labels(readings: Readings) -> set[str]:
    return {label for label, _ in readings.decoded} | set(readings.frame["label"])


def _known(readings: Readings, lexicon: FindingLexicon) -> bool:
    return lexicon.hearts.knows(_labels(readings))


def _consistency(readings: Readings, lexicon: FindingLexicon) -> np.ndarray:
    """Return 1 where the words state the decoded label, 0 where not that alone, NaN where none.

    All NaN where the lexicon does not know how the labels are stated.
    """
    if not _known(readings, lexicon):
        return np.full(len(readings.decoded), np.nan)
    hearts = lexicon.hearts.of(_labels(readings))
    found = [verdict(words, label, hearts) for label, words in readings.decoded]
    return np.array([np.nan if one == "silent" else one == "agrees" for one in found], dtype=float)


def _background(export: StageExport, splits: Splits) -> list[tuple[str, list[str]]]:
    """Return label and captions of each training X-ray."""
    images = splits.of(export).table.images
    train = images.loc[images["split"] == "train", ["label", "captions"]]
    return [
        (label, [clean(" ".join(words)) for words in captions])
        for label, captions in train.itertuples(index=False)
    ]


def own_caption_runs(
    chains: Iterable[Chain],
    selection: str,
    splits: Splits,
    lexicon: FindingLexicon,
    device: str,
    beams: int,
) -> list[CaptionRun]:
    """Score the captions of inverse mappings at one of their kept epochs."""
    return [
        caption_run(
            chain.name,
            chain.export("inverse").info["split"],
            chain.seed("inverse"),
            read_chain(chain, selection, splits, device, beams),
            lexicon,
            _background(chain.export("inverse"), splits),
        )
        for chain in chains
    ]


def captioner_row(chain: Chain) -> str:
    """Return the name of the row that a chain's captioner counts for."""
    weights = chain.settings("captioner").get("captioner.weights")
    return SCRATCH if weights is None else PRETRAINED


def captioner_runs(
    chains: Iterable[Chain], splits: Splits, lexicon: FindingLexicon, device: str, beams: int
) -> dict[str, list[CaptionRun]]:
    """Score the captioners of chains, by their row's name."""
    found: dict[str, list[CaptionRun]] = {}
    for chain in chains:
        run = caption_run(
            chain.name,
            chain.export("captioner").info["split"],
            chain.seed("captioner"),
            read_captioner(chain, splits, device, beams),
            lexicon,
            _background(chain.export("captioner"), splits),
        )
        found.setdefault(captioner_row(chain), []).append(run)
    return dict(sorted(found.items()))


def caption_tables(
    methods: Mapping[str, Sequence[CaptionRun]],
    *,
    resamples: int,
    seed: int,
) -> list[ResultTable]:
    """Return table 4, the label word left out, and the same scores with it.

    Args:
        methods: Runs by their row's name.
        resamples: Of the patients.
        seed: Of the draws.

    Raises:
        HandoverError: The rows are of different folds.
    """
    everything = {name: [run.bare for run in runs] for name, runs in methods.items()}
    check_balance(everything)
    keys = (*CORPUS_MEASURES, *(column.key for column in WORDS[1:]))
    bare, labelled = [], []
    for name, runs in methods.items():
        n = sum({run.bare.split: len(run.bare.patients) for run in runs}.values())
        ours = [run.bare for run in runs]
        cells: dict[str, Cell] = {
            "runs": f"{len(runs)}",
            **over_runs(ours, keys, resamples=resamples, seed=seed),
            "meteor": _mean([run.meteor[0] for run in runs], n),
            "deviation": deviation(ours, "cider"),
            "distinct": Figure(float(np.mean([run.distinct for run in runs])), n),
        }
        bare.append(Row(name, cells))
        both = [run.labelled for run in runs]
        labelled.append(
            Row(
                name,
                {
                    "runs": f"{len(runs)}",
                    **over_runs(both, CORPUS_MEASURES, resamples=resamples, seed=seed),
                    "meteor": _mean([run.meteor[1] for run in runs], n),
                    "deviation": deviation(both, "cider"),
                },
            )
        )
    reasons = {run.reason for runs in methods.values() for run in runs if run.reason}
    protocol = (
        "One caption an X-ray, by the same beam search in every row, against up to four of its "
        "report, by pycocoevalcap on words that are already tokenised; CIDEr-D takes document "
        "frequencies from these references, the wider ones from those of training, too. "
        "Means over the runs; intervals are 95 % bootstrap intervals over patients, METEOR has "
        "none, being an aggregate of the corpus."
        + "".join(f" METEOR is left out: {reason}." for reason in sorted(reasons))
    )
    runs_column = Column("runs", "Runs", 0)
    return [
        ResultTable(
            key="table_4",
            title="Table 4: captions on the test split, the label word left out",
            columns=(runs_column, *SCORES),
            rows=tuple(bare),
            note=f"{protocol} The paper does not say whether its captions hold the label word.",
            paper=PAPER,
            drawn=("bleu4", "meteor", "cider"),
        ),
        ResultTable(
            key="table_4_label",
            title="Table 4 with the label word in captions and references",
            columns=(runs_column, *SCORES),
            rows=tuple(labelled),
            note=protocol,
            paper=PAPER,
        ),
        ResultTable(
            key="table_4_words",
            title="What the captions of table 4 say",
            columns=(runs_column, *WORDS),
            rows=tuple(bare),
            note=(
                "Distinct: different captions, of all. Silent: captions whose words state no "
                "label. Agree with their label: of the others, those that state the decoded one. "
                "Findings: affirmed "
                "or denied as in any caption of the report, by the rules of conf/lexicon, so that "
                "a lost 'no' is wrong; recall is bounded by captions being shorter than reports; "
                "turned round: said, but the report says the opposite."
            ),
        ),
    ]


def _mean(values: Sequence[float | None], n: int) -> Figure | None:
    known = [value for value in values if value is not None]
    return Figure(float(np.mean(known)), n) if known else None
