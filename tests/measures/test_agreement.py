import math
import tarfile
import xml.etree.ElementTree as ET
from itertools import product
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from xrj.datamodules import phantom_reports
from xrj.datamodules.captions import sentences
from xrj.errors import ConfigError
from xrj.measures.agreement import (
    Agreement,
    Lexicon,
    agreement,
    contradicts_itself,
    says,
    verdict,
)

CONFIG = OmegaConf.to_container(
    OmegaConf.load(Path(__file__).parents[2] / "conf" / "lexicon" / "heart.yaml")
)
CHEST = Lexicon.from_config(CONFIG)
HEART = CHEST.of(["normal", "cardiomegaly"])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("there is mild cardiomegaly", "cardiomegaly"),
        ("the heart is mildly to moderately enlarged", "cardiomegaly"),
        ("stable enlargement of the cardiac silhouette", "cardiomegaly"),
        ("heart size is <oov> enlarged pulmonary vascularity within normal limits", "cardiomegaly"),
        ("no pleural effusion the heart is enlarged", "cardiomegaly"),
        ("no pneumothorax or pleural effusion mild cardiomegaly", "cardiomegaly"),
        ("the heart is not small cardiomegaly is present", "cardiomegaly"),
        ("no cardiomegaly", "normal"),
        ("there is no evidence of cardiomegaly", "normal"),
        ("no focal consolidation pleural effusion or cardiomegaly", "normal"),
        ("negative for cardiac enlargement", "normal"),
        ("cardiomegaly is no longer seen", "normal"),
        ("the heart is not significantly enlarged", "normal"),
        ("heart size is at the upper limits of normal", "normal"),
        (
            "heart size mediastinal contour and pulmonary vascularity are within normal limits",
            "normal",
        ),
        ("normal heart size and mediastinal contours", "normal"),
        ("the heart is not normal", None),
        ("the lungs are clear no pleural effusion", None),
        ("left basilar retrocardiac opacity pulmonary vascularity is normal", None),
        ("stable cardiomediastinal silhouette", None),
        ("enlarged thoracic aorta", None),
        ("", None),
    ],
)
def test_what_a_caption_says(text, label):
    assert says(text.split(), HEART) == label


def test_an_affirmed_finding_outweighs_a_normal_statement():
    text = "normal cardiac contours heart size enlarged no cardiomegaly before"
    assert says(text.split(), HEART) == "cardiomegaly"


def heart_sentences() -> dict[str, list[str]]:
    grades = [
        sentence.format(grade=grade, Grade=grade.capitalize())
        for sentence, grade in product(phantom_reports.HEART_GRADED, ("mild", "moderate", "severe"))
    ]
    return {
        "cardiomegaly": [*grades, *phantom_reports.HEART_PLAIN],
        "normal": [*phantom_reports.HEART_NORMAL, *phantom_reports.HEART_UPPER],
    }


@pytest.mark.parametrize("label", ["cardiomegaly", "normal"])
def test_phantom_reports_are_read_right_beside_any_neighbour(label):
    others = (*phantom_reports.PLEURA, *phantom_reports.LUNGS, *phantom_reports.BONES)
    for heart, other in product(heart_sentences()[label], others):
        for text in (f"{heart} {other}", f"{other} {heart}"):
            words = [word for sentence in sentences(text) for word in sentence]
            assert says(words, HEART) == label, text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the heart is mildly enlarged there is no cardiomegaly", True),
        ("no cardiomegaly the heart is large", True),
        ("there is cardiomegaly the lungs are clear no effusion", False),
        ("the heart is normal in size no cardiomegaly", False),
        ("", False),
    ],
)
def test_a_caption_that_affirms_and_denies_contradicts_itself(text, expected):
    assert contradicts_itself(text.split(), HEART) is expected


def test_a_caption_that_contradicts_itself_does_not_agree():
    words = "the heart is enlarged there is no cardiomegaly".split()
    assert agreement([words], ["cardiomegaly"], HEART) == Agreement(0, 1, 0, 1)


def test_counts():
    captions = [text.split() for text in ("no cardiomegaly", "cardiomegaly", "clear lungs")]
    result = agreement(captions, ["normal", "normal", "normal"], HEART)
    assert result == Agreement(agree=1, contradict=1, silent=1, n=3)
    assert result.share == 0.5
    assert math.isnan(agreement(captions[2:], ["normal"], HEART).share)
    with pytest.raises(ValueError, match="shorter"):
        agreement(captions, ["normal"], HEART)


def test_any_labels_will_do():
    chest = Lexicon.from_config(
        {
            "implied": "unauffällig",
            "parts": {},
            "statements": {
                "erguss": ["pleuraerguss"],
                "stauung": ["stauung"],
                "unauffällig": ["unauffällig"],
            },
            "negations": ["kein", "keine"],
            "fillers": [],
            "negations_after": ["nicht"],
        }
    )
    assert says("stauung und pleuraerguss".split(), chest) == "stauung"
    assert says("kein pleuraerguss keine stauung".split(), chest) == "unauffällig"
    assert says("keine stauung aber pleuraerguss".split(), chest) == "erguss"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"implied": "healthy"}, "'healthy' has no statements"),
        ({"statements": {"normal": ["(normal"]}}, "mend the pattern"),
        ({"statements": {"normal": ["{nobody} normal"]}}, "'nobody' is missing"),
    ],
    ids=["implied", "pattern", "part"],
)
def test_a_wrong_lexicon_is_named(change, message):
    with pytest.raises(ConfigError, match=message):
        Lexicon.from_config(CONFIG | change)


@pytest.mark.data
def test_real_reports_agree_with_their_mesh_label(shared_data):
    captions, labels = [], []
    with tarfile.open(shared_data / "iu_xray" / "NLMCXR_reports.tgz") as archive:
        for member in archive:
            if not member.name.endswith(".xml"):
                continue
            report = ET.parse(archive.extractfile(member))
            terms = [(term.text or "").lower() for term in report.iter("major")]
            large = any(term.startswith("cardiomegaly") for term in terms)
            texts = [t for t in report.iter("AbstractText") if t.get("Label") == "FINDINGS"]
            if large or terms == ["normal"]:
                found = sentences(" ".join(text.text or "" for text in texts))
                captions.append([word for sentence in found for word in sentence])
                labels.append("cardiomegaly" if large else "normal")
    for label in ("normal", "cardiomegaly"):
        own = [caption for caption, of in zip(captions, labels, strict=True) if of == label]
        result = agreement(own, [label] * len(own), HEART)
        assert result.share > 0.95
        assert result.agree > 0.9 * sum(map(bool, own))


def test_patterns_are_composed_as_captions_are():
    lexicon = Lexicon.from_config(
        {
            "implied": "normal",
            "parts": {"organ": "cœur"},
            "statements": {"e\u0301largi": ["{organ} e\u0301largi"], "normal": ["normal"]},
            "negations": ["pas"],
            "fillers": ["de"],
            "negations_after": ["absent"],
        }
    )
    assert says(["cœur", "élargi"], lexicon) == "élargi"


@pytest.mark.parametrize(
    ("text", "said"),
    [  # by label: normal, cardiomegaly, pleural effusion
        ("the heart is normal in size", ("agrees", "contradicts", "silent")),
        ("no pleural effusion or pneumothorax", ("agrees", "silent", "contradicts")),
        ("no pneumothorax or pleural effusion", ("agrees", "silent", "contradicts")),
        ("no large pleural effusion is seen", ("agrees", "silent", "contradicts")),
        ("the heart is enlarged no pleural effusion", ("contradicts", "agrees", "contradicts")),
        (
            "the heart is normal in size there is a small left pleural effusion",
            ("contradicts", "contradicts", "agrees"),
        ),
        ("possible small right pleural effusion", ("contradicts", "contradicts", "agrees")),
        (
            "stable cardiomegaly small left pleural effusion",
            ("contradicts", "contradicts", "contradicts"),
        ),
        ("no cardiomegaly no effusion", ("agrees", "contradicts", "contradicts")),
        (
            "small left effusion no pleural effusion",
            ("contradicts", "contradicts", "contradicts"),
        ),
        ("the lungs are clear", ("silent", "silent", "silent")),
    ],
)
def test_denying_one_of_three_labels_says_nothing_of_the_third(text, said):
    labels = ("normal", "cardiomegaly", "pleural effusion")
    chest = CHEST.of(labels)
    assert tuple(verdict(text.split(), label, chest) for label in labels) == said


def test_each_sentence_of_the_phantom_about_fluid_is_understood():
    chest = CHEST.of(["normal", "cardiomegaly", "pleural effusion"])
    for sentence, side in product(phantom_reports.EFFUSION, ("left", "right", "bilateral")):
        (words,) = sentences(sentence.format(side=side))
        assert verdict(words, "pleural effusion", chest) == "agrees", sentence
    for sentence in phantom_reports.PLEURA:
        (words,) = sentences(sentence)
        assert verdict(words, "pleural effusion", chest) == "contradicts", sentence
        assert verdict(words, "cardiomegaly", chest) == "silent", sentence


def test_words_about_labels_that_a_chain_does_not_have_say_nothing():
    words = "small left pleural effusion".split()
    assert verdict(words, "cardiomegaly", HEART) == "silent"
    assert CHEST.of(["normal", "effusion"]).knows(["normal", "effusion"])
    assert not HEART.knows(["normal", "effusion"])
