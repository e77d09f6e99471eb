import math
import os
import random
import shutil
import stat
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrj.measures import captions
from xrj.measures.captions import clean, score_captions

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="METEOR needs Java")


def slow_bleu(hypotheses: list[str], references: list[list[str]], order: int) -> float:
    """BLEU as Papineni et al. write it: corpus level, clipped, closest reference length."""

    def grams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    said_length = true_length = 0
    matched, possible = [0] * order, [0] * order
    for said, true in zip(hypotheses, references, strict=True):
        words = said.split()
        lengths = [len(text.split()) for text in true]
        said_length += len(words)
        true_length += min(lengths, key=lambda length: (abs(length - len(words)), length))
        for n in range(1, order + 1):
            ours = grams(words, n)
            possible[n - 1] += sum(ours.values())
            for gram, count in ours.items():
                matched[n - 1] += min(count, max(grams(text.split(), n)[gram] for text in true))
    if min(matched) == 0:
        return 0.0
    logs = sum(math.log(m / p) for m, p in zip(matched, possible, strict=True)) / order
    return math.exp(min(0.0, 1 - true_length / said_length) + logs)


word = st.sampled_from(["heart", "size", "is", "normal", "enlarged"])
caption = st.lists(word, min_size=1, max_size=8).map(" ".join)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(caption, st.lists(caption, min_size=1, max_size=3)), min_size=1))
def test_bleu_is_the_formula(pairs):
    said, true = [list(column) for column in zip(*pairs, strict=True)]
    scores = score_captions(said, true)
    ours = [scores.bleu1, scores.bleu2, scores.bleu3, scores.bleu4]
    for order, value in enumerate(ours, start=1):
        expected = slow_bleu(said, true, order)
        if expected > 0:
            assert value == pytest.approx(expected, rel=1e-6)
        else:  # the scorer's guard against a logarithm of 0 lets a little through
            assert value < 0.04


def test_bleu_and_rouge_by_hand():
    scores = score_captions(["the heart is large"], [["the heart is enlarged now"]])
    brevity = math.exp(1 - 5 / 4)
    assert scores.bleu1 == pytest.approx(brevity * 3 / 4)
    assert scores.bleu2 == pytest.approx(brevity * math.sqrt(3 / 4 * 2 / 3))
    assert scores.bleu3 == pytest.approx(brevity * (3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3))
    precision, recall = 3 / 4, 3 / 5
    f = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert scores.rouge_l == pytest.approx(f)


def test_cider_by_hand():
    """One-word captions: only 1-grams, so a match is 10 / 4; one of two images matches."""
    assert score_captions(["normal", "normal"], [["normal"], ["enlarged"]]).cider == pytest.approx(
        10 / 4 / 2
    )


def test_cider_of_a_perfect_caption_depends_on_its_length():
    long, other = "heart size is normal", "lungs are very clear"
    assert score_captions([long, other], [[long], [other]]).cider == pytest.approx(10.0)
    three, other = "heart is normal", "lungs are clear"
    assert score_captions([three, other], [[three], [other]]).cider == pytest.approx(7.5)


def test_cider_of_one_image_is_zero():
    assert score_captions(["heart is normal"], [["heart is normal"]]).cider == 0.0


@pytest.mark.parametrize("mark", ["\n", "\r", "\r\n", "\u2028", "\u0085", "\t"])
def test_line_breaks_do_not_shift_captions(mark):
    true = [["heart is normal"], ["lungs are clear"]]
    plain = score_captions(["heart is normal", "lungs are clear"], true)
    assert score_captions([f"Heart{mark}is normal{mark}", "lungs are CLEAR"], true) == plain
    assert clean(f" a{mark}B ") == "a b"


def test_empty_captions_and_repeats_are_counted():
    scores = score_captions(["", "", "heart is big"], [["a b"], ["c"], ["heart is large"]])
    assert (scores.n, scores.distinct) == (3, 2)
    assert all(math.isfinite(value) for value in (scores.bleu4, scores.rouge_l, scores.cider))


@pytest.mark.parametrize(("said", "true"), [([], []), (["a"], []), (["a", "b"], [["a"], []])])
def test_what_does_not_pair_is_refused(said, true):
    with pytest.raises(ValueError, match="each image needs one"):
        score_captions(said, true)


def put_java(folder, script: str) -> None:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(java.stat().st_mode | stat.S_IEXEC)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_meteor_without_java_says_so(tmp_path):
    os.environ["PATH"] = str(tmp_path)
    scores = score_captions(["a b"], [["a b"]], meteor=True)
    assert (scores.meteor, scores.meteor_reason) == (None, "Java is not installed")


def test_meteor_that_hangs_is_ended(tmp_path, monkeypatch):
    put_java(tmp_path, "sleep 30")
    monkeypatch.setattr(captions, "METEOR_TIMEOUT", 0.2)
    scores = score_captions(["a b"], [["a b"]], meteor=True)
    assert (scores.meteor, scores.meteor_reason) == (None, "METEOR took longer than 0.2 s")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no memory >&2; exit 3", "METEOR failed: no memory"),
        ("exit 3", "METEOR failed: status 3"),
        ("echo Picked up JAVA_TOOL_OPTIONS: -Xmx1G >&2; exit 3", "METEOR failed: status 3"),
        (
            "echo Picked up _JAVA_OPTIONS: -Da=b >&2; echo NOTE: Picked up JDK_JAVA_OPTIONS: x >&2;"
            "echo 'OpenJDK 64-Bit Server VM warning: no pages' >&2; echo no memory; exit 1",
            "METEOR failed: no memory",
        ),
        ("echo nothing", "METEOR failed: could not convert string to float: 'nothing'"),
        ("true", "METEOR failed: list index out of range"),
    ],
)
def test_meteor_that_fails_gives_its_reason(tmp_path, script, reason):
    put_java(tmp_path, script)
    assert score_captions(["a b"], [["a b"]], meteor=True).meteor_reason == reason


def random_captions(seed: int) -> tuple[list[str], list[list[str]]]:
    """Return captions with parentheses beside up to three references each."""
    rng = random.Random(seed)
    words = [
        "heart",
        "size",
        "is",
        "normal",
        "enlarged",
        "(",
        ")",
        "mildly",
        "no",
        "effusion",
        "1.",
    ]

    def said() -> str:
        return " ".join(rng.choices(words, k=rng.randint(1, 9)))

    return [said() for _ in range(20)], [
        [said() for _ in range(rng.randint(1, 3))] for _ in range(20)
    ]


@needs_java
@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "true"),
    [
        (
            ["the heart is big", "", "lungs are clear without effusion"],
            [["the heart is enlarged", "big heart"], ["normal"], ["the lungs are clear"]],
        ),
        (["the heart is big"], [["the heart is big", "the heart is big"]]),
        random_captions(0),
    ],
    ids=["empty among them", "one image, equal references", "random"],
)
def test_meteor_is_the_reference_wrappers(said, true):
    from pycocoevalcap.meteor.meteor import Meteor

    os.environ["LC_ALL"] = "it_IT.UTF-8"
    scores = score_captions(said, true, meteor=True)
    os.environ["LC_ALL"] = "C.UTF-8"
    wrapper = Meteor()
    expected, _ = wrapper.compute_score(
        dict(enumerate(true)), {index: [text] for index, text in enumerate(said)}
    )
    wrapper.meteor_p.kill()
    assert scores.meteor == pytest.approx(expected, abs=1e-9), scores.meteor_reason
    broken = [text.replace(" ", "\r\n") for text in said]
    assert score_captions(broken, true, meteor=True).meteor == scores.meteor
