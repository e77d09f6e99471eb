"""Table 5: what an expert study finds, of people where there is one, otherwise simulated."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xrj.datamodules.datamodule import IUXRayDataModule
from xrj.errors import HandoverError
from xrj.evaluate.figure import Figure
from xrj.evaluate.results import Cell, Column, ResultTable, Row, p_value
from xrj.justify.model import JustificationModel
from xrj.study.analysis import Analysis, analyse
from xrj.study.design import Design
from xrj.study.folder import Sealed, Study, open_study, write_study
from xrj.study.questions import PAPER, QUESTIONS
from xrj.study.ratings import read_ratings
from xrj.study.sample import describe, plan
from xrj.study.simulate import Opinion, simulate

STUDY = "Table 5: the expert study"
NAMES = {"counterfactual": "Ours", "saliency": "Saliency maps"}


def simulated_study(
    model: JustificationModel,
    data: IUXRayDataModule,
    design: Design,
    opinion: Opinion,
    *,
    resamples: int,
    seed: int,
) -> Analysis:
    """Draw a study from the test split, let simulated readers answer it, and analyse that.

    Nothing is justified: these readers do not look.

    Raises:
        UserError: The methods do not fit the model, or the test split is too small.
    """
    drawn = plan(model, data, design, seed)
    number = {row: n for n, row in enumerate(dict.fromkeys(item.row for item in drawn.items), 1)}
    truth = {
        name: Sealed(
            number[item.row],
            str(drawn.frame["image_id"].iloc[item.row]),
            item.method,
            str(drawn.frame["label"].iloc[item.row]),
            drawn.diagnoses[item.method][item.row],
        )
        for name, item in zip(drawn.ids, drawn.items, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        study = write_study(
            Path(folder) / "study",
            design=design,
            seed=seed,
            about={"counts": describe(drawn)[0]},
            evidence=dict.fromkeys(drawn.ids, ""),
            truth=truth,
            orders=drawn.orders(seed),
            url="",
        )
        simulate(study, opinion, seed)
        return _analyse(study, resamples, seed)


def fitting(design: Design, xrays: int) -> Design:
    """Return a design as large as a test split allows, in the same proportions.

    Args:
        design: At most this large.
        xrays: In the test split.
    """
    methods, readers = len(design.methods), len(design.readers)
    for each in range(design.per_reader, 1, -1):
        shared = design.shared_a_method * each // design.per_reader
        if readers * (each - shared) + shared <= xrays:
            return replace(design, per_reader=each, shared=shared * methods, overlap="needed")
    return design


def real_study(folder: Path, stages: Mapping[str, str], *, resamples: int, seed: int) -> Analysis:
    """Analyse a study that was held.

    Args:
        folder: Of the study.
        stages: Hashes of the chain's exports.
        resamples: Of the bootstrap.
        seed: Of its draws.

    Raises:
        DataError: It is missing, damaged or has no answer.
        HandoverError: It was drawn with other exports.
    """
    study = open_study(folder)
    drawn = study.info["model"]
    if any(stages.get(stage) != found for stage, found in drawn["stages"].items()):
        raise HandoverError(
            f"evaluate.study={folder}: was drawn from the chain {drawn['name']} as it was then; "
            "give name= of that chain, or leave evaluate.study out"
        )
    return _analyse(study, resamples, seed)


def _analyse(study: Study, resamples: int, seed: int) -> Analysis:
    return analyse(study, read_ratings(study), resamples, seed)


def study_table(analysis: Analysis) -> ResultTable:
    """Return table 5."""
    answered = analysis.subsets["all"]
    methods = list(dict.fromkeys(name for one in answered.values() for name in one.methods))
    columns = [Column(name, NAMES.get(name, name), 2) for name in methods] + [
        Column("student", "p, Student"),
        Column("welch", "p, Welch"),
        Column("mixed", "p, mixed model"),
        Column("kappa", "Fleiss' κ", 2),
    ]
    rows, paper = [], {}
    for question in QUESTIONS:
        name = f"{question.key.upper()} {question.name}, {question.lowest} to {question.highest}"
        one = answered[question.key]
        cells: dict[str, Cell] = {}
        for method, summary in one.methods.items():
            low, high = summary.interval or (None, None)
            cells[method] = Figure(summary.mean, summary.n, low, high)
        if len(one.comparisons) == 1:
            pair = one.comparisons[0]
            cells |= {
                "student": p_value(pair.student.p),
                "welch": p_value(pair.welch.p),
                "mixed": p_value(pair.mixed.p),
            }
        kappa = analysis.agreement["all"][question.key]
        if kappa.value is not None:
            cells["kappa"] = Figure(kappa.value, kappa.n, *(kappa.interval or (None, None)))
        rows.append(Row(name, cells))
        paper[name] = {
            method: PAPER[method][question.key] for method in methods if method in PAPER
        } | _kappas(question.key)
    readers = (
        "SIMULATED readers, who were told to think as the paper's did: this checks the analysis "
        "and says nothing of the method."
        if analysis.simulated
        else "Answers of people."
    )
    return ResultTable(
        key="table_5",
        title=f"{STUDY}{', simulated readers' if analysis.simulated else ''}",
        columns=tuple(columns),
        rows=tuple(rows),
        note=(
            f"{readers} n counts ratings; intervals are bootstrap intervals over X-rays. Student's "
            "t-test with equal variances is the paper's; the mixed model respects that ratings "
            "share readers and X-rays. κ is over the X-rays that all readers rated."
        ),
        paper=paper,
    )


def _kappas(question: str) -> dict[str, float]:
    """Return the paper's κ, which it gives for three questions."""
    known = {"q1": 0.33, "q2": 0.42, "q3": 0.55}
    return {"kappa": known[question]} if question in known else {}
