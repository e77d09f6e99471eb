"""Names and paths on the command line: they arrive as they were written."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from xrj.config import TrainConfig
from xrj.errors import ConfigError
from xrj.infer_config import InferConfig
from xrj.settings import NAME, PATH, a_name, a_path, expand_home, nearest, quote, settings


@dataclass
class Inner:
    file: Any = a_path(None)


@dataclass
class Schema:
    name: Any = a_name("default")
    seed: int = 7
    stage: str = "arae"
    readers: list[Any] = a_name("???")
    numbers: list[float] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)


def jobs(*arguments):
    """Parse a command line as Hydra does; return the configuration of each job."""
    parser = OverridesParser.create()
    quoted = quote(list(arguments), Schema)
    overrides = parser.parse_overrides([one for one in quoted if one != "-m"])
    found = []
    for job in BasicSweeper.split_arguments(overrides, None)[0]:
        cfg = OmegaConf.structured(Schema)
        for override in parser.parse_overrides(list(job)):
            OmegaConf.update(cfg, override.key_or_group.lstrip("+"), override.value())
        found.append(cfg)
    return found


NAMES = [
    *("2024_01", "1e3", "001", "true", "null", "1_000", "0x10", "2024-01-01", "12:30", "nan"),
    *("-5", "no", "~", "a b", "Zoë", "a=b", "f(x)", "{x}", "it's", "#1", "$x", "x\\", "50%"),
]
FILES = [
    *("w=1(a).pth", "a, b", " a ", "it's", "'a", 'say "a"', '"', "#$!&;", "{a}", "[b]", "%s", "-x"),
    *("a${b}", "a${", "${na", "\\\\${z", "back\\slash", "end\\", "\\'", "(", ")", "a\nb", "a\tb"),
    *("ü", "é中", "a:b", "*?|", "2024_01", "true", "`x`", "bad\udcff", "choice(a)", "x = y"),
]


@pytest.mark.parametrize("multirun", [(), ("-m",)], ids=["single", "multirun"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_whatever_it_looks_like(name, multirun):
    (cfg,) = jobs(*multirun, f"name={name}", f"readers=[{name},b]")
    assert cfg.name == name
    assert cfg.readers == [name, "b"]


@pytest.mark.parametrize("multirun", [(), ("-m",)], ids=["single", "multirun"])
@pytest.mark.parametrize("name", FILES)
def test_a_path_holds_any_sign(tmp_path, name, multirun):
    path = f"{tmp_path}/{name}"
    if name in ("a, b", " a "):  # else a multirun sees two, or what is around a comma
        Path(path).touch()
    for argument in (f"inner.file={path}", f"++inner.file={path}"):
        (cfg,) = jobs(*multirun, argument)
        assert cfg.inner.file == path


@pytest.mark.parametrize("name", ["a${seed}", "'a'", '"a, b"', "a, b", "a\\${seed}"])
def test_a_path_that_exists_is_taken_as_it_is(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    for multirun in ((), ("-m",)):
        for below in ("", "/new, x") if name == "a, b" else ("",):
            (cfg,) = jobs(*multirun, f"inner.file={name}{below}")
            assert cfg.inner.file == f"{name}{below}"


def test_commas_of_a_multirun_separate_values(tmp_path):
    assert [cfg.name for cfg in jobs("-m", "name=2024_01,1e3, b")] == ["2024_01", "1e3", "b"]
    assert [cfg.name for cfg in jobs("-m", "name=choice(001,'a,b')")] == ["001", "a,b"]
    assert [cfg.inner.file for cfg in jobs("-m", "inner.file=a=1,'b, (c)',null")] == [
        *("a=1", "b, (c)", None)
    ]
    assert [cfg.readers for cfg in jobs("-m", "readers=[1e3,001],[]")] == [["1e3", "001"], []]


def test_lists_of_names():
    assert jobs("readers=['a, b',001,\"c\"]")[0].readers == ["a, b", "001", "c"]
    assert jobs("readers=1e3,b")[0].readers == ["1e3", "b"]
    assert jobs("readers=[]")[0].readers == []


@pytest.mark.parametrize("flag", ["-m", "--multirun", "--multi", "hydra.mode=MULTIRUN"])
def test_a_multirun_is_told_by_its_flag(flag):
    assert quote([flag, "name=1e3,b"], Schema) == [flag, "name='1e3','b'"]


@pytest.mark.parametrize("key", ["name", "stage"])
def test_several_names_need_a_multirun(key):
    with pytest.raises(ConfigError, match=f"{key}=a,b: several values need -m"):
        quote([f"{key}=a,b"], Schema)
    assert jobs(f"{key}='a,b'")[0][key] == "a,b"


def test_interpolations_stay():
    (cfg,) = jobs("name=s${seed}", "inner.file=/x/${name}/${oc.env:HOME}")
    assert cfg.name == "s7"
    assert cfg.inner.file.startswith("/x/s7//")


def test_what_is_no_text_is_left_to_hydra():
    arguments = ["-m", "seed=1,2", "numbers=[1,2]", "inner={file: x}", "hydra.verbose=true", "x=1"]
    assert quote(arguments, Schema) == arguments
    assert quote(["inner.file=null", "inner.file="], Schema) == ["inner.file=null", "inner.file="]


@pytest.mark.parametrize("schema", [TrainConfig, InferConfig])
def test_every_path_and_name_is_declared(schema):
    kinds = {key: setting.kind for key, setting in settings(schema)}
    paths = {"runs", "data.root", "data.csv", "data.cache_dir"}
    names = {"name"}
    if schema is TrainConfig:
        paths |= {"data.split.file", "classifier.weights", "captioner.weights"}
        paths |= {"parents.arae", "parents.gan1"}
        names |= {"logger.project"}
    else:
        paths |= {"image", "out", "evaluate.study", "card.measures"}
        paths |= {f"chain.{stage}" for stage in ("arae", "gan1", "gan2", "inverse", "classifier")}
        lists = "seeds paper classifiers captioners embeddings label_loss sweep deviations"
        names |= {"study.reader", "study.readers", *(f"evaluate.{key}" for key in lists.split())}
    assert {key for key, kind in kinds.items() if kind == PATH} == paths
    assert {key for key, kind in kinds.items() if kind == NAME} == names


@pytest.mark.parametrize("name", ["x", "x, ${b}", "${seed}"])
def test_home_takes_the_place_of_the_tilde(monkeypatch, tmp_path, name):
    monkeypatch.setenv("HOME", f"{tmp_path}/a${{b}}")
    cfg = OmegaConf.structured(Schema)
    escaped = name.replace("${b}", r"\${b}")
    cfg.inner.file = f"~/{escaped}"
    expand_home(cfg, Schema)
    assert cfg.inner.file == f"{tmp_path}/a${{b}}/{name.replace('${seed}', '7')}"
    cfg.inner.file = "x~/~"
    expand_home(cfg, Schema)
    assert cfg.inner.file == "x~/~"


def test_the_nearest_is_suggested():
    keys = ["gan1.width", "gan2.width", "seed", "data.csv", "trainer.devices"]
    assert nearest("gan1.widht", keys) == "did you mean gan1.width? "
    assert nearest("width", keys) == "did you mean gan1.width or gan2.width? "
    assert nearest("devces", keys) == "did you mean trainer.devices? "
    assert nearest("zzz", keys) == ""
