"""An evaluation of untrained chains, and changes to what these say of themselves."""

import shutil

from hydra import compose, initialize_config_dir

from tests.chains import CONF
from xrj.config import register
from xrj.files import read_json, sha256_json, write_json
from xrj.reproduction.chains import Chains
from xrj.tasks import run_task

QUICK = [
    "task=evaluate",
    "name=tiny",
    "device=cpu",
    "mapping.tries=1",
    "mapping.steps=2",
    "refinement.steps=2",
    "evaluate.resamples=100",
    "evaluate.xrays=4",
    "evaluate.critic={steps: 2, batch: 4, width: 2, draws: 2}",
    "study.per_reader=4",
    "study.shared=2",
    "study.resamples=100",
]


def configured(runs, *overrides):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("infer", [*QUICK, f"runs={runs}", *overrides])


def evaluate(runs, *overrides):
    run_task(configured(runs, *overrides))


def chains(runs, *overrides):
    return Chains.of(configured(runs, *overrides))


def changed(runs, name, *stages, **settings):
    """Copy stages of the chain `tiny` under another name, with other settings on record."""
    for stage in stages:
        shutil.copytree(runs / "tiny" / stage, runs / name / stage)
        write_json(runs / name / stage / "run.json", {"settings": {"seed": 0, **settings}})


def rewrite(export, **changes):
    """Change what an export says of itself, and so its hash."""
    path = export / "export" / "stage.json"
    info = {name: value for name, value in read_json(path).items() if name != "hash"} | changes
    write_json(path, info | {"hash": sha256_json(info)})
