from math import log

import pytest

from xrj.datamodules.telling import most_telling, telling_captions

SICK, WELL = "sick", "well"


def test_the_sentence_with_the_words_of_the_label_is_taken():
    reports = [
        [["lungs", "clear"], ["heart", "normal"]],
        [["heart", "normal"], ["lungs", "clear"]],
        [["lungs", "clear"], ["heart", "enlarged"]],
        [["heart", "enlarged"], ["lungs", "clear"]],
    ]
    assert most_telling(reports, [WELL, WELL, SICK, SICK]) == [1, 0, 1, 0]


def test_evidence_is_the_log_ratio_of_the_shares():
    # "a" in 3 of 4 own sentences and 1 of 2 others: log(4/6) - log(2/4); "b" in 1 and 0:
    # log(2/6) - log(1/4). Equal up to the sign of their difference:
    assert log(4 / 6) - log(2 / 4) == pytest.approx(log(2 / 6) - log(1 / 4))
    reports = [[["a"], ["b"]], [["a"], ["a"]], [["a"], ["c"]]]
    assert most_telling(reports, [WELL, WELL, SICK])[0] == 0  # the first of two alike
    reports = [[["a"], ["b"]], [["a"], ["a"]], [["a"], ["a"]]]
    assert most_telling(reports, [WELL, WELL, SICK])[0] == 1  # "a" is commoner elsewhere now


def test_one_word_that_decides_outweighs_many_that_say_little():
    # Each word of the tube is in one report of the sick, "enlarged" in three.
    tube = ["there", "is", "a", "tube"]
    reports = [[tube, ["enlarged"]], [["enlarged"]], [["enlarged"]], [["clear"]]]
    assert most_telling(reports, [SICK, SICK, SICK, WELL])[0] == 1


def test_with_one_label_the_commonest_word_decides():
    assert most_telling([[["a"], ["b"]], [["b"], ["a"]]], [WELL, WELL]) == [0, 0]
    assert most_telling([[["a"], ["b"]], [["b"]]], [WELL, WELL]) == [1, 0]


def test_a_telling_caption_goes_on_with_what_most_reports_say():
    reports = [
        [["rare"], ["often", "said"], ["heart", "normal"]],
        [["heart", "enlarged"], ["odd"], ["often", "said"]],
        [["heart", "enlarged"], ["often", "said"]],
        [["heart", "normal"], ["often", "said"]],
    ]
    labels = [WELL, SICK, SICK, WELL]
    assert telling_captions(reports, labels, max_words=4) == [
        ["heart", "normal", "often", "said"],
        ["heart", "enlarged", "often", "said"],
        ["heart", "enlarged", "often", "said"],
        ["heart", "normal", "often", "said"],
    ]
    assert telling_captions(reports, labels, max_words=5)[1][-1] == "odd"
    # What does not fit is passed over for what does; a first sentence that is too long is cut.
    assert telling_captions(reports, labels, max_words=3)[1] == ["heart", "enlarged", "odd"]
    assert telling_captions(reports, labels, max_words=1)[2] == ["heart"]
