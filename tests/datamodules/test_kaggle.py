import pandas as pd
import pytest

from tests.datamodules.layouts import FINDINGS, LARGE
from xrj.datamodules.labels import PAPER_RULES
from xrj.datamodules.sources import read_iu_xray
from xrj.errors import DataError

REPORTS = "uid,MeSH,Problems,image,indication,comparison,findings,impression"
PROJECTIONS = "uid,filename,projection"


def write(
    root,
    reports=REPORTS,
    projections=PROJECTIONS,
    folder="images/images_normalized",
    name="{}.dcm.png",
):
    images = root / folder
    images.mkdir(parents=True)
    lines, files = [reports], [projections]
    rows = [
        (1, "normal", FINDINGS),
        (2, "Cardiomegaly/mild;Aorta/tortuous", LARGE),
        (3, "Scoliosis", FINDINGS),
        (4, "normal", ""),
    ]
    for uid, mesh, findings in rows:
        lines.append(f'{uid},{mesh},x,Xray Chest PA and Lateral,Cough,None.,"{findings}",Fine.')
        for serial, projection in (("1001", "Frontal"), ("2001", "Lateral")):
            file = name.format(f"{uid}_IM-9000-{serial}")
            files.append(f"{uid},{file},{projection}")
            (images / file).write_bytes(b"png")
    (root / "indiana_reports.csv").write_text("\n".join(lines) + "\n")
    (root / "indiana_projections.csv").write_text("\n".join(files) + "\n")
    return root


@pytest.mark.parametrize("folder", ["images/images_normalized", "images_normalized", "images"])
def test_the_layout_is_read(tmp_path, folder):
    collection = read_iu_xray(write(tmp_path, folder=folder), PAPER_RULES, max_broken=0.0)
    assert [(image.report_uid, image.patient_id, image.label) for image in collection.images] == [
        ("CXR1", "1", "normal"),
        ("CXR2", "2", "cardiomegaly"),
    ]
    assert collection.images[0].path == tmp_path / folder / "1_IM-9000-1001.dcm.png"
    assert collection.images[0].image_id == "CXR1_IM-9000-1001"
    assert [text.report_uid for text in collection.texts] == ["CXR3"]
    assert collection.counts.steps[0] == ("reports read", 4, 8)


def test_a_missing_table_or_column_is_named(tmp_path):
    root = write(tmp_path / "a", reports=REPORTS.replace("MeSH", "terms"))
    with pytest.raises(
        DataError, match=r"^[^\n]*indiana_reports\.csv: column 'MeSH' is missing[^\n]*$"
    ):
        read_iu_xray(root, PAPER_RULES, max_broken=0.0)
    (root / "indiana_projections.csv").unlink()
    with pytest.raises(DataError, match=r"^[^\n]*indiana_projections\.csv: cannot be read[^\n]*$"):
        read_iu_xray(root, PAPER_RULES, max_broken=0.0)


def test_headers_and_numbers_that_a_spreadsheet_changed_are_read(tmp_path):
    root = write(tmp_path)
    for name, change in (
        (
            "indiana_reports.csv",
            lambda text: text.replace("MeSH", "mesh").replace("\n1,", "\n1.0,"),
        ),
        ("indiana_projections.csv", lambda text: text.replace(",", ";").replace("uid", "UID")),
    ):
        (root / name).write_text(change((root / name).read_text()))
    collection = read_iu_xray(root, PAPER_RULES, max_broken=0.0)
    assert [image.report_uid for image in collection.images] == ["CXR1", "CXR2"]
    assert "'mesh' as MeSH" in collection.counts.table()
    assert "a semicolon between fields, 'UID' as uid" in collection.counts.table()


@pytest.mark.parametrize("column", ["uid", "MeSH", "findings", "impression"])
def test_empty_columns_are_counted_or_refused_in_one_line(tmp_path, column):
    root = write(tmp_path)
    table = pd.read_csv(root / "indiana_reports.csv", dtype=str)
    table[column] = "NaN" if column != "uid" else ""
    table.to_csv(root / "indiana_reports.csv", index=False)
    if column == "impression":
        assert read_iu_xray(root, PAPER_RULES, max_broken=0.0).images
        return
    with pytest.raises(DataError, match=r"^[^\n]*(row 2 has no uid|no image is left)[^\n]*$"):
        read_iu_xray(root, PAPER_RULES, max_broken=0.0)


def test_a_report_that_stands_twice_is_refused(tmp_path):
    root = write(tmp_path)
    with (root / "indiana_reports.csv").open("a") as handle:
        handle.write("1,normal,x,x,x,x,x,x\n")
    with pytest.raises(
        DataError, match=r"^[^\n]*indiana_reports\.csv: uid '1' stands twice[^\n]*$"
    ):
        read_iu_xray(root, PAPER_RULES, max_broken=0.0)


def test_a_path_out_of_the_folder_is_refused(tmp_path):
    root = write(tmp_path)
    with (root / "indiana_projections.csv").open("a") as handle:
        handle.write("1,../../evil.png,Frontal\n")
    with pytest.raises(
        DataError,
        match=r"^[^\n]*indiana_projections\.csv: the path '\.\./\.\./evil\.png' leads out[^\n]*$",
    ):
        read_iu_xray(root, PAPER_RULES, max_broken=1.0)


def test_missing_images_are_refused(tmp_path):
    root = write(tmp_path)
    for path in (root / "images" / "images_normalized").iterdir():
        path.unlink()
    with pytest.raises(
        DataError, match=r"^[^\n]*2 of 2 image files are missing, such as CXR1_IM-9000-1001[^\n]*$"
    ):
        read_iu_xray(root, PAPER_RULES, max_broken=0.5)
