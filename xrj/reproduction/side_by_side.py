"""The measures on which presets are compared."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xrj.datamodules.images import read_image
from xrj.evaluate.caption_table import SCORES, WORDS, CaptionRun, own_caption_runs
from xrj.evaluate.chains import Chain
from xrj.evaluate.diagnosis_table import MEASURES, own_runs
from xrj.evaluate.figure import Figure
from xrj.evaluate.generators import COLUMNS as ESTIMATES
from xrj.evaluate.readings import balanced_rows, read_test_split
from xrj.evaluate.results import Column, Row
from xrj.evaluate.runs import folds_of
from xrj.evaluate.summary import Summary, summarise
from xrj.justify.justification import justify_all
from xrj.measures.statistics import compare
from xrj.reproduction.evaluation import Evaluation
from xrj.reproduction.presets import measure_row, preset_rows

STAGE_1 = ("wasserstein", "alignment", "mismatch", "sliced", "label_seen")
CAPTIONS = (
    "bleu1",
    "bleu2",
    "bleu3",
    "bleu4",
    "rouge_l",
    "cider",
    "silent",
    "consistent",
    "finding_f1",
)
JUSTIFICATIONS = (
    Column("refinement.ssim_before", "SSIM of G(I(x))", better="high", least=-1, most=1),
    Column(
        "refinement.ssim_after",
        "SSIM of the refined reconstruction",
        better="high",
        least=-1,
        most=1,
    ),
    Column("mapping.success", "Search ended", 1, percent=True, better="high"),
    Column("validity.reencoded", "Valid: read anew", 1, percent=True, better="high"),
    Column("validity.independent", "Valid: classifier", 1, percent=True, better="high"),
    Column(
        "distance.reconstruction_ssim", "SSIM of pictures 3 and 2", better="high", least=-1, most=1
    ),
    Column("change.heart_share", "Change inside the heart", 1, percent=True, better="high"),
    Column("ctr.towards", "Heart changes the right way", 1, percent=True, better="high"),
    Column("mapping.seconds", "Seconds a search", 2, better="low", least=0),
)


def side_by_side(one: Evaluation) -> list[Row]:
    """Return a row for each measure of both presets.

    Raises:
        HandoverError: One preset has a fold that the other lacks.
    """
    ours, paper = one.chains.seeds, one.chains.paper
    rows: list[Row] = []
    if all(chain.has("gan1") for chain in (*ours, *paper)):
        judged = [
            [one.judged(chain, "gan1").run for chain in one.each(side, name)]
            for name, side in {"default": ours, "experiment=paper": paper}.items()
        ]
        columns = [column for column in ESTIMATES if column.key in STAGE_1]
        rows += preset_rows("Stage I", columns, judged, **one.draws)
    diagnoses = [own_runs(side, one.splits, one.device) for side in (ours, paper)]
    rows += preset_rows("Diagnosis", MEASURES, diagnoses, **one.draws)
    reading = (one.splits, one.lexicon, one.device, one.cfg.beams)
    captions = [own_caption_runs(side, "ours_caption", *reading) for side in (ours, paper)]
    bare = [[run.bare for run in runs] for runs in captions]
    columns = [column for column in (*SCORES, *WORDS) if column.key in CAPTIONS]
    rows += preset_rows("Captions", columns, bare, **one.draws)
    return [*rows, *meteor_rows(*captions), *_justifications(one)]


def meteor_rows(ours: Sequence[CaptionRun], paper: Sequence[CaptionRun]) -> list[Row]:
    """Return the row of METEOR, which is of a whole split and has no interval; none without Java.

    Args:
        ours: Runs of the default preset, at least one.
        paper: Of the paper's.
    """
    sides = [[run.meteor[0] for run in runs] for runs in (ours, paper)]
    known = [[value for value in side if value is not None] for side in sides]
    if known != sides:
        return []
    bare = [[run.bare for run in runs] for runs in (ours, paper)]
    a, b = (
        Figure(float(np.mean(values)), sum({run.split: len(run.patients) for run in side}.values()))
        for values, side in zip(known, bare, strict=True)
    )
    column = next(column for column in SCORES if column.key == "meteor")
    p = compare(known[0], known[1], folds_of(bare[0], bare[1])).best.p
    return [measure_row(f"Captions: {column.title}", column, a, b, p)]


def _justifications(one: Evaluation) -> list[Row]:
    """Compare what the first chains' justifications are worth to the main chain's classifier."""
    chains = (one.chains.main, one.chains.paper[0])
    if not all(chain.has("gan2") for chain in chains):
        return []
    first, second = (chain.export("gan2").info["split"] for chain in chains)
    if first != second:
        return []  # the classifier may have learnt from the other's test X-rays
    summaries = [justified(one, chain) for chain in chains]
    rows = []
    for column in JUSTIFICATIONS:
        a, b = (figure_of(summary, column.key) for summary in summaries)
        if a is not None and b is not None:
            rows.append(measure_row(f"Justification: {column.title}", column, a, b))
    return rows


def figure_of(summary: Summary, key: str) -> Figure | None:
    """Return a figure by the names of its part and of itself, such as "validity.reencoded"."""
    part, _, name = key.partition(".")
    figure = getattr(getattr(summary, part), name, None)
    return figure if isinstance(figure, Figure) else None


def justified(one: Evaluation, chain: Chain) -> Summary:
    """Justify some test X-rays and measure that, with the main chain's classifier as the judge."""
    model = one.judged_model(chain)
    data = one.splits.of(chain.export("inverse"))
    readings = read_test_split(model, data)
    count = min(one.cfg.mapped, one.cfg.evaluate.xrays or one.cfg.mapped)
    rows = balanced_rows(readings.targets, count, one.cfg.seed)
    paths = list(readings.frame["path"].iloc[rows])
    made = justify_all(
        model,
        [read_image(path) for path in paths],
        list(map(str, paths)),
        replace(one.settings, saliency=False),
        one.cfg.seed,
    )
    truth = data.path / "truth.csv"
    return summarise(readings, made, chosen=rows, lexicon=one.lexicon.hearts, truth=truth)
