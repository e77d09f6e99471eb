"""What all tables of an evaluation share: chains, data, settings, and where finished tables lie."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from urllib.parse import quote

from omegaconf import DictConfig

from xrj.config import plain
from xrj.evaluate.caption_table import TOKENIZER
from xrj.evaluate.chains import Chain, Splits
from xrj.evaluate.critics import CriticSettings
from xrj.evaluate.generators import Judged, judge
from xrj.evaluate.results import Provenance, ResultTable
from xrj.evaluate.runs import check_splits
from xrj.handover import StageExport
from xrj.justify.justification import JustifySettings
from xrj.justify.model import JustificationModel
from xrj.measures.captions import meteor_runs
from xrj.measures.findings import FindingLexicon
from xrj.nets.zoo import Classifier
from xrj.programs import program
from xrj.reproduction.chains import ESSENTIAL, Chains
from xrj.reproduction.store import Store, code_version

Tables = Sequence[ResultTable]


def part_key(what: str, chain: Chain) -> str:
    """Return the store's key of a chain's part, another for each name of a chain."""
    return f"{what}_{quote(chain.name, safe='')}"


@dataclass(frozen=True)
class Evaluation:
    """What all tables share.

    Attributes:
        cfg: Of `infer.py`.
        chains: That are evaluated.
        settings: How X-rays are justified.
        device: A torch device.
        command: As it was typed.
        store: Of finished parts.
        splits: Of all chains.
        lexicon: What counts as a statement in a caption.
    """

    cfg: DictConfig
    chains: Chains
    settings: JustifySettings
    device: str
    command: str
    store: Store
    splits: Splits
    lexicon: FindingLexicon

    @property
    def folds(self) -> bool:
        """Whether chains may differ in their split."""
        return bool(self.cfg.evaluate.folds)

    @property
    def draws(self) -> dict[str, int]:
        """Resamples and seed of all intervals."""
        return {"resamples": self.cfg.evaluate.resamples, "seed": self.cfg.seed}

    @property
    def critic(self) -> CriticSettings:
        """How critics are fitted."""
        return CriticSettings(**plain(self.cfg.evaluate.critic))

    @property
    def captions(self) -> dict[str, Any]:
        """How captions are decoded and scored."""
        return {
            "lexicon": plain(self.cfg.lexicon),
            "beams": self.cfg.beams,
            "meteor": meteor_runs(),
        }

    @property
    def search(self) -> dict[str, Any]:
        """How alternatives are looked for, on how many X-rays."""
        cfg = self.cfg
        return {
            "mapping": plain(cfg.mapping),
            "refinement": plain(cfg.refinement),
            "selection": cfg.selection,
            "beams": cfg.beams,
            "xrays": cfg.evaluate.xrays,
            "unexplained": cfg.unexplained,
            "ctr_direction": plain(cfg.ctr_direction),
            "folds": self.folds,
            **self.draws,
        }

    def model(self, chain: Chain) -> JustificationModel:
        """Load all stages of a chain."""
        cfg = self.cfg
        return JustificationModel.load(
            chain.folders, chain.name, cfg.selection, cfg.beams, self.device
        )

    def judged_model(self, chain: Chain) -> JustificationModel:
        """Load the stages that explain, with the main chain's classifier as their judge.

        A chain of other labels has no judge.
        """
        explaining = Chain(chain.name, {stage: chain.folders[stage] for stage in ESSENTIAL})
        model = self.model(explaining)
        export = self.judge_of(model.labels)
        if export is None:
            return model
        net = cast(Classifier, export.net("classifier").to(self.device))
        return replace(model, classifier=net)

    @property
    def judge(self) -> StageExport | None:
        """The independent classifier of the main chain; None where it has none."""
        main = self.chains.main
        return main.export("classifier") if main.has("classifier") else None

    def judge_of(self, labels: Sequence[str]) -> StageExport | None:
        """The judge, where it knows these labels."""
        export = self.judge
        return export if export and tuple(export.vocabulary.labels) == tuple(labels) else None

    def judged(self, chain: Chain, stage: str) -> Judged:
        """Return what is found of a chain's stage I, found once for all tables.

        Args:
            chain: Whose stage it is.
            stage: "gan1" or "embedding_gan1".

        Raises:
            UserError: A stage or the data are missing.
        """
        arae = chain.export("arae")
        classifier = self.judge_of(arae.vocabulary.labels)
        parts = [arae, chain.export(stage), *([classifier] if classifier else [])]
        inputs = {
            "exports": [export.hash for export in parts],
            "chain": [chain.name, chain.seed(stage)],
            "critic": vars(self.critic),
            "seed": self.cfg.seed,
        }
        key = part_key(f"judged_{stage}", chain)
        shared = (self.splits, self.critic, self.cfg.seed, self.device, classifier)
        return self.store.judged(key, inputs, lambda: judge(chain, stage, *shared))

    def tables(
        self,
        key: str,
        used: Sequence[tuple[Chain, str]],
        settings: Mapping[str, Any],
        make: Callable[[], Tables],
        missing: Sequence[str] = (),
    ) -> list[ResultTable]:
        """Return tables from the store, or make them, with their origin and what they lack.

        Args:
            key: Of the store.
            used: Chains and stages that they depend on.
            settings: On which they depend, too.
            make: Makes them.
            missing: What is left out, and the command that makes it.

        Raises:
            UserError: Splits differ without `evaluate.folds`, or the tables cannot be made.
        """
        check_splits(
            [(chain.name, chain.export(stage).info["split"]) for chain, stage in used],
            folds=self.folds,
        )
        inputs = {
            "exports": [[chain.name, stage, chain.export(stage).hash] for chain, stage in used],
            "settings": settings,
            "missing": list(missing),
        }
        origin = self.origin(used, settings)
        lacks = "\n" + "\n".join(f"Not measured: {one}" for one in missing) if missing else ""

        def complete() -> Tables:
            return [replace(table, note=table.note + lacks, provenance=origin) for table in make()]

        return self.store.tables(key, inputs, complete)

    def left_out(self, key: str, title: str, reason: str) -> list[ResultTable]:
        """Return a table that only says why it could not be made."""
        self.store.console.print(f"{key} is left out: {reason}", highlight=False)
        return [ResultTable(key, title, (), (), f"Not measured: {reason}")]

    def origin(self, used: Sequence[tuple[Chain, str]], settings: Mapping[str, Any]) -> Provenance:
        """Return where a table comes from; see `tables`."""
        return Provenance(
            splits=tuple(sorted({chain.export(stage).info["split"] for chain, stage in used})),
            seeds=tuple(dict.fromkeys(chain.seed(stage) for chain, stage in used)),
            command=self.command,
            commit=code_version(),
            tokenizer=TOKENIZER,
            settings=dict(settings),
        )

    def each(self, chains: Sequence[Chain], what: str) -> Iterator[Chain]:
        """Yield chains, saying which is worked on."""
        for number, chain in enumerate(chains, start=1):
            self.store.console.print(
                f"  {what}: {chain.name}, {number} of {len(chains)}", style="dim", highlight=False
            )
            yield chain

    def train(self, stage: str, **settings: str) -> str:
        """Return the command that trains a stage beside the main chain."""
        main = self.chains.main
        given = {"stage": stage, "name": main.name} | settings
        if self.cfg.runs != "runs":
            given["runs"] = self.cfg.runs
        typed = main.typed()
        rest = shlex.join([*(f"{key}={value}" for key, value in given.items()), *(typed or ())])
        known = " with the settings of this chain" if typed is None else ""
        return f"`{program('train')} {rest}`{known}"
