import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.datamodules.layouts import FINDINGS, report_xml, two_images, write_openi
from xrj.datamodules import openi
from xrj.datamodules.commands import run_command
from xrj.datamodules.labels import PAPER_RULES, LabelRule
from xrj.datamodules.records import Collection, Counts, ImageRecord
from xrj.datamodules.splits import Split
from xrj.datamodules.table import IMAGE_COLUMNS, TEXT_COLUMNS, CaptionRules, build_table, main
from xrj.errors import DataError

RULES = CaptionRules(min_words=5, max_words=15, max_captions=4)
LABELS = ("normal", "cardiomegaly")


def build(collection, **changes):
    arguments = {
        "labels": LABELS,
        "seed": 0,
        "fractions": (0.8, 0.1, 0.1),
        "min_count": 2,
        "rules": RULES,
        "use_unlabelled_text": True,
    }
    return build_table(collection, **arguments | changes)


@pytest.fixture
def collection(tmp_path):
    more = {
        f"{number}.xml": report_xml(
            f"CXR{number}", f"Patchy opacity in the lobe {number}.", ["Opacity"], two_images(number)
        )
        for number in range(50, 70)
    }
    more["80.xml"] = report_xml("CXR80", "Normal chest.", ["normal"], two_images(80))
    root = write_openi(tmp_path / "data", number=40, reports=more)
    with (root / "projections.csv").open("a") as handle:
        handle.write(f"80,{two_images(80)[0]}.png,Frontal\n")
    (root / "NLMCXR_png" / f"{two_images(80)[0]}.png").write_bytes(b"png")
    return openi.read(root, PAPER_RULES, max_broken=0.0)


def test_rows_have_captions_and_a_split(collection):
    table = build(collection)
    assert tuple(table.images.columns) == IMAGE_COLUMNS
    assert tuple(table.texts.columns) == TEXT_COLUMNS
    assert len(table.images) == 40
    assert "CXR80" not in set(
        table.images["report_uid"]
    )  # its findings are too short for a caption
    assert len(table.texts) == 20
    assert (table.images["captions"].map(len) > 0).all()
    row = table.images[table.images["label"] == "normal"].iloc[0]
    assert isinstance(row["path"], Path)
    assert [" ".join(words) for words in row["captions"]] == [
        "the heart is normal in size the lungs are clear no pleural effusion or pneumothorax"
    ]
    assert [" ".join(words) for words in row["sentences"]][1] == "the lungs are clear"


def test_patients_are_in_one_split(collection):
    table = build(collection)
    rows = [
        *table.images[["patient_id", "split"]].itertuples(index=False),
        *table.texts[["patient_id", "split"]].itertuples(index=False),
    ]
    assert len({row.patient_id for row in rows}) == len(set(rows))
    assert set(table.images["split"]) == set(table.texts["split"]) == {"train", "val", "test"}
    assert {(row.patient_id, row.split) for row in rows} <= set(table.split.patients.items())


def test_only_training_captions_are_counted(collection):
    table = build(collection, min_count=1)
    train = [
        caption
        for frame in (table.images, table.texts)
        for captions in frame.loc[frame["split"] == "train", "captions"]
        for caption in captions
    ]
    assert set(table.vocabulary.words) == {word for caption in train for word in caption}
    held_out = table.texts.loc[table.texts["split"] != "train", "report_uid"]
    assert all(uid.removeprefix("CXR") not in table.vocabulary.words for uid in held_out)
    assert table.vocabulary.labels == LABELS


def test_texts_are_left_out_unless_asked_for_and_the_split_stays(collection):
    with_texts, without = build(collection), build(collection, use_unlabelled_text=False)
    assert len(without.texts) == 0
    assert tuple(without.texts.columns) == TEXT_COLUMNS
    assert with_texts.split_hash == without.split_hash
    assert "patchy" in with_texts.vocabulary.words
    assert "patchy" not in without.vocabulary.words


def test_it_is_the_same_each_time(collection):
    one, two = build(collection), build(replace(collection, images=collection.images[::-1]))
    assert one.split_hash == two.split_hash
    assert one.vocabulary.hash == two.vocabulary.hash
    assert build(collection, seed=1).split_hash != one.split_hash


def test_a_split_file_is_used(collection, tmp_path):
    path = tmp_path / "split.json"
    first = build(collection, seed=5)
    first.split.write(path)
    assert build(collection, split_file=path).split_hash == first.split_hash
    patients = dict(first.split.patients)
    del patients["50"]
    Split(patients).write(path)
    with pytest.raises(
        DataError,
        match=r"^[^\n]*split\.json: 1 patients of the data are not in it, such as '50'[^\n]*$",
    ):
        build(collection, split_file=path)


def test_the_sources_own_split_is_used(collection):
    split = {record.patient_id: "train" for record in [*collection.images, *collection.texts]} | {
        "1": "val",
        "2": "test",
    }
    given = replace(
        collection,
        images=[replace(record, split=split[record.patient_id]) for record in collection.images],
        texts=[replace(record, split=split[record.patient_id]) for record in collection.texts],
    )
    assert dict(build(given).split.patients) == split


def test_what_cannot_be_trained_is_refused(collection):
    with pytest.raises(DataError, match="no image is labelled 'nodule'"):
        build(collection, labels=(*LABELS, "nodule"))
    with pytest.raises(DataError, match="no image has a caption of 50 to 60 words"):
        build(collection, rules=CaptionRules(50, 60, 4))
    with pytest.raises(DataError, match="no image is in the split 'val'"):
        build(collection, fractions=(1.0, 0.0, 0.0))


def test_the_labels_that_occur_are_named(tmp_path):
    root = write_openi(tmp_path, reports={
        "50.xml": report_xml("CXR50", FINDINGS, ["Scoliosis/mild"], two_images(50))
    })  # fmt: skip
    rules = [*PAPER_RULES, LabelRule("nodule", any=frozenset({"nodule"}))]
    collection = openi.read(root, rules, max_broken=0.0)
    with pytest.raises(
        DataError,
        match=r"no image is labelled 'nodule'; [^\n]*'normal' \(15\), 'cardiomegaly' \(5\), "
        r"'Scoliosis' \(1\)",
    ):
        build(collection, labels=(*LABELS, "nodule"))


def test_the_vocabulary_is_counted_and_a_poor_one_said(collection):
    rich, poor = build(collection, min_count=1), build(collection, min_count=30)
    assert rich.counts.vocabulary == len(rich.vocabulary.words) > 20
    assert rich.counts.out_of_vocabulary == 0
    assert 0 < poor.counts.vocabulary < 10
    said = [note for note in poor.counts.notes if "data.captions.min_count (now 30)" in note]
    assert f"the vocabulary holds {poor.counts.vocabulary} words" in said[0]
    assert f"{poor.counts.out_of_vocabulary:.0%} of the training captions' words" in said[0]
    assert f"warning: {said[0]}" in poor.counts.table()
    assert not any("min_count" in note for note in rich.counts.notes)


def image(number, label, patient, split=None):
    return ImageRecord(
        str(number), Path(f"{number}.png"), patient, str(number), "frontal", label, FINDINGS, split
    )


def test_a_split_without_a_label_is_said_with_the_setting():
    patients = (str, str, lambda number: f"c{number % 2}")  # the third label has two patients
    images = [image(n, "abc"[n % 3], patients[n % 3](n)) for n in range(60)]
    table = build(Collection(images, [], Counts()), labels=tuple("abc"))
    assert table.lacking("val") == table.lacking("test") == ["c"]
    notes = "\n".join(table.counts.notes)
    assert re.search(
        r"the split 'val' has \d+ X-rays and none labelled 'c', so balanced accuracy "
        r"and AUROC are undefined there; raise its share in "
        r"data\.split\.fractions \(now \[0\.8, 0\.1, 0\.1\]\)",
        notes,
    )
    assert re.search(r"fewer than 10 X-rays of a label[^\n]*'a in val' \(\d\)", notes)


def test_enough_of_each_label_says_nothing():
    images = [image(number, "ab"[number % 2], str(number)) for number in range(200)]
    assert build(Collection(images, [], Counts()), labels=("a", "b")).counts.notes == []


def test_a_label_that_training_lacks_is_refused():
    splits = ("train", "val", "test")
    images = [image(number, "a", str(number), splits[number % 3]) for number in range(30)]
    images += [image(99, "b", "99", "val")]
    with pytest.raises(DataError, match="no image labelled 'b' is in the split 'train'"):
        build(Collection(images, [], Counts()), labels=("a", "b"))


def test_too_few_patients_are_said():
    images = [image(number, "ab"[number % 2], str(number)) for number in range(4)]
    with pytest.raises(DataError, match=r"'val'; [^\n]*add patients \(now 'a' \(2\), 'b' \(2\)\)"):
        build(Collection(images, [], Counts()), labels=("a", "b"))


def test_counts_stand_beside_the_papers(collection):
    table = build(collection)
    text = table.counts.table()
    assert table.counts.steps[-1] == ("with a caption", 40, 40)
    assert table.counts.captions == int(table.images["captions"].map(len).sum())
    assert table.counts.labels == {"normal": 30, "cardiomegaly": 10}
    lines = {
        line.split("  ")[1 if line.startswith(" ") else 0].strip(): line.split()
        for line in text.splitlines()
    }
    assert lines["images"][-2:] == ["40", "2,446"]
    assert lines["captions"][-1] == "4,725"
    assert lines["cardiomegaly"][-3:] == ["10", "(25.0%)", "16%"]
    assert all(line == line.rstrip() for line in text.splitlines())


def test_counting_twice_does_not_add_up(collection):
    assert build(collection).counts == build(collection).counts != collection.counts


def test_findings_with_unusual_line_ends_stay_one_caption(tmp_path):
    text = FINDINGS.replace(". ", ".\r\n", 1).replace("lungs", "lungs\u2028")
    root = write_openi(
        tmp_path, number=30, reports={"1.xml": report_xml("CXR1", text, ["normal"], two_images(1))}
    )
    table = build(openi.read(root, PAPER_RULES, max_broken=0.0))
    odd = table.images.set_index("report_uid").loc["CXR1", "captions"]
    assert odd == table.images.set_index("report_uid").loc["CXR2", "captions"]


@pytest.fixture
def command(monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["table", *map(str, arguments)])
        run_command(main)
        return capsys.readouterr().out

    return command


def test_the_command_names_a_missing_archive(command, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        command("--reports", tmp_path / "absent.tgz")
    assert stopped.value.code == 2
    assert re.fullmatch(
        r"error: [^\n]*absent\.tgz[^\n]*cannot be read[^\n]*\n", capsys.readouterr().err
    )


def test_the_command_prints_the_counts(command, tmp_path):
    assert "reports read" in command("--reports", write_openi(tmp_path, number=40))


@pytest.mark.data
def test_the_counts_of_the_real_reports(command, shared_data):
    printed = command("--reports", shared_data / "iu_xray" / "NLMCXR_reports.tgz")
    rows = {line.strip().split("  ")[0]: line.split() for line in printed.splitlines()}
    assert rows["reports read"][-2:] == ["3,955", "7,470"]
    assert rows["with one of the labels"][-2:] == ["1,766", "3,351"]
    assert rows["with findings"][-2:] == ["1,517", "2,890"]
    assert rows["images"][-1] == "2,446"
