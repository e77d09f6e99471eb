"""The steps of an evaluation, each of which makes some tables out of what was trained."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from xrj.config import plain
from xrj.errors import DataError
from xrj.evaluate.bench import Bench
from xrj.evaluate.caption_table import (
    OURS,
    PRETRAINED,
    SCRATCH,
    caption_tables,
    captioner_row,
    captioner_runs,
    own_caption_runs,
)
from xrj.evaluate.chains import Chain
from xrj.evaluate.counterfactual_tables import counterfactual_tables
from xrj.evaluate.curves import ALL, FIGURE, LABEL, curve_table, read_curves
from xrj.evaluate.diagnosis_table import (
    NAMES,
    classifier_row,
    classifier_runs,
    classifier_size,
    diagnosis_table,
    own_runs,
)
from xrj.evaluate.embedding_table import ARAE, EMBEDDING, embedding_table
from xrj.evaluate.generators import judge_ends
from xrj.evaluate.noise_sweep import sweep_table
from xrj.evaluate.over_chains import mean_tables
from xrj.evaluate.runs import check_splits
from xrj.reproduction.alike import LOSSES, unlike_rivals
from xrj.reproduction.chains import ESSENTIAL
from xrj.reproduction.deviations import changed_settings, deviation_table, measure_chain
from xrj.reproduction.evaluation import Evaluation, Tables, part_key
from xrj.reproduction.figures import drawn_figures
from xrj.reproduction.presets import preset_table
from xrj.reproduction.side_by_side import side_by_side
from xrj.reproduction.study_table import STUDY, fitting, real_study, simulated_study, study_table
from xrj.study.design import Design
from xrj.study.simulate import Opinion


def table_2(one: Evaluation) -> Tables:
    """Judge generated X-rays of stage I by critics."""
    chains = one.chains
    first = chains.embeddings[0]
    used = [(chain, stage) for chain in chains.embeddings for stage in ("arae", "gan1")]
    used += [(chain, "embedding_gan1") for chain in chains.rivals]
    missing = [] if chains.rivals else [f"the rival; {one.train('embedding_gan1')}"]
    used += [(chains.main, "classifier")] if one.judge else []

    def make() -> Tables:
        methods = {ARAE: [one.judged(chain, "gan1") for chain in one.each(chains.embeddings, ARAE)]}
        if chains.rivals:
            methods[EMBEDDING] = [
                one.judged(chain, "embedding_gan1") for chain in one.each(chains.rivals, EMBEDDING)
            ]
        ends = judge_ends(first, one.splits, one.critic, one.cfg.seed, one.device)
        return [embedding_table(methods, ends, unlike, **one.draws)]

    unlike = unlike_rivals(chains.rivals)
    settings = {"critic": vars(one.critic), "folds": one.folds, "unlike": unlike, **one.draws}
    return one.tables("table_2", used, settings, make, missing)


def noise_sweep(one: Evaluation) -> Tables:
    """Judge the generators of the noise sweep."""
    sweep = one.chains.sweep
    if not sweep:
        return []
    used = [(chain, "gan1") for chain in sweep]
    used += [(one.chains.main, "classifier")] if one.judge else []

    def make() -> Tables:
        points = [
            (chain.export("gan1").info["dims"], one.judged(chain, "gan1"))
            for chain in one.each(sweep, "noise")
        ]
        return [sweep_table(points, **one.draws)]

    settings = {"critic": vars(one.critic), **one.draws}
    return one.tables("noise_sweep", used, settings, make)


def figure_2(one: Evaluation) -> Tables:
    """Draw the curves of the inverse mapping with all losses and with the label loss alone."""
    chains = one.chains
    methods = {ALL: chains.seeds, LABEL: chains.label_loss}
    known: dict[str, list[Chain]] = {
        name: [chain for chain in several if any(chain.folders["inverse"].glob("logs/*/*.csv"))]
        for name, several in methods.items()
    }
    unlogged = [
        chain.name
        for name, several in methods.items()
        for chain in several
        if chain not in known[name]
    ]
    known = {name: several for name, several in known.items() if several}
    if ALL not in known:
        lost = f"{', '.join(unlogged)}: no logs of stage 'inverse'; {one.train('inverse')}"
        return one.left_out("figure_2", FIGURE, lost)
    missing = [f"{name}: no logs of its stage 'inverse'" for name in unlogged]
    if not chains.label_loss:
        rest = {f"inverse.{weight}": "0" for weight in LOSSES}
        name = f"label-{chains.main.name}"
        parents = {
            f"parents.{stage}": str(chains.main.folders[stage]) for stage in ("arae", "gan1")
        }
        command = one.train("inverse", name=name, **parents, **rest)
        missing.append(f"the label loss alone; {command}, then evaluate.label_loss=[{name}]")

    def make() -> Tables:
        curves = {
            name: [
                read_curves(chain.folders["inverse"], chain.export("inverse").info["split"])
                for chain in several
            ]
            for name, several in known.items()
        }
        return [curve_table(curves)]

    used = [(chain, "inverse") for several in known.values() for chain in several]
    return one.tables("figure_2", used, {"folds": one.folds}, make, missing)


def _settings(net: str) -> dict[str, str]:
    """Return the settings of a classifier's net; those without batch normalisation learn slower."""
    rate = {"classifier.rate": "1.0e-4"} if net in ("vgg19", "alexnet") else {}
    return {"classifier.net": net, **rate}


def table_3(one: Evaluation) -> Tables:
    """Compare the diagnosis with classifiers."""
    chains = one.chains
    trained = {classifier_row(chain).partition(",")[0] for chain in chains.classifiers}
    nets = {net: name for net, name in NAMES.items() if name not in trained}
    missing = [
        f"{name}; {one.train('classifier', name=net, **_settings(net))}, "
        f"then evaluate.classifiers=[{net}]"
        for net, name in nets.items()
    ]
    used = [(chain, "inverse") for chain in chains.seeds]
    used += [(chain, "classifier") for chain in chains.classifiers]
    sizes = sorted({classifier_size(chain) for chain in chains.classifiers})

    def make() -> Tables:
        ours = own_runs(one.each(chains.seeds, "ours"), one.splits, one.device)
        classifiers = one.each(chains.classifiers, "classifiers")
        others = classifier_runs(classifiers, one.splits, one.device)
        return [diagnosis_table(ours, others, sizes, **one.draws)]

    return one.tables("table_3", used, {"folds": one.folds, **one.draws}, make, missing)


def table_4(one: Evaluation) -> Tables:
    """Compare the captions with a captioner's."""
    chains = one.chains
    trained = {captioner_row(chain) for chain in chains.captioners}
    missing = [] if SCRATCH in trained else [f"{SCRATCH}; {one.train('captioner')}"]
    if PRETRAINED not in trained:
        weights = {"captioner.weights": "FILE"}
        command = one.train("captioner", name="pretrained", **weights)
        missing.append(f"{PRETRAINED}; {command}, then evaluate.captioners=[pretrained]")
    used = [(chain, "inverse") for chain in chains.seeds]
    used += [(chain, "captioner") for chain in chains.captioners]

    def make() -> Tables:
        shared = (one.splits, one.lexicon, one.device, one.cfg.beams)
        methods = captioner_runs(one.each(chains.captioners, "captioners"), *shared)
        for selection, name in OURS.items():
            methods[name] = own_caption_runs(one.each(chains.seeds, name), selection, *shared)
        return caption_tables(methods, **one.draws)

    settings = {"folds": one.folds, **one.captions, **one.draws}
    return one.tables("table_4", used, settings, make, missing)


def table_5(one: Evaluation) -> Tables:
    """Analyse an expert study, or a simulated one."""
    cfg, main = one.cfg, one.chains.main
    if cfg.evaluate.study is None and not main.has("classifier"):
        lacks = f"readers compare with saliency maps; {one.train('classifier')}"
        return one.left_out("table_5", STUDY, lacks)
    used = [(main, stage) for stage in ESSENTIAL]
    used += [(main, "classifier")] if main.has("classifier") else []

    draws = {"resamples": cfg.study.resamples, "seed": cfg.seed}
    if cfg.evaluate.study is not None:  # not from the store: its answers may have changed
        stages = {stage: chain.export(stage).hash for chain, stage in used}
        folder = Path(cfg.evaluate.study)
        held = study_table(real_study(folder, stages, **draws))
        return [replace(held, provenance=one.origin(used, draws))]

    def make() -> Tables:
        data = one.splits.of(main.export("inverse"))
        design = Design(
            tuple(cfg.study.methods),
            tuple(cfg.study.readers),
            cfg.study.per_reader,
            cfg.study.shared,
            cfg.study.overlap,
        )
        images = data.table.images
        fitted = fitting(design, int((images["split"] == "test").sum()))
        opinion = Opinion(**plain(cfg.study.simulated))
        return [study_table(simulated_study(one.model(main), data, fitted, opinion, **draws))]

    inputs = {"study": plain(cfg.study), "seed": cfg.seed, **one.search}
    try:
        return one.tables("table_5", used, inputs, make)
    except DataError as error:
        return one.left_out("table_5", STUDY, str(error))


def counterfactuals(one: Evaluation) -> Tables:
    """Measure counterfactuals, ours and those of rivals, of every chain that can draw them."""
    main = one.chains.main
    judged = ["classifier"] if main.has("classifier") else []
    missing = [] if judged else [f"what needs an independent judge; {one.train('classifier')}"]
    stages = (*ESSENTIAL, *judged)
    drawing = [chain for chain in one.chains.seeds if all(map(chain.has, stages))]
    if left_out := [chain.name for chain in one.chains.seeds if chain not in drawing]:
        missing.append(f"{', '.join(left_out)}: no stage {' or no '.join(('gan2', *judged))}")
    splits = [(chain.name, chain.export("gan2").info["split"]) for chain in drawing]
    check_splits(splits, folds=one.folds)

    def make(chain: Chain) -> Tables:
        data = one.splits.of(chain.export("inverse"))
        count = one.cfg.evaluate.xrays or len(data.table.images)
        bench = Bench.of(one.model(chain), data, one.settings, count=count, **one.draws)
        return counterfactual_tables(bench)

    made = {}
    for chain in drawing:
        key = part_key("counterfactuals", chain)
        used = [(chain, stage) for stage in stages]
        made[chain.name] = one.tables(key, used, one.search, partial(make, chain), missing)
    return mean_tables(made, one.command)


def figures(one: Evaluation) -> Tables:
    """Draw figures 3 and 4."""
    main = one.chains.main
    used = [(main, stage) for stage in ESSENTIAL]
    used += [(main, "classifier")] if main.has("classifier") else []
    missing = [] if main.has("classifier") else [f"figure 4; {one.train('classifier')}"]

    def make() -> Tables:
        data = one.splits.of(main.export("inverse"))
        return drawn_figures(one.model(main), data, one.settings, one.cfg.seed)

    return one.tables("figures", used, one.search, make, missing)


def presets(one: Evaluation) -> Tables:
    """Put both presets side by side."""
    chains = one.chains
    if not chains.paper:
        return []
    both = [*chains.seeds, *chains.paper]
    used = [
        (chain, stage)
        for chain in both
        for stage in ("arae", "gan1", "inverse")
        if chain.has(stage)
    ]
    justified = [(chains.main, "gan2"), (chains.main, "classifier"), (chains.paper[0], "gan2")]
    used += [(chain, stage) for chain, stage in justified if chain.has(stage)]
    settings = {
        "critic": vars(one.critic),
        "mapped": one.cfg.mapped,
        **one.captions,
        **one.search,
    }
    return one.tables("presets", used, settings, lambda: [preset_table(side_by_side(one))])


def deviations(one: Evaluation) -> Tables:
    """Measure chains with single settings changed beside the default's seeds."""
    main, changed = one.chains.main, one.chains.deviations
    if not changed:
        return []
    split = main.export("inverse").info["split"]
    seeds = [
        chain
        for chain in one.chains.seeds
        if all(map(chain.has, ESSENTIAL)) and chain.export("inverse").info["split"] == split
    ]
    owns: dict[str, Sequence[str]] = {chain.name: ESSENTIAL for chain in seeds}
    for chain in changed:
        owns[chain.name] = [key for key in ESSENTIAL if chain.folders[key] != main.folders[key]]
    judges = [(main, "classifier")] if main.has("classifier") else []
    missing = [] if judges else [f"what needs an independent judge; {one.train('classifier')}"]
    both = [*seeds, *changed]
    splits = [(chain.name, chain.export("inverse").info["split"]) for chain in both]
    check_splits(splits, folds=False)  # with folds, too: a deviation is compared with its own seed
    used = [(chain, stage) for chain in both for stage in ESSENTIAL] + judges
    settings = {"critic": vars(one.critic), "mapped": one.cfg.mapped, **one.captions, **one.search}
    rows = {}
    for chain in one.each(both, "deviations"):
        key = part_key("deviation", chain)
        its = [(chain, stage) for stage in ESSENTIAL] + judges
        own = owns[chain.name]
        measured = partial(measure_chain, one, chain, own)
        (table,) = one.tables(key, its, {**settings, "own": list(own)}, measured)
        rows[chain.name] = table.rows[0]
    described = {
        chain.name: ", ".join(changed_settings(chain, main, owns[chain.name])) for chain in changed
    }
    default = [rows.pop(chain.name) for chain in seeds]
    make = partial(deviation_table, default, rows, described)
    return one.tables("deviations", used, settings, lambda: [make()], missing)


STEPS: Sequence[Callable[[Evaluation], Tables]] = (
    table_3,
    table_4,
    figure_2,
    figures,
    table_5,
    table_2,
    noise_sweep,
    counterfactuals,
    presets,
    deviations,
)
"""Quick ones first; the page sorts them as in the paper."""
