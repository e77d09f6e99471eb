from pathlib import Path

import pytest
from omegaconf import OmegaConf

from xrj.config import LabelConfig
from xrj.datamodules.labels import PAPER_RULES, assign, label_rules, match_labels
from xrj.datamodules.records import Counts
from xrj.errors import ConfigError


@pytest.mark.parametrize(
    ("mesh", "label"),
    [
        (["normal"], "normal"),
        (["Normal"], "normal"),
        (["normal", "Scoliosis"], None),
        (["Cardiomegaly"], "cardiomegaly"),
        (["Cardiomegaly/mild", "Pleural Effusion/left"], "cardiomegaly"),
        (["CARDIOMEGALY/borderline"], "cardiomegaly"),
        (["Heart/Cardiomegaly"], None),
        (["Scoliosis"], None),
        (["no cardiomegaly"], None),
        ([], None),
        (["/mild"], None),
    ],
)
def test_the_papers_rules(mesh, label):
    assert assign(mesh, PAPER_RULES) == label


def test_a_report_that_two_rules_match_is_unlabelled():
    rules = label_rules(
        [
            {"name": "effusion", "any": ["Pleural Effusion"]},
            {"name": "large heart", "any": ["Cardiomegaly"]},
        ]
    )
    assert assign(["Pleural Effusion/left"], rules) == "effusion"
    assert assign(["Pleural Effusion/left", "Cardiomegaly"], rules) is None


def test_any_and_only_together():
    rules = label_rules(
        [{"name": "pure", "any": ["cardiomegaly"], "only": ["cardiomegaly", "aorta"]}]
    )
    assert assign(["Cardiomegaly", "Aorta/tortuous"], rules) == "pure"
    assert assign(["Aorta/tortuous"], rules) is None
    assert assign(["Cardiomegaly", "Scoliosis"], rules) is None


def test_rules_come_from_a_composed_config():
    config = OmegaConf.create(
        [{"name": "normal", "only": ["normal"]}, {"name": "cardiomegaly", "any": ["Cardiomegaly"]}]
    )
    assert label_rules(config) == PAPER_RULES


@pytest.mark.parametrize(
    "config",
    [
        [],
        [{"name": "x"}],
        [{"any": ["x"]}],
        [{"name": "x", "any": []}],
        [{"name": "x", "any": "cardiomegaly"}],
        [{"name": "x", "any": ["y"], "all": ["z"]}],
        [{"name": "x", "any": ["y"]}, {"name": "x", "only": ["z"]}],
    ],
)
def test_rules_that_cannot_be_are_named(config):
    with pytest.raises(ConfigError, match=r"^data\.labels: [^\n]+$"):
        label_rules(config)


def test_names_and_terms_are_composed_and_differ_in_more_than_case():
    (rule,) = label_rules([{"name": "e\u0301largi", "any": ["Cardiome\u0301galie"]}])
    assert rule.name == "élargi"
    assert assign(["Cardiomégalie/mild"], [rule]) == "élargi"
    with pytest.raises(ConfigError, match="must be distinct"):
        label_rules([{"name": "Normal", "any": ["a"]}, {"name": "normal", "any": ["b"]}])


@pytest.mark.parametrize(("name", "cell"), [("true", "true"), ("1", "1"), ("NA", "NA")])
def test_names_that_yaml_reads_as_values_meet_their_cells(name, cell):
    config = OmegaConf.create(f"name: {name}\nonly: [x]")
    (rule,) = label_rules([OmegaConf.merge(OmegaConf.structured(LabelConfig), config)])
    assert match_labels(Path("x.csv"), {cell: 1}, [rule.name], Counts()) == {cell: rule.name}
