import pytest

from xrj.datamodules import manifest
from xrj.datamodules.table import CaptionRules, build_table
from xrj.errors import DataError

LABELS = ("normal", "cardiomegaly")
HEADER = "image,patient_id,view,label,findings"
FINDINGS = "Heart size is normal in this patient."


@pytest.fixture
def write(tmp_path):
    def write(*rows, header=HEADER, images=("a.png", "b.png", "c.png")):
        (tmp_path / "images").mkdir(exist_ok=True)
        for name in images:
            (tmp_path / "images" / name).write_bytes(b"png")
        path = tmp_path / "data.csv"
        path.write_text("\n".join((header, *rows)) + "\n")
        return path

    return write


def test_rows_become_records_and_are_counted(write):
    path = write(
        f"images/a.png,p1,PA,normal,{FINDINGS}",
        f"images/b.png,p2,AP,cardiomegaly,{FINDINGS}",
        f"images/c.png,p2,L,cardiomegaly,{FINDINGS}",
        f"images/d.png,p3,PA,nodule,{FINDINGS}",
        "images/e.png,p3,PA,normal,",
        f"images/f.png,p4,oblique,normal,{FINDINGS}",
    )
    collection = manifest.read(path, LABELS, max_broken=0.0)
    assert [(image.image_id, image.view_position, image.label) for image in collection.images] == [
        ("images/a.png", "PA", "normal"),
        ("images/b.png", "AP", "cardiomegaly"),
    ]
    assert [text.patient_id for text in collection.texts] == ["p3"]
    assert [step[2] for step in collection.counts.steps] == [6, 5, 4, 2, 2]
    assert ("rows with another label", 1) in collection.counts.details


def test_without_a_view_all_are_frontal(write):
    path = write(f"images/a.png,p1,normal,{FINDINGS}", header="image,patient_id,label,findings")
    assert [image.view for image in manifest.read(path, LABELS, max_broken=0.0).images] == [
        "frontal"
    ]


def test_images_of_one_report_share_its_uid(write):
    path = write(
        f"images/a.png,p1,normal,r1,{FINDINGS}",
        f"images/b.png,p1,normal,r1,{FINDINGS}",
        header="image,patient_id,label,report_uid,findings",
    )
    assert manifest.read(path, LABELS, max_broken=0.0).counts.steps[0] == ("rows read", 1, 2)


@pytest.mark.parametrize("column", manifest.COLUMNS)
def test_a_missing_column_is_named(write, column):
    header = ",".join(name for name in manifest.COLUMNS if name != column)
    with pytest.raises(DataError, match=rf"^[^\n]*data\.csv: column '{column}' is missing[^\n]*$"):
        manifest.read(write("a,b,c", header=header), LABELS, max_broken=0.0)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "/etc/hostname",
        "images/../../evil.png",
        r"..\evil.png",
        r"C:\xrays\a.png",
        "C:/xrays/a.png",
        r"\\server\xrays\a.png",
    ],
)
def test_a_path_out_of_the_folder_is_refused(write, tmp_path, name):
    (tmp_path.parent / "evil.png").write_bytes(b"png")
    with pytest.raises(DataError, match=r"^[^\n]*data\.csv: the path '[^\n]*' leads out of[^\n]*$"):
        manifest.read(write(f"{name},p1,PA,normal,{FINDINGS}"), LABELS, max_broken=1.0)


def test_a_link_out_of_the_folder_is_refused(write, tmp_path):
    path = write(f"images/link.png,p1,PA,normal,{FINDINGS}")
    (tmp_path / "images" / "link.png").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=r"the path 'images/link\.png' leads out of"):
        manifest.read(path, LABELS, max_broken=1.0)


def test_an_image_that_stands_twice_is_refused(write):
    rows = [f"images/a.png,p1,PA,normal,{FINDINGS}", f"images/a.png,p2,PA,normal,{FINDINGS}"]
    with pytest.raises(
        DataError, match=r"^[^\n]*data\.csv: image 'images/a\.png' stands twice[^\n]*$"
    ):
        manifest.read(write(*rows), LABELS, max_broken=1.0)


def test_missing_files_are_counted_until_there_are_too_many(write):
    path = write(f"images/a.png,p1,PA,normal,{FINDINGS}", f"images/x.png,p2,PA,normal,{FINDINGS}")
    collection = manifest.read(path, LABELS, max_broken=0.5)
    assert len(collection.images) == 1
    assert collection.counts.skipped[0].endswith("images/x.png: image file is missing")
    with pytest.raises(
        DataError,
        match=r"^[^\n]*data\.csv: 1 of 2 image files are missing, such as [^\n]*x\.png[^\n]*$",
    ):
        manifest.read(path, LABELS, max_broken=0.1)


def test_a_row_without_patient_is_refused(write):
    with pytest.raises(
        DataError, match=r"^[^\n]*data\.csv: row 2 \(images/a\.png\) has no patient_id[^\n]*$"
    ):
        manifest.read(write(f"images/a.png,,PA,normal,{FINDINGS}"), LABELS, max_broken=0.0)


def test_labels_that_do_not_occur_leave_nothing(write):
    with pytest.raises(
        DataError,
        match=r"^[^\n]*data\.csv: no image is left \(rows read 1, with one of the labels 0, "
        r"[^\n]*\): none of normal, cardiomegaly occurs, but 'nodule' \(1\); change [^\n]*$",
    ):
        manifest.read(write(f"images/a.png,p1,PA,nodule,{FINDINGS}"), LABELS, max_broken=0.0)


@pytest.mark.parametrize(
    ("splits", "reason"),
    [
        (("train", "test"), "patient 'p1' is in 'train' and 'test'"),
        (("train", "dev"), "unknown split 'dev'"),
        (("train", ""), "1 rows have no split"),
    ],
)
def test_a_bad_split_is_refused(write, splits, reason):
    rows = [
        f"images/{name}.png,p1,normal,{split},{FINDINGS}"
        for name, split in zip("ab", splits, strict=True)
    ]
    with pytest.raises(DataError, match=rf"^[^\n]*data\.csv: [^\n]*{reason}[^\n]*$"):
        manifest.read(
            write(*rows, header="image,patient_id,label,split,findings"), LABELS, max_broken=0.0
        )


@pytest.mark.parametrize(
    ("given", "configured"),
    [("Normal", "normal"), (" NORMAL ", "normal"), ("true", "True"), ("1", "1"), ("NA", "NA"),
     ("null", "null"), ("e\u0301largi", "élargi"), ("Élargi", "élargi")],
)  # fmt: skip
def test_a_label_in_another_spelling_is_read_and_said(write, given, configured):
    collection = manifest.read(
        write(f"images/a.png,p1,PA,{given},{FINDINGS}"), (configured, "x"), max_broken=0.0
    )
    assert [image.label for image in collection.images] == [configured]
    said = any(f"for '{configured}'" in note for note in collection.counts.notes)
    assert said == (given.strip() not in (configured, "e\u0301largi"))


@pytest.mark.parametrize("label", ["normal;cardiomegaly", "Cardiomegaly|nodule", "nodule, normal"])
def test_several_labels_in_a_cell_are_another_label_and_said(write, label):
    rows = [f'images/a.png,p1,PA,"{label}",{FINDINGS}', f"images/b.png,p2,PA,normal,{FINDINGS}"]
    collection = manifest.read(write(*rows), LABELS, max_broken=0.0)
    assert [image.image_id for image in collection.images] == ["images/b.png"]
    assert [f"1 labels name several and count as another one: '{label}' (1)" in note
            for note in collection.counts.notes] == [True]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "labels", "reason"),
    [
        (
            f"images/a.png,p1,PA,nodule,{FINDINGS}",
            LABELS,
            "none of [^\n]* occurs, but 'nodule' (1)",
        ),
        (f"images/a.png,p1,PA,,{FINDINGS}", LABELS, "none of [^\n]* occurs, but 'empty' (1)"),
        (
            f"images/a.png,p1,PA,normal;nodule,{FINDINGS}",
            LABELS,
            "; 1 name several labels: give each image one",
        ),
        (f"images/a.png,p1,PA,no,{FINDINGS}", ("True", "False"), "but 'no' (1);[^\n]*quote 'yes'"),
        ("images/a.png,p1,PA,normal,", LABELS, "the findings are empty"),
        ("images/a.png,p1,PA,normal,NaN", LABELS, "the findings are empty"),
        (f"images/a.png,p1,L,normal,{FINDINGS}", LABELS, "no view is frontal, but 'L' (1)"),
        (f"images/a.png,p1,oblique,normal,{FINDINGS}", LABELS, "but 'oblique' (1)"),
        (f"images/x.png,p1,PA,normal,{FINDINGS}", LABELS, "no image file is there"),
    ],
)
def test_when_nothing_is_left_filters_and_cause_are_named(write, row, labels, reason):
    pattern = reason.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(
        DataError,
        match=rf"^[^\n]*data\.csv: no image is left \(rows read 1, [^\n]*{pattern}[^\n]*$",
    ):
        manifest.read(write(row), labels, max_broken=1.0)


@pytest.mark.parametrize("name", ["", "nan", "NaN", "NA", "n/a", "None", "null"])
def test_a_patient_id_that_says_nothing_is_refused(write, name):
    with pytest.raises(DataError, match=r"row 2 \(images/a\.png\) has no patient_id"):
        manifest.read(write(f"images/a.png,{name},PA,normal,{FINDINGS}"), LABELS, max_broken=0.0)


@pytest.mark.parametrize(
    ("ids", "said"),
    [(("001", "1"), True), (("1e3", "1000.0"), True), (("P7", "p7"), True), (("1", "2"), False),
     (("2024-01-02", "2024-1-2"), False), (("p 1", "p1"), False)],
)  # fmt: skip
def test_patient_ids_stay_as_they_are_and_likenesses_are_said(write, ids, said):
    rows = [
        f"images/{image}.png,{name},PA,normal,{FINDINGS}"
        for image, name in zip("ab", ids, strict=True)
    ]
    collection = manifest.read(write(*rows), LABELS, max_broken=0.0)
    assert tuple(image.patient_id for image in collection.images) == ids
    assert any("written in several ways" in note for note in collection.counts.notes) == said


def test_files_under_another_spelling_are_found_and_said(write):
    rows = [
        rf"images\a.png,p1,PA,normal,{FINDINGS}",
        f"Images/B.jpeg,p2,PA,normal,{FINDINGS}",
        f"images/c.PNG,p3,PA,normal,{FINDINGS}",
    ]
    collection = manifest.read(write(*rows), LABELS, max_broken=0.0)
    assert [image.path.name for image in collection.images] == ["a.png", "b.png", "c.png"]
    assert "3 image files are spelled otherwise on disk" in collection.counts.table()


def test_one_image_under_two_spellings_is_refused(write):
    rows = [f"images/a.png,p1,PA,normal,{FINDINGS}", f"./images/A.png,p2,PA,normal,{FINDINGS}"]
    with pytest.raises(DataError, match=r"^[^\n]*rows 2 and 3 name the same image, [^\n]*$"):
        manifest.read(write(*rows), LABELS, max_broken=0.0)


def test_a_report_of_two_texts_is_refused(write):
    path = write(
        "images/a.png,p1,normal,r,One text.",
        "images/b.png,p1,normal,r,Another text.",
        header="image,patient_id,label,report_uid,findings",
    )
    with pytest.raises(DataError, match=r"^[^\n]*rows 2 and 3 [^\n]* differ in findings[^\n]*$"):
        manifest.read(path, LABELS, max_broken=0.0)


def test_a_report_may_stand_beside_xrays_of_several_patients(write):
    rows = [f"images/{name}.png,{name},normal,r,The same text." for name in "ab"]
    path = write(*rows, header="image,patient_id,label,report_uid,findings")
    assert len(manifest.read(path, LABELS, max_broken=0.0).images) == 2


def test_an_unquoted_comma_never_cuts_a_text(write):
    with pytest.raises(
        DataError, match=r"^[^\n]*data\.csv: row 2 has 6 fields [^\n]*quotes[^\n]*$"
    ):
        manifest.read(write("images/a.png,p1,PA,normal,No change, as before."), LABELS,
                      max_broken=0.0)  # fmt: skip


def test_a_missing_manifest(tmp_path):
    with pytest.raises(DataError, match=r"^[^\n]*absent\.csv: cannot be read[^\n]*$"):
        manifest.read(tmp_path / "absent.csv", LABELS, max_broken=0.0)


@pytest.mark.data
@pytest.mark.parametrize(("name", "number"), [("manifest_64.csv", 582), ("manifest_256.csv", 552)])
def test_the_real_manifests(shared_data, name, number):
    collection = manifest.read(shared_data / "nih_cxr" / name, LABELS, max_broken=0.0)
    assert len(collection.images) == number
    table = build_table(
        collection, labels=LABELS, seed=0, fractions=(0.8, 0.1, 0.1), min_count=20,
        rules=CaptionRules(5, 15, 4), use_unlabelled_text=False,
    )  # fmt: skip
    assert table.images.groupby("patient_id")["split"].nunique().max() == 1
    assert set(table.images.loc[table.images["label"] == "cardiomegaly", "split"]) == {
        "train",
        "val",
        "test",
    }
