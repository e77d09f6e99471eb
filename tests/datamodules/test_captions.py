import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrj.datamodules.captions import make_captions, sentences


def joined(findings):
    return [" ".join(words) for words in sentences(findings)]


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ("Heart size normal. Lungs are clear.", ["heart size normal", "lungs are clear"]),
        ("Heart size normal.Lungs are clear", ["heart size normal", "lungs are clear"]),
        ("There is a 2.6 cm nodule. No effusion.", ["there is a 2.6 cm nodule", "no effusion"]),
        ("Compared to 2. No effusion.", ["compared to 2", "no effusion"]),
        ("1. Heart normal. 2. Lungs clear.", ["heart normal", "lungs clear"]),
        ("Effusion vs. atelectasis. Stable.", ["effusion vs atelectasis", "stable"]),
        ("Seen at 5 p.m. The heart is large.", ["seen at 5 p m", "the heart is large"]),
        ("Seen at 5 p.m. by phone.", ["seen at 5 p m by phone"]),
        ("As told to Dr. XXXX by phone. Stable.", ["as told to dr by phone", "stable"]),
        ("There is no pneumothorax. The heart", ["there is no pneumothorax", "the heart"]),
        ("Image no. 3 is rotated. Is it? Yes!", ["image no 3 is rotated", "is it", "yes"]),
        ("There is none, no. The heart is large.", ["there is none no", "the heart is large"]),
        ("Pleural effusion.. Minimal atelectasis...", ["pleural effusion", "minimal atelectasis"]),
        ("XXXX XXXX are normal. XXXX. Chest x-XXXX.", ["are normal", "chest"]),
        ("Heart/lungs: patient's T8-T9 (old).", ["heart lungs patient's t8-t9 old"]),
        ("Heart size\nnormal.\n\nLungs clear", ["heart size normal", "lungs clear"]),
        ("Patient’s heart -- large -", ["patient's heart large"]),
        ("", []),
        (" .. ! ", []),
        ("XXXX.", []),
    ],
)  # fmt: skip
def test_sentences(findings, expected):
    assert joined(findings) == expected


def words(number, prefix="w"):
    return [f"{prefix}{index}" for index in range(number)]


def test_sentences_are_packed_in_order():
    a, b, c, d = words(6, "a"), words(9, "b"), words(3, "c"), words(5, "d")
    assert make_captions([a, b, c, d]) == [a + b, c + d]


def test_short_captions_are_dropped():
    a, b = words(4, "a"), words(14, "b")
    assert make_captions([a, b]) == [b]
    assert make_captions([a]) == []


def test_a_long_sentence_is_cut_and_its_rest_is_not_used():
    assert make_captions([words(31)]) == [words(15)]


def test_captions_are_distinct_and_at_most_four():
    many = [words(12, prefix) for prefix in "abcadef"]
    assert make_captions(many) == [words(12, prefix) for prefix in "abcd"]


sentence_lists = st.lists(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), max_size=12
)


@given(sentence_lists, st.integers(1, 6), st.integers(0, 10), st.integers(1, 5))
def test_captions_keep_the_rules(given_sentences, min_words, more, max_captions):
    max_words = min_words + more
    captions = make_captions(given_sentences, min_words, max_words, max_captions)
    assert len(captions) <= max_captions
    assert len({tuple(caption) for caption in captions}) == len(captions)
    flat = [word for sentence in given_sentences for word in sentence]
    for caption in captions:
        assert min_words <= len(caption) <= max_words
    rest = iter(flat)
    first = captions[0] if captions else []
    assert all(word in rest for word in first)  # the words of a caption come in the text's order


@given(st.text(max_size=200))
def test_words_come_from_the_text(text):
    for sentence in sentences(text):
        assert sentence
        for word in sentence:
            assert word in text.replace("’", "'").lower()
            assert "xxxx" not in word


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Cœur élargi.", ["cœur", "élargi"]),
        ("x\u0304 क\u094dया", ["x\u0304", "क\u094dया"]),  # marks without a composed letter
        ("follow\u2010up, follow\u2011up", ["follow-up", "follow-up"]),
    ],
)
def test_accents_and_marks_stay_in_their_word(text, words):
    assert sentences(text) == [words]
