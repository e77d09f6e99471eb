"""`task=evaluate`: every table and figure that the trained chains allow."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from xrj import __version__
from xrj.config import plain
from xrj.evaluate.chains import Splits
from xrj.evaluate.results import ResultTable
from xrj.evaluate.results_page import write_results
from xrj.justify.justification import JustifySettings
from xrj.measures.findings import FindingLexicon
from xrj.reproduction.chains import Chains
from xrj.reproduction.evaluation import Evaluation
from xrj.reproduction.steps import STEPS
from xrj.reproduction.store import Store

ORDER = ("table_2", "noise", "figure_2", "table_3", "table_4", "table_5", "figure_3", "figure_4")
"""As in the paper; what is beyond it follows."""


def evaluate(cfg: DictConfig, settings: JustifySettings, device: str, command: str) -> Path:
    """Make all tables and figures and write them; return the page.

    The results are written anew after each step, so that there is something to look at early.

    Args:
        cfg: Of `infer.py`.
        settings: How X-rays are justified.
        device: A torch device.
        command: As it was typed.

    Raises:
        UserError: The configuration, a chain or the data do not allow it.
    """
    out = Path(cfg.out) if cfg.out else Path(cfg.runs) / cfg.name / "evaluation"
    one = Evaluation(
        cfg=cfg,
        chains=Chains.of(cfg),
        settings=settings,
        device=device,
        command=command,
        store=Store(out / "tables", Console(stderr=True)),
        splits=Splits(plain(cfg.data)),
        lexicon=FindingLexicon.from_config(plain(cfg.lexicon)),
    )
    found: dict[str, ResultTable] = {}
    page = out
    for step in STEPS:
        found |= {table.key: table for table in step(one)}
        page = write_results(
            out,
            f"Evaluation of {cfg.name}",
            sorted(found.values(), key=lambda table: _place(table.key)),
            {"name": cfg.name, "version": __version__, "command": command},
        )
    return page


def _place(key: str) -> int:
    return next((place for place, name in enumerate(ORDER) if key.startswith(name)), len(ORDER))
