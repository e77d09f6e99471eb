"""Table 3: the diagnosis of the inverse mapping against classifiers."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from xrj.evaluate.chains import Chain, Splits, read_chain, read_classifier
from xrj.evaluate.figure import Figure
from xrj.evaluate.readings import Readings
from xrj.evaluate.results import Column, ResultTable, Row
from xrj.evaluate.runs import Rows, Run, Scores, check_balance, deviation, over_runs
from xrj.measures.diagnosis import diagnosis_report, rarest_label

OURS = "Ours (label)"
NAMES: Mapping[str, str] = {
    "vgg19": "VGG-19",
    "resnet34": "ResNet-34",
    "inception_v3": "Inception v3",
    "alexnet": "AlexNet",
    "densenet121": "DenseNet-121",
    "resnet18": "ResNet-18",
}
PAPER: Mapping[str, Mapping[str, float]] = {
    "VGG-19": {"accuracy": 0.843, "deviation": 0.054},
    "ResNet-34": {"accuracy": 0.90, "deviation": 0.016},
    "Inception v3": {"accuracy": 0.907, "deviation": 0.015},
    "AlexNet": {"accuracy": 0.910, "deviation": 0.008},
    "DenseNet-121": {"accuracy": 0.914, "deviation": 0.015},
    "ResNet-18": {"accuracy": 0.919, "deviation": 0.007},
    OURS: {"accuracy": 0.906, "deviation": 0.008},
}
"""Table 3 of the paper: accuracy and its standard deviation."""
MEASURES = (
    Column("accuracy", "Accuracy", 1, percent=True, better="high"),
    Column("balanced_accuracy", "Balanced accuracy", 1, percent=True, better="high"),
    Column("auroc", "AUROC", better="high", least=0, most=1),
    Column("auprc", "AUPRC", better="high", least=0, most=1),
    Column("sensitivity", "Sensitivity", 1, percent=True, better="high"),
    Column("specificity", "Specificity", 1, percent=True, better="high"),
    Column("ece", "Calibration error", better="low", least=0, most=1),
)
KEYS = tuple(column.key for column in MEASURES)
COLUMNS = (
    Column("runs", "Runs", 0),
    MEASURES[0],
    Column("deviation", "σ of accuracy", 1, percent=True),
    *MEASURES[1:],
)


def diagnosis_run(name: str, split: str, seed: int | None, readings: Readings) -> Run:
    """Return a run measured as in `diagnosis_report`."""
    certainties, targets = readings.certainties, readings.targets
    positive = rarest_label(targets, certainties.shape[1])

    def scores(rows: Rows) -> Scores:
        return vars(diagnosis_report(certainties[rows], targets[rows], positive))

    counts = {}
    if certainties.shape[1] == 2:
        ill = int((targets == positive).sum())
        counts = {"sensitivity": ill, "specificity": len(targets) - ill}
    return Run(name, split, seed, list(readings.frame["patient_id"]), scores, counts)


def own_runs(chains: Iterable[Chain], splits: Splits, device: str) -> list[Run]:
    """Return the epochs of I that were kept for the label, one of each chain."""
    return [
        diagnosis_run(
            chain.name,
            chain.export("inverse").info["split"],
            chain.seed("inverse"),
            read_chain(chain, "ours_label", splits, device),
        )
        for chain in chains
    ]


def classifier_row(chain: Chain) -> str:
    """Return the name of the row that a chain's classifier counts for: net, whether pretrained."""
    net = chain.export("classifier").info["nets"]["classifier"]["architecture"]
    pretrained = chain.settings("classifier").get("classifier.weights") is not None
    return f"{NAMES[net]}{', ImageNet weights' if pretrained else ''}"


def classifier_size(chain: Chain) -> str:
    """Return a chain's classifier with its size, in words."""
    spec = chain.export("classifier").info["nets"]["classifier"]
    width = f" of width {spec['width']}" if spec["architecture"].startswith("resnet") else ""
    return f"{classifier_row(chain)}{width} at {spec['resolution']} pixels"


def classifier_runs(chains: Iterable[Chain], splits: Splits, device: str) -> dict[str, list[Run]]:
    """Return the classifiers of chains by their row's name."""
    runs: dict[str, list[Run]] = {}
    for chain in chains:
        export = chain.export("classifier")
        readings = read_classifier(chain, splits, device)
        run = diagnosis_run(chain.name, export.info["split"], chain.seed("classifier"), readings)
        runs.setdefault(classifier_row(chain), []).append(run)
    order = list(NAMES.values())
    return dict(sorted(runs.items(), key=lambda item: order.index(item[0].partition(",")[0])))


def diagnosis_table(
    ours: Sequence[Run],
    classifiers: Mapping[str, Sequence[Run]],
    sizes: Sequence[str] = (),
    *,
    resamples: int,
    seed: int,
) -> ResultTable:
    """Return table 3.

    Args:
        ours: At least one.
        classifiers: By their row's name.
        sizes: Of the classifiers, in words.
        resamples: Of the patients.
        seed: Of the draws.

    Raises:
        HandoverError: The rows are of different folds.
    """
    methods = {**classifiers, OURS: list(ours)}
    check_balance(methods)
    rows = []
    for name, runs in methods.items():
        cells = over_runs(runs, KEYS, resamples=resamples, seed=seed)
        if cells["accuracy"].value == 1:  # no resample differs, which does not make it certain
            cells["accuracy"] = Figure.share(cells["accuracy"].n, cells["accuracy"].n)
        sigma = deviation(runs, "accuracy")
        rows.append(Row(name, {"runs": f"{len(runs)}", "deviation": sigma, **cells}))
    all_rows = [run.scores(np.arange(len(run.patients))) for run in ours]
    majority = float(np.mean([scores["majority"] for scores in all_rows]))
    return ResultTable(
        key="table_3",
        title="Table 3: diagnosis on the test split",
        columns=COLUMNS,
        rows=tuple(rows),
        note=(
            f"Always saying the commonest label would be right in {100 * majority:.1f} % of the "
            "test X-rays. Sensitivity, specificity, AUROC and AUPRC are of the rarest label where "
            "there are two, and macro averages otherwise; the calibration error is that of the top "
            "label in ten bins. Values are means over the runs, σ their standard deviation; "
            "intervals are 95 % bootstrap intervals over patients, "
            "Wilson's where all are right."
            + (f" Classifiers: {'; '.join(sizes)}." if sizes else "")
        ),
        paper=PAPER,
        drawn=("accuracy", "auroc"),
    )
