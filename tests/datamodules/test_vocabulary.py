import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrj.datamodules.vocabulary import BOS, EOS, OOV, PAD, UNLABELLED, Vocabulary
from xrj.errors import DataError

CAPTIONS = [["heart", "is", "normal"], ["heart", "is", "large"], ["heart"]]
VOCABULARY = Vocabulary.build(("normal", "cardiomegaly"), CAPTIONS, min_count=2)


def test_ids_are_specials_then_labels_then_words():
    assert (PAD, BOS, EOS, OOV, UNLABELLED) == (0, 1, 2, 3, 4)
    assert VOCABULARY.label_ids == [5, 6]
    assert VOCABULARY.words == ("heart", "is")
    assert VOCABULARY.size == len(VOCABULARY.tokens) == 9


def test_words_are_counted_and_cut():
    assert Vocabulary.build(("a",), CAPTIONS, min_count=1).words == (
        "heart",
        "is",
        "large",
        "normal",
    )
    assert Vocabulary.build(("a",), CAPTIONS, min_count=20).words == ()


def test_encode_and_decode():
    ids = VOCABULARY.encode("cardiomegaly", ["heart", "is", "odd"])
    assert ids == [6, 7, 8, OOV, EOS]
    assert VOCABULARY.decode([*ids, PAD, 7]) == ("cardiomegaly", ["heart", "is", "<oov>"])
    assert VOCABULARY.encode(None, []) == [UNLABELLED, EOS]
    assert VOCABULARY.decode([UNLABELLED, 7, EOS]) == (None, ["heart"])


def test_a_label_and_a_word_of_one_spelling_differ():
    vocabulary = Vocabulary(("normal",), ("normal",))
    assert vocabulary.encode("normal", ["normal"]) == [5, 6, EOS]
    assert vocabulary.decode([6, 5]) == (None, ["normal", "<normal>"])


def test_an_unknown_label_is_refused():
    with pytest.raises(DataError, match="label 'nodule' is not in the vocabulary"):
        VOCABULARY.encode("nodule", [])


def test_the_hash_follows_content_and_order():
    assert Vocabulary.from_dict(VOCABULARY.to_dict()) == VOCABULARY
    assert Vocabulary.from_dict(VOCABULARY.to_dict()).hash == VOCABULARY.hash
    assert Vocabulary(VOCABULARY.labels[::-1], VOCABULARY.words).hash != VOCABULARY.hash
    assert Vocabulary(VOCABULARY.labels, VOCABULARY.words[::-1]).hash != VOCABULARY.hash


@pytest.mark.parametrize(
    "value",
    [None, {}, {"labels": ["a"]}, {"labels": "ab", "words": []}, {"labels": [1], "words": []}],
)
def test_what_is_no_vocabulary_is_refused(value):
    with pytest.raises(DataError, match=r"^vocabulary: [^\n]+$"):
        Vocabulary.from_dict(value)


def test_names_that_stand_twice_are_refused():
    with pytest.raises(DataError, match=r"the label 'a' stands twice"):
        Vocabulary(("a", "a"), ())


@given(st.lists(st.lists(st.sampled_from("abcdef"))), st.integers(1, 4))
def test_known_words_come_back(captions, min_count):
    vocabulary = Vocabulary.build(("x",), captions, min_count)
    for caption in captions:
        label, words = vocabulary.decode(vocabulary.encode("x", caption))
        assert label == "x"
        assert all(new in (old, "<oov>") for old, new in zip(caption, words, strict=True))
        assert all(
            (new == old) == (old in vocabulary.words)
            for old, new in zip(caption, words, strict=True)
        )
