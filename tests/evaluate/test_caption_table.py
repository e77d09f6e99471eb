"""Table 4 on captions whose scores and words can be counted by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.chains import CONF
from xrj.evaluate import caption_table
from xrj.evaluate.caption_table import CaptionRun, caption_run, caption_tables, captioner_runs
from xrj.evaluate.chains import Chain
from xrj.evaluate.readings import Readings
from xrj.evaluate.runs import Run
from xrj.measures import captions
from xrj.measures.findings import FindingLexicon


@pytest.fixture(scope="module")
def lexicon():
    return FindingLexicon.from_config(yaml.safe_load((CONF / "lexicon" / "heart.yaml").read_text()))


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setattr(captions.shutil, "which", lambda _name: None)


def read(*rows):
    """Return readings of rows: decoded label and caption, true label and captions."""
    decoded = [(label, text.split()) for label, text, _, _ in rows]
    frame = pd.DataFrame(
        {
            "label": [label for _, _, label, _ in rows],
            "captions": [[text.split() for text in several] for *_, several in rows],
            "patient_id": [f"CXR{row}" for row in range(len(rows))],
        }
    )
    count = len(rows)
    return Readings(frame, np.zeros(count, np.int64), np.full((count, 2), np.nan), decoded)


HEART, LUNGS = "heart is normal", "lungs are clear"
TWO = read(
    ("normal", HEART, "normal", [HEART]),
    ("cardiomegaly", LUNGS, "normal", [LUNGS]),  # the words are right, the label is not
)
WORDS = read(
    ("normal", "the heart is normal", "cardiomegaly", ["the heart is enlarged"]),
    ("normal", "the heart is normal", "normal", ["the heart is normal"]),
    ("cardiomegaly", "the heart is enlarged", "cardiomegaly", ["the heart is enlarged"]),
    ("cardiomegaly", "there is cardiomegaly", "normal", ["the heart is normal"]),
    ("cardiomegaly", "the heart is normal", "normal", ["the heart is normal"]),
    ("cardiomegaly", "no cardiomegaly but heart is enlarged", "normal", ["normal heart"]),
    ("normal", "the lungs are clear", "normal", ["the lungs are clear"]),
)


def run_of(readings, lexicon):
    return caption_run("a", "split", 3, readings, lexicon)


def all_of(run):
    return run.scores(np.arange(len(run.patients)))


def test_the_label_word_is_scored_in_the_labelled_variant_alone(lexicon):
    run = run_of(TWO, lexicon)
    assert all_of(run.bare)["bleu1"] == pytest.approx(6 / 6)
    assert all_of(run.labelled)["bleu1"] == pytest.approx(7 / 8)
    # Of two and of four words in a row: "cardiomegaly lungs" and all that begins there are wrong.
    assert all_of(run.labelled)["bleu2"] == pytest.approx((7 / 8 * 5 / 6) ** (1 / 2))
    assert all_of(run.labelled)["bleu4"] == pytest.approx((7 / 8 * 5 / 6 * 3 / 4 * 1 / 2) ** 0.25)
    assert run.bare.patients == run.labelled.patients == ["CXR0", "CXR1"]


def test_meteor_is_of_the_texts_of_its_variant(lexicon, monkeypatch):
    values = {
        ("heart is normal | lungs are clear", "heart is normal | lungs are clear"): 0.3,
        (
            "normal heart is normal | cardiomegaly lungs are clear",
            "normal heart is normal | normal lungs are clear",
        ): 0.2,
    }

    def meteor(said, true):
        return values[" | ".join(said), " | ".join(text for (text,) in true)], ""

    monkeypatch.setattr(captions, "_meteor", meteor)
    run = run_of(TWO, lexicon)
    assert (run.meteor, run.reason) == ((0.3, 0.2), "")


def test_without_java_meteor_has_its_reason(lexicon):
    run = run_of(TWO, lexicon)
    assert (run.meteor, run.reason) == ((None, None), "Java is not installed")


def test_distinct_is_the_share_of_different_captions(lexicon):
    assert run_of(WORDS, lexicon).distinct == pytest.approx(5 / 7)
    assert run_of(TWO, lexicon).distinct == 1
    same = read(*[("normal", HEART, "normal", [HEART])] * 4)
    assert run_of(same, lexicon).distinct == 1 / 4


def test_wider_frequencies_know_the_captions_of_training(lexicon):
    """A word that training has, too, is less rare; without the label word and with it."""
    background = [("cardiomegaly", ["the heart is enlarged", LUNGS])]
    alone, wide = (caption_run("a", "s", 0, WORDS, lexicon, known) for known in ((), background))
    for which in ("bare", "labelled"):
        before, after = (all_of(getattr(run, which)) for run in (alone, wide))
        assert before["cider_wide"] == before["cider"] == after["cider"] != after["cider_wide"]
    assert all_of(wide.bare)["cider_wide"] != all_of(wide.labelled)["cider_wide"]


def test_captions_are_silent_or_agree_with_the_decoded_label(lexicon):
    run = run_of(WORDS, lexicon).bare
    assert all_of(run)["silent"] == pytest.approx(1 / 7)
    assert all_of(run)["consistent"] == pytest.approx(4 / 6)
    assert run.counts == {"consistent": 6}
    drawn = run.scores(np.array([6, 6, 6, 4, 0]))
    assert (drawn["silent"], drawn["consistent"]) == (3 / 5, 1 / 2)
    mute = run.scores(np.array([6, 6]))
    assert mute["silent"] == 1
    assert np.isnan(mute["consistent"])


def test_labels_that_the_lexicon_does_not_know_are_not_looked_for(lexicon):
    run = run_of(read(("nodule", LUNGS, "nodule", [LUNGS])), lexicon).bare
    assert np.isnan([all_of(run)["silent"], all_of(run)["consistent"]]).all()


def test_captioners_are_named_by_what_they_were_trained_from(lexicon, monkeypatch, tmp_path):
    trained = {
        "imagenet": {"captioner.weights": "vgg16.safetensors", "seed": 1},
        "scratch": {"captioner.weights": None, "seed": 2},
        "unrecorded": {"seed": 3},
    }
    chains = []
    for name, settings in trained.items():
        folder = tmp_path / name / "captioner"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"settings": settings}))
        chains.append(Chain(name, {"captioner": folder}))
    export = SimpleNamespace(info={"split": "hash"})
    monkeypatch.setattr(Chain, "export", lambda _chain, _stage: export)
    monkeypatch.setattr(caption_table, "read_captioner", lambda *_: TWO)
    train = pd.DataFrame({"split": ["train"], "label": ["normal"], "captions": [[["clear"]]]})
    data = SimpleNamespace(table=SimpleNamespace(images=train))
    splits = SimpleNamespace(of=lambda _export: data)
    found = captioner_runs(chains, splits, lexicon, "cpu", 1)
    named = {row: [(run.bare.name, run.bare.seed) for run in runs] for row, runs in found.items()}
    assert named == {
        "Captioner, ImageNet weights": [("imagenet", 1)],
        "Captioner, from scratch": [("scratch", 2), ("unrecorded", 3)],
    }


def counted(bare, labelled, meteor, distinct, reason=""):
    """Return a run with one value for all scores without the label word and one with it."""
    keys = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "silent", "consistent")
    keys += ("cider_wide", "finding_f1", "finding_precision", "finding_recall", "flipped")

    def run(value):
        return Run("a", "split", 0, ["p", "q", "r"], lambda _rows: dict.fromkeys(keys, value))

    return CaptionRun(run(bare), run(labelled), meteor, reason, distinct)


def values_of(table, *keys):
    return [table.rows[0].cells[key].value for key in keys]


def test_each_table_holds_the_scores_of_its_variant():
    runs = [counted(0.1, 0.5, (0.30, 0.60), 0.4), counted(0.2, 0.8, (0.32, 0.70), 0.8)]
    bare, labelled, words = caption_tables({"Ours": runs}, resamples=0, seed=0)
    keys = "bleu1", "rouge_l", "cider", "meteor", "deviation"
    half = 0.5**0.5  # the deviation of two values is their distance times this
    assert values_of(bare, *keys) == pytest.approx([0.15, 0.15, 0.15, 0.31, 0.1 * half])
    assert values_of(labelled, *keys) == pytest.approx([0.65, 0.65, 0.65, 0.65, 0.3 * half])
    assert values_of(words, "distinct", "silent") == pytest.approx([0.6, 0.15])
    assert (bare.key, labelled.key, words.key) == ("table_4", "table_4_label", "table_4_words")
    assert {row.cells["meteor"].n for row in (bare.rows[0], labelled.rows[0])} == {3}


def test_meteor_is_the_mean_of_the_runs_that_have_it():
    runs = [counted(0.1, 0.2, (0.3, 0.4), 1), counted(0.1, 0.2, (None, None), 1, "no Java here")]
    bare, labelled, _ = caption_tables({"Ours": runs}, resamples=0, seed=0)
    assert values_of(bare, "meteor") + values_of(labelled, "meteor") == [0.3, 0.4]
    assert "METEOR is left out: no Java here." in bare.note
    nothing, *_ = caption_tables({"Ours": runs[1:]}, resamples=0, seed=0)
    assert nothing.rows[0].cells["meteor"] is None
