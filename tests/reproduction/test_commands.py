"""The commands of docs/evaluate.md compose and pass the checks, every choice at least once."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tests.chains import CONF
from xrj.checks import check, check_inference
from xrj.config import plain, register

TEXT = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text()
COMMANDS = re.findall(r"^python (?:train|infer)\.py .*$", TEXT, re.MULTILINE)


def jobs(words):
    """Yield overrides of jobs: of several sweeps each choice once, not each combination."""
    choices = [
        [f"{key}={value}" for value in values.split(",")]
        if "," in values and values[0] != "["
        else [word]
        for word in words
        for key, _, values in [word.partition("=")]
    ]
    for turn in range(max(map(len, choices))):
        yield [several[turn % len(several)] for several in choices]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_composes_for_every_choice(command):
    program, *words = shlex.split(command)[1:]
    words = [word.replace("=DIR", "=data") for word in words if word != "-m"]
    register()
    names = set()
    for overrides in jobs(words):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose(program.removesuffix(".py"), overrides)
        (check if program == "train.py" else check_inference)(cfg)
        names.add((plain(cfg)["name"], plain(cfg).get("stage")))
    assert len(names) == max(1, len(list(jobs(words))))


def test_the_demo_sized_paper_preset_keeps_the_papers_method():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["experiment=[paper,demo]"])
    assert (cfg.gan1.max_epochs, cfg.gan1.width) == (24, 16)
    assert (cfg.gan1.anchor, cfg.gan1.condition_on_noise, cfg.inverse.image_weight) == (0, True, 1)
    assert (cfg.gan1.code_noise, cfg.arae.substitution) == (0, 0)
    assert (cfg.inverse.caption_weight, cfg.inverse.telling) == (0, 0)
