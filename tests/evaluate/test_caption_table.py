"""Table 4: what is scored with and without the label word, and what captions are counted as."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from tests.chains import CONF
from xrj.evaluate import caption_table
from xrj.evaluate.caption_table import (
    PRETRAINED,
    SCRATCH,
    caption_run,
    caption_tables,
    captioner_row,
    captioner_runs,
)
from xrj.evaluate.readings import Readings
from xrj.measures.captions import score_captions
from xrj.measures.findings import FindingLexicon

LEXICON = FindingLexicon.from_config(yaml.safe_load((CONF / "lexicon" / "heart.yaml").read_text()))
SAID = [
    ("normal", "the heart is normal"),
    ("normal", "no pleural effusion"),
    ("cardiomegaly", "the heart is enlarged"),
    ("cardiomegaly", "the heart is normal"),
    ("normal", "the heart is normal"),
]
TRUE = [
    ("normal", ["the heart is normal in size", "lungs are clear"]),
    ("cardiomegaly", ["no effusion or pneumothorax"]),
    ("cardiomegaly", ["cardiomegaly without effusion", "the heart is large"]),
    ("normal", ["heart size is normal"]),
    ("normal", ["no acute disease", "the heart is normal"]),
]
DRAWS = {"resamples": 20, "seed": 0}


def readings(said=SAID):
    captions = [[text.split() for text in texts] for _, texts in TRUE]
    labels = [label for label, _ in TRUE]
    frame = pd.DataFrame({"patient_id": list("abcde"), "label": labels, "captions": captions})
    decoded = [(label, text.split()) for label, text in said]
    return Readings(frame, np.zeros(5, np.int64), np.ones((5, 2)) / 2, decoded)


@pytest.fixture(autouse=True)
def meteor(monkeypatch):
    """Stand for METEOR, which needs Java: how often captions hold the label's words."""

    def scored(said, true, *, meteor):
        assert meteor
        share = np.mean([text.split()[0] in ("normal", "cardiomegaly") for text in said])
        return replace(score_captions(said, true), meteor=float(share), meteor_reason="")

    monkeypatch.setattr(caption_table, "score_captions", scored)


def theirs(said, true):
    gts, res = dict(enumerate(true)), {row: [text] for row, text in enumerate(said)}
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    return {
        "bleu1": bleu[0],
        "bleu4": bleu[3],
        "rouge_l": Rouge().compute_score(gts, res)[0],
        "cider": Cider().compute_score(gts, res)[0],
    }


def test_captions_are_scored_without_their_label_word_and_with_it():
    run = caption_run("a", "s", 0, readings(), LEXICON)
    rows = np.arange(5)
    bare = theirs([text for _, text in SAID], [texts for _, texts in TRUE])
    labelled = theirs(
        [f"{label} {text}" for label, text in SAID],
        [[f"{label} {text}" for text in texts] for label, texts in TRUE],
    )
    for key in bare:
        assert bare[key] != labelled[key]
        assert run.bare.scores(rows)[key] == pytest.approx(bare[key])
        assert run.labelled.scores(rows)[key] == pytest.approx(labelled[key])
    assert run.meteor == (0.0, 1.0)


def test_captions_are_silent_on_their_label_or_agree_with_it_or_not():
    """One says nothing of the heart; of the four others one says what its label denies."""
    run = caption_run("a", "s", 0, readings(), LEXICON)
    found = run.bare.scores(np.arange(5))
    assert found["silent"] == pytest.approx(1 / 5)
    assert found["consistent"] == pytest.approx(3 / 4)
    assert run.bare.counts["consistent"] == 4
    assert np.isnan(run.bare.scores(np.array([1]))["consistent"])


def test_equal_captions_count_once():
    assert caption_run("a", "s", 0, readings(), LEXICON).distinct == pytest.approx(3 / 5)
    same = caption_run("a", "s", 0, readings([("normal", "the heart is normal")] * 5), LEXICON)
    assert same.distinct == pytest.approx(1 / 5)


def test_wider_frequencies_know_the_captions_of_training():
    background = [("normal", ["the heart is normal", "lungs are clear"])]
    alone, wide = (
        caption_run("a", "s", 0, readings(), LEXICON, known) for known in ((), background)
    )
    for which in ("bare", "labelled"):
        before, after = (getattr(run, which).scores(np.arange(5)) for run in (alone, wide))
        assert before["cider_wide"] == before["cider"] == after["cider"] != after["cider_wide"]


def test_the_tables_hold_what_was_scored_without_and_with_the_label_word():
    runs = [caption_run(name, "s", seed, readings(), LEXICON) for seed, name in enumerate("ab")]
    bare, labelled, words = (
        table.row("Ours").cells for table in caption_tables({"Ours": runs}, **DRAWS)
    )
    rows = np.arange(5)
    for key in ("bleu1", "bleu4", "rouge_l", "cider"):
        assert bare[key].value == pytest.approx(runs[0].bare.scores(rows)[key])
        assert labelled[key].value == pytest.approx(runs[0].labelled.scores(rows)[key])
    assert (bare["meteor"].value, labelled["meteor"].value) == (0, 1)
    assert (words["distinct"].value, words["distinct"].n) == (pytest.approx(3 / 5), 5)
    assert (words["silent"].value, words["consistent"].n) == (pytest.approx(1 / 5), 4)
    assert bare["runs"] == "2"
    assert bare["deviation"].value == 0


@pytest.mark.parametrize(("weights", "name"), [(None, SCRATCH), ("vgg16.pth", PRETRAINED)])
def test_captioners_count_for_the_row_of_the_weights_they_began_with(monkeypatch, weights, name):
    images = pd.DataFrame({"split": ["train"], "label": ["normal"], "captions": [[["clear"]]]})
    chain = SimpleNamespace(
        name="c",
        settings=lambda _stage: {"captioner.weights": weights},
        export=lambda _stage: SimpleNamespace(info={"split": "s"}),
        seed=lambda _stage: 0,
    )
    splits = SimpleNamespace(
        of=lambda _export: SimpleNamespace(table=SimpleNamespace(images=images))
    )
    monkeypatch.setattr(caption_table, "read_captioner", lambda *_: readings())
    assert captioner_row(chain) == name
    assert list(captioner_runs([chain], splits, LEXICON, "cpu", 1)) == [name]
