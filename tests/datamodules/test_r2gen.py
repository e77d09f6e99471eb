import json

import pytest

from tests.datamodules.layouts import FINDINGS, LARGE, report_xml, write_annotation, write_archive
from xrj.datamodules.labels import PAPER_RULES
from xrj.datamodules.sources import read_iu_xray
from xrj.errors import DataError


def entry(number, report=FINDINGS, study="IM-9000", **more):
    uid = f"CXR{number}_{study}"
    return {"id": uid, "report": report, "image_path": [f"{uid}/0.png", f"{uid}/1.png"], **more}


ITEMS = {
    "train": [entry(11), entry(12, LARGE)],
    "val": [entry(13)],
    "test": [entry(14), entry(15, LARGE)],
}
PROJECTIONS = "uid,filename,projection\n" + "".join(
    f"{n},CXR{n}_IM-9000/{place}.png,{view}\n"
    for n in range(11, 16)
    for place, view in ((0, "Frontal"), (1, "Lateral"))
)


def mesh(number):
    return ["Cardiomegaly"] if number in (12, 15) else ["normal"] if number != 14 else ["Scoliosis"]


@pytest.fixture
def root(tmp_path):
    write_annotation(tmp_path, ITEMS)
    (tmp_path / "projections.csv").write_text(PROJECTIONS)
    return tmp_path


def check(collection):
    assert [
        (image.image_id, image.patient_id, image.label, image.split) for image in collection.images
    ] == [
        ("CXR11_IM-9000/0.png", "11", "normal", "train"),
        ("CXR12_IM-9000/0.png", "12", "cardiomegaly", "train"),
        ("CXR13_IM-9000/0.png", "13", "normal", "val"),
        ("CXR15_IM-9000/0.png", "15", "cardiomegaly", "test"),
    ]
    assert [(text.report_uid, text.split) for text in collection.texts] == [
        ("CXR14_IM-9000", "test")
    ]


def test_labels_come_from_the_open_i_archive(root):
    write_archive(
        root / "NLMCXR_reports.tgz",
        {
            f"ecgen-radiology/{n}.xml": report_xml(f"CXR{n}", "Other words.", mesh(n))
            for n in range(1, 20)
        },
    )
    collection = read_iu_xray(root, PAPER_RULES, max_broken=0.0)
    check(collection)
    assert collection.images[0].findings == FINDINGS
    assert collection.images[0].path == root / "images" / "CXR11_IM-9000" / "0.png"


def test_labels_come_from_kaggles_table(root):
    rows = [f"{n},{';'.join(mesh(n))},x,x" for n in range(1, 20)]
    (root / "indiana_reports.csv").write_text(
        "\n".join(["uid,MeSH,findings,impression", *rows]) + "\n"
    )
    check(read_iu_xray(root, PAPER_RULES, max_broken=0.0))


def test_labels_come_from_the_entries(root):
    labels = {11: "normal", 12: "cardiomegaly", 13: "normal", 14: "scoliosis", 15: "cardiomegaly"}
    items = {
        split: [{**item, "label": labels[int(item["id"][3:5])]} for item in entries]
        for split, entries in ITEMS.items()
    }
    write_annotation(root, items)
    check(read_iu_xray(root, PAPER_RULES, max_broken=0.0))


def test_without_labels_the_remedy_is_named(root):
    with pytest.raises(
        DataError,
        match=r"^[^\n]*annotation\.json: holds no labels; put NLMCXR_reports\.tgz beside it[^\n]*$",
    ):
        read_iu_xray(root, PAPER_RULES, max_broken=0.0)


def test_the_view_is_that_of_the_place_in_the_study(tmp_path):
    item = {**entry(7, study="IM-2263"), "label": "normal"}
    collection = read_iu_xray(
        write_annotation(tmp_path, {"train": [item]}), PAPER_RULES, max_broken=0.0
    )
    assert [image.image_id for image in collection.images] == ["CXR7_IM-2263/0.png"]
    assert any("by place" in name for name, _ in collection.counts.details)


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        (
            {"train": [entry(11)], "test": [entry(11, study="IM-9001")]},
            "patient '11' is in 'train' and 'test'",
        ),
        ({"train": [entry(11), entry(11)]}, "the id 'CXR11_IM-9000' stands twice"),
        (
            {"train": [{"id": "CXR1", "report": "x", "image_path": ["../../evil.png"]}]},
            r"the path '\.\./\.\./evil\.png' leads out",
        ),
        ({"train": [{"id": "CXR1", "image_path": []}]}, "report 1 of 'train': 'report' is missing"),
        ({"dev": [entry(11)]}, "unknown split 'dev'"),
        ({}, "no entries"),
    ],
)
def test_bad_annotations_name_the_file(tmp_path, items, reason):
    labelled = {
        split: [{**item, "label": "normal"} for item in entries] for split, entries in items.items()
    }
    write_annotation(tmp_path, labelled)
    with pytest.raises(DataError, match=rf"^[^\n]*annotation\.json: [^\n]*{reason}[^\n]*$"):
        read_iu_xray(tmp_path, PAPER_RULES, max_broken=0.0)


@pytest.mark.parametrize(
    ("uid", "patient"),
    [("CXR2384_IM-0942", "2384"), ("CXR1_1_IM-0001", "1"), ("7_IM-0001-1001", "7"), ("CXR12", "12"),
     ("12", "12"), ("2023-0001", "2023-0001"), ("2023_0001", "2023_0001"),
     ("20230001a", "20230001a"), ("CXR2023-1", "CXR2023-1"), ("p1", "p1")],
)  # fmt: skip
def test_an_id_of_another_form_is_a_patient_of_its_own(tmp_path, uid, patient):
    items = {"train": [{"id": uid, "report": FINDINGS, "image_path": ["a.png"], "label": "Normal"}]}
    (write_annotation(tmp_path, items) / "projections.csv").write_text(
        "uid,filename,projection\n1,a.png,Frontal\n"
    )
    collection = read_iu_xray(tmp_path, PAPER_RULES, max_broken=0.0)
    assert [(image.patient_id, image.label) for image in collection.images] == [(patient, "normal")]
    assert any("'Normal' for 'normal'" in note for note in collection.counts.notes)


VALUES = [
    None,
    3,
    2.5,
    True,
    "text",
    [],
    ["a"],
    [0, 1],
    {},
    {"a": 1},
    [None],
    [[]],
    "\ud800",
    "a\0b",
]


@pytest.mark.parametrize("field", ["id", "report", "image_path", "label", "split of all", "entry"])
def test_a_field_of_any_type_is_read_or_refused_in_one_line(tmp_path, field):
    refused = 0
    for place, value in enumerate(VALUES):
        item = {"id": "x", "report": FINDINGS, "image_path": ["a.png"], "label": "normal"}
        if field in item:
            item[field] = value
        entries = {"entry": [value], "split of all": value}.get(field, [item])
        root = tmp_path / str(place)
        root.mkdir()
        (root / "annotation.json").write_text(json.dumps({"train": entries}))
        with pytest.raises(DataError, match=r"\A[^\n]*annotation\.json: [^\n]+\Z") as caught:
            read_iu_xray(root, PAPER_RULES, max_broken=1.0)
        str(caught.value).encode()
        refused += "no image is left" not in str(caught.value)  # the images' views are unknown
    assert refused >= 7


@pytest.mark.parametrize("text", ["[" * 100_000, '{"train": ' * 100_000, "\0", "NaN"])
def test_no_nesting_or_rubbish_ends_in_a_traceback(tmp_path, text):
    (tmp_path / "annotation.json").write_text(text)
    with pytest.raises(DataError, match=r"^[^\n]*annotation\.json: [^\n]+$"):
        read_iu_xray(tmp_path, PAPER_RULES, max_broken=0.0)


def test_an_image_in_two_reports_is_refused(tmp_path):
    items = {
        split: [{"id": uid, "report": FINDINGS, "image_path": ["a.png"], "label": "normal"}]
        for split, uid in (("train", "x"), ("test", "y"))
    }
    write_annotation(tmp_path, items)
    with pytest.raises(DataError, match=r"the image 'a\.png' is named by the reports 'x' and 'y'"):
        read_iu_xray(tmp_path, PAPER_RULES, max_broken=0.0)


@pytest.mark.parametrize("text", ["[]", "{", '{"train": 3}', '{"train": [null]}'])
def test_what_is_no_annotation_names_the_file(tmp_path, text):
    (tmp_path / "annotation.json").write_text(text)
    with pytest.raises(DataError, match=r"^[^\n]*annotation\.json: [^\n]+$"):
        read_iu_xray(tmp_path, PAPER_RULES, max_broken=0.0)
