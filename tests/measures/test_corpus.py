"""Scores of any rows are pycocoevalcap's own on these rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from xrj.measures.captions import clean, corpus, score_captions
from xrj.measures.corpus import MEASURES, CaptionCorpus

KEYS = MEASURES[:6]
HAND_MADE = [
    (["the heart is large"], [["the heart is enlarged now"]]),
    (["", ""], [["the lungs are clear"], ["no effusion"]]),
    (["a b c d", "a b c d"], [["a b c d"], ["a b c d"]]),
    (
        ["heart (silhouette) is\rnormal", "x\u2028y"],
        [["the heart ( size ) is normal", "normal"], ["x y"]],
    ),
    (["no effusion"], [["no effusion"]]),
    (["<oov> xxxx 50 %", "normal"], [["<oov> xxxx"], ["normal", "the heart is normal"]]),
]
word = st.sampled_from(["heart", "is", "normal", "no", "effusion", "<oov>", "(", ")"])
caption = st.lists(word, max_size=9).map(" ".join)
reference = st.lists(word, min_size=1, max_size=9).map(" ".join)


def theirs(said, true):
    gts = {index: [clean(text) for text in texts] for index, texts in enumerate(true)}
    res = {index: [clean(text)] for index, text in enumerate(said)}
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    rouge, _ = Rouge().compute_score(gts, res)
    cider, _ = Cider().compute_score(gts, res)
    return dict(zip(KEYS, [*bleu, rouge, cider], strict=True))


@pytest.mark.parametrize(("said", "true"), HAND_MADE)
def test_hand_made_captions_score_as_by_pycocoevalcap(said, true):
    expected = theirs(said, true)
    ours = score_captions(said, true)
    assert {key: getattr(ours, key) for key in KEYS} == pytest.approx(expected)
    whole = CaptionCorpus(said, true).scores(np.arange(len(said)))
    assert whole == pytest.approx({**expected, "cider_wide": expected["cider"]})


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(caption, st.lists(reference, min_size=1, max_size=4)), min_size=1, max_size=6
    )
)
def test_random_captions_score_as_by_pycocoevalcap(pairs):
    said, true = (list(column) for column in zip(*pairs, strict=True))
    whole = CaptionCorpus(said, true).scores(np.arange(len(said)))
    expected = theirs(said, true)
    assert whole == pytest.approx({**expected, "cider_wide": expected["cider"]})


def test_wider_frequencies_are_those_of_further_references_too():
    """One image has no rare word by itself: CIDEr-D is 0 until other reports are known."""
    said, true = ["the heart is large"], [["the heart is enlarged", "a large heart"]]
    further = [["the lungs are clear", "no effusion"], ["the heart is normal"]]
    found = CaptionCorpus(said, true, further).scores(np.array([0]))
    assert found["cider"] == 0
    gts = dict(enumerate([*true, *further]))
    _, each = Cider().compute_score(gts, {0: said, 1: [""], 2: [""]})
    assert found["cider_wide"] == pytest.approx(each[0])
    assert each[0] > 0


def test_a_resample_scores_as_the_captions_it_drew():
    """All but CIDEr-D, whose document frequencies stay those of the whole corpus."""
    said = ["the heart is large", "lungs are clear", "no effusion or pneumothorax"]
    true = [["the heart is enlarged"], ["the lungs are clear", "clear"], ["no pneumothorax"]]
    rows = np.array([2, 0, 0, 2])
    drawn = CaptionCorpus(said, true).scores(rows)
    expected = theirs([said[row] for row in rows], [true[row] for row in rows])
    for key in MEASURES[:5]:
        assert drawn[key] == pytest.approx(expected[key])


TOKENISED = [
    (
        ["The\rheart  is\r\nNORMAL\x85\n", "(Mildly)\u2028enlarged ( heart )\u2029"],
        [["the heart\u2028is normal", " Heart\n(size)\x85normal "], ["ENLARGED\r( heart )\n"]],
        ["the heart is normal", "(mildly) enlarged ( heart )"],
        [["the heart is normal", "heart (size) normal"], ["enlarged ( heart )"]],
    ),
    (
        ["", " \r\n\u2028\x85", "lungs\rare clear"],
        [["no effusion"], ["Normal\n", "\n"], ["Lungs are\n\nclear"]],
        ["", "", "lungs are clear"],
        [["no effusion"], ["normal", ""], ["lungs are clear"]],
    ),
    (
        ["heart\u2028is not large", "heart is large"],
        [["Heart is large", "heart is\rlarge"]] * 2,
        ["heart is not large", "heart is large"],
        [["heart is large", "heart is large"]] * 2,
    ),
    (
        ["No\x85effusion <OOV>"],
        [["no\neffusion or <oov>", "(none)"]],
        ["no effusion <oov>"],
        [["no effusion or <oov>", "(none)"]],
    ),
]


@pytest.mark.parametrize(
    ("said", "true", "said_words", "true_words"),
    TOKENISED,
    ids=["breaks and parentheses", "empty captions", "identical references", "one image"],
)
def test_raw_captions_score_as_their_words_by_pycocoevalcap(said, true, said_words, true_words):
    res = {index: [text] for index, text in enumerate(said_words)}
    gts = dict(enumerate(true_words))
    assert corpus(said, true) == (gts, res)
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    expected = {
        **{f"bleu{order}": value for order, value in enumerate(bleu, start=1)},
        "rouge_l": Rouge().compute_score(gts, res)[0],
        "cider": Cider().compute_score(gts, res)[0],
    }
    scores = score_captions(said, true)
    assert {key: getattr(scores, key) for key in expected} == pytest.approx(expected)
    whole = CaptionCorpus(said, true).scores(np.arange(len(said)))
    assert {key: whole[key] for key in expected} == pytest.approx(expected)
