"""Which chains an evaluation is of, by its configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from xrj.config import STAGES, plain
from xrj.errors import ConfigError, HandoverError
from xrj.evaluate.caption_table import captioner_row
from xrj.evaluate.chains import Chain
from xrj.evaluate.diagnosis_table import classifier_row
from xrj.programs import program
from xrj.reproduction.alike import check_alike, check_label_loss, check_other_preset

ESSENTIAL = ("arae", "gan1", "gan2", "inverse")
"""What draws and explains."""


@dataclass(frozen=True)
class Chains:
    """The chains of each role; all but `main` may be missing.

    Attributes:
        main: The chain that is evaluated.
        seeds: It, and those of other seeds or folds.
        paper: Of experiment=paper.
        classifiers: Those with a classifier: `seeds`, then those named for it.
        captioners: Those with a captioner, likewise.
        embeddings: Whose stage I table 2 judges: those named for it, else `seeds` with a stage I.
        rivals: Of `embeddings`, those with stage I on an embedding layer.
        label_loss: With an inverse mapping of the label loss alone.
        sweep: Stages I of the noise sweep.
        deviations: With single settings changed; stages that they lack are those of `main`.
    """

    main: Chain
    seeds: Sequence[Chain]
    paper: Sequence[Chain]
    classifiers: Sequence[Chain]
    captioners: Sequence[Chain]
    embeddings: Sequence[Chain]
    rivals: Sequence[Chain]
    label_loss: Sequence[Chain]
    sweep: Sequence[Chain]
    deviations: Sequence[Chain]

    @classmethod
    def of(cls, cfg: DictConfig) -> "Chains":
        """Find the chains that a configuration names, each or by a pattern such as "noise/*".

        Raises:
            ConfigError: Nothing was trained under a name or a pattern.
            HandoverError: A chain lacks the stage that it was named for, or was trained otherwise
                than others of its row, or than its role asks for.
        """
        runs = Path(cfg.runs)
        own = {stage: Path(folder) for stage, folder in plain(cfg.chain).items()}
        beside = {stage: runs / cfg.name / stage for stage in STAGES}
        main = Chain(cfg.name, {**beside, **own})

        def named(key: str, *stages: str) -> list[Chain]:
            flag = f"evaluate.{key}"
            names = dict.fromkeys(
                name for pattern in cfg.evaluate[key] for name in _matching(runs, pattern, flag)
            )
            chains = [Chain.named(runs, name, flag, tuple(STAGES)) for name in names]
            for chain in chains:
                for stage in stages:
                    chain.export(stage)
            return chains

        for stage in ESSENTIAL:
            main.export(stage)
        seeds = [main, *(one for one in named("seeds", "arae", "inverse") if one.name != cfg.name)]
        papers = named("paper", "arae", "gan1", "inverse")
        if both := sorted({one.name for one in seeds} & {one.name for one in papers}):
            raise ConfigError(
                f"evaluate.paper: {both[0]}: stands in evaluate.seeds or is name, too; leave it "
                "out of one"
            )
        autoencoders = {one.export("arae").hash: one.folders["arae"] for one in seeds}

        def stages1(key: str) -> list[Chain]:
            return [
                one if one.has("arae") else _with_arae(one, autoencoders, f"evaluate.{key}")
                for one in named(key, "gan1")
            ]

        embeddings = stages1("embeddings") or [one for one in seeds if one.has("gan1")]
        rivals = [one for one in embeddings if one.has("embedding_gan1")]
        classifiers = _with("classifier", seeds, named("classifiers", "classifier"))
        captioners = _with("captioner", seeds, named("captioners", "captioner"))
        label_loss, sweep = named("label_loss", "inverse"), _of_one_arae(stages1("sweep"))
        for stage in ESSENTIAL:
            for key, several in (("seeds", seeds), ("paper", papers)):
                check_alike([one for one in several if one.has(stage)], stage, f"evaluate.{key}")
        check_alike(embeddings, "gan1", "evaluate.embeddings")
        check_alike(rivals, "embedding_gan1", "evaluate.embeddings")
        check_alike(label_loss, "inverse", "evaluate.label_loss")
        check_alike(classifiers, "classifier", "evaluate.classifiers", classifier_row)
        check_alike(captioners, "captioner", "evaluate.captioners", captioner_row)
        check_alike(sweep, "gan1", "evaluate.sweep", _noise)
        check_label_loss(label_loss)
        check_other_preset(papers, main, ("arae", "gan1", "inverse"))
        return cls(
            main=main,
            seeds=seeds,
            paper=papers,
            classifiers=classifiers,
            captioners=captioners,
            embeddings=embeddings,
            rivals=rivals,
            label_loss=label_loss,
            sweep=sweep,
            deviations=[_completed(one, main, seeds) for one in named("deviations")],
        )


def _noise(chain: Chain) -> tuple[str, int]:
    """Return kind and width of the noise that a stage I draws from."""
    dims = chain.export("gan1").info["dims"]
    return str(dims["noise_kind"]), int(dims["noise"])


def _matching(runs: Path, pattern: str, flag: str) -> list[str]:
    """Return the names under `runs` that a pattern stands for; a name stands for itself.

    Raises:
        ConfigError: The pattern matches nothing, or is none.
    """
    if not set("*?") & set(pattern):
        return [pattern]
    if "**" in pattern or ".." in pattern:
        raise ConfigError(f"{flag}: {pattern}: a pattern has * and ? alone, and no '**' or '..'")
    folders = (folder for folder in runs.glob(pattern.strip("/")) if folder.is_dir())
    names = (folder.relative_to(runs).as_posix() for folder in folders)
    if shown := sorted(name for name in names if "/." not in f"/{name}"):
        return shown
    raise ConfigError(f"{flag}: {pattern}: nothing in {runs} has such a name; check the pattern")


def _with(stage: str, seeds: Sequence[Chain], others: Sequence[Chain]) -> list[Chain]:
    names = [one.name for one in seeds]
    return [
        *(one for one in seeds if one.has(stage)),
        *(one for one in others if one.name not in names),
    ]


def _with_arae(chain: Chain, autoencoders: Mapping[str, Path], flag: str) -> Chain:
    """Return a chain that was trained on another one's text autoencoder together with that.

    Raises:
        HandoverError: None of them is the one that it was trained on.
    """
    wanted = chain.export("gan1").info["parents"]["arae"]
    if wanted not in autoencoders:
        raise HandoverError(
            f"{flag}: {chain.name}: its text autoencoder is not under its name, nor that of name "
            "or a seed; add the chain that it was trained on to evaluate.seeds"
        )
    return Chain(chain.name, {**chain.folders, "arae": autoencoders[wanted]})


def _of_one_arae(chains: Sequence[Chain]) -> Sequence[Chain]:
    """Check that generators were trained on one text autoencoder.

    Raises:
        HandoverError: They were not.
    """
    hashes = {chain.export("gan1").info["parents"]["arae"]: chain.name for chain in chains}
    if len(hashes) > 1:
        a, b, *_ = hashes.values()
        raise HandoverError(
            f"evaluate.sweep: {a} and {b} were trained on different text autoencoders; train the "
            "sweep anew with one parents.arae="
        )
    return chains


def _completed(chain: Chain, main: Chain, seeds: Sequence[Chain]) -> Chain:
    """Return a chain with the main chain's stages in place of those that it lacks.

    Raises:
        HandoverError: It is a seed, has no stage of its own, or the main chain's were not built on
            its own.
    """
    if chain.name in [one.name for one in seeds]:
        raise HandoverError(
            f"evaluate.deviations: {chain.name}: is the default that they are compared with, as "
            "name or in evaluate.seeds; leave it out of one"
        )
    own = [stage for stage in ESSENTIAL if chain.has(stage)]
    if not own:
        raise HandoverError(
            f"evaluate.deviations: {chain.name}: holds none of {', '.join(ESSENTIAL)}; train one "
            "with the setting that is to be measured"
        )
    folders = {stage: (chain if stage in own else main).folders[stage] for stage in ESSENTIAL}
    for stage in ESSENTIAL:
        parents = main.export(stage).info["parents"]
        for parent in () if stage in own else (one for one in own if one in parents):
            if parents[parent] != chain.export(parent).hash:
                raise HandoverError(
                    f"evaluate.deviations: {chain.name}: has its own '{parent}' but no '{stage}' "
                    f"on it; run {program('train')} stage={stage} name={chain.name} with the same "
                    "settings"
                )
    return Chain(chain.name, folders)
