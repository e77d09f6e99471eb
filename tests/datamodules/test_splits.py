import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrj.datamodules.splits import SPLITS, Split, given_split, make_splits, read_split_file
from xrj.errors import ConfigError, DataError

people = st.lists(
    st.tuples(st.integers(0, 40).map(str), st.sampled_from(["normal", "large", None])), max_size=200
)


@given(people, st.integers(0, 5))
def test_every_patient_is_in_one_split_whatever_the_order(pairs, seed):
    patients, labels = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    split = make_splits(patients, labels, seed=seed)
    assert set(split) == set(patients)
    assert set(split.values()) <= set(SPLITS)
    again = make_splits(patients[::-1], labels[::-1], seed=seed)
    assert again == split
    assert Split(again).hash == Split(split).hash


def test_shares_hold_for_each_label():
    patients = [f"p{index}" for index in range(1000)]
    labels = ["large" if index % 6 == 0 else "normal" for index in range(1000)]
    split = make_splits(patients, labels, (0.8, 0.1, 0.1), seed=0)
    numbers = Counter(
        (label, split[patient]) for patient, label in zip(patients, labels, strict=True)
    )
    total = Counter(labels)
    for label in ("normal", "large"):
        assert numbers[label, "val"] == numbers[label, "test"] == round(total[label] / 10)
    assert make_splits(patients, labels, seed=1) != split


def test_a_patient_counts_for_the_rarest_label():
    patients = [f"p{index}" for index in range(30)] + ["p0", "p1", "p2"]
    labels = ["normal"] * 30 + ["large"] * 3
    split = make_splits(patients, labels, seed=3)
    assert sorted(split[f"p{index}"] for index in range(3)) == ["test", "train", "val"]


def test_texts_leave_the_split_of_images_as_it_is():
    patients = [f"p{index}" for index in range(50)]
    alone = make_splits(patients, ["normal"] * 50, seed=0)
    beside = make_splits([*patients, "t1", "t2", "t3", "p0"], ["normal"] * 50 + [None] * 4, seed=0)
    assert {patient: beside[patient] for patient in patients} == alone


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (1.1, -0.1, 0.0), (0.9, 0.1)])
def test_fractions_that_are_none(fractions):
    with pytest.raises(ConfigError, match=r"^data\.split\.fractions: [^\n]+$"):
        make_splits(["a"], ["x"], fractions, seed=0)


def test_no_test_share_is_no_test_patient():
    split = make_splits([str(index) for index in range(20)], ["x"] * 20, (0.9, 0.1, 0.0), seed=0)
    assert Counter(split.values()) == {"train": 18, "val": 2}


def test_a_split_is_read_as_it_was_written(tmp_path):
    split = Split(
        make_splits([str(index) for index in range(20)], ["x"] * 20, seed=4), 4, (0.8, 0.1, 0.1)
    )
    split.write(tmp_path / "split.json")
    stored = json.loads((tmp_path / "split.json").read_text())
    assert stored["seed"] == 4
    assert stored["hash"] == split.hash == read_split_file(tmp_path / "split.json").hash


def test_a_split_by_hand_needs_no_hash(tmp_path):
    path = tmp_path / "split.json"
    path.write_text('{"patients": {"train": ["a", 7], "validation": ["b"], "test": ["c"]}}')
    assert read_split_file(path).patients == {"a": "train", "7": "train", "b": "val", "c": "test"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"patients": {"train": ["a"], "test": ["a"]}}', "patient 'a' is in 'train' and 'test'"),
        ('{"patients": {"train": ["a"], "dev": ["b"]}}', "unknown split 'dev' of patient 'b'"),
        ('{"patients": {"train": ["a"]}, "hash": "0"}', "do not fit the stored hash"),
        ('{"patients": ["a"]}', "not a split file"),
        ("[]", "not a split file"),
        ("{", "not valid JSON"),
    ],
)
def test_a_bad_split_file_names_itself(tmp_path, text, reason):
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"^[^\n]*split\.json: [^\n]*{reason}[^\n]*$"):
        read_split_file(path)


def test_a_missing_split_file(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json: cannot be read"):
        read_split_file(tmp_path / "absent.json")


def test_given_splits_know_the_usual_names():
    assert given_split([("a", "Train"), ("b", "validate"), ("a", "train")], "x").patients == {
        "a": "train",
        "b": "val",
    }
