import io
import tarfile
from contextlib import suppress
from encodings.aliases import aliases

import pytest

from tests.datamodules.layouts import FINDINGS, report_xml, two_images, write_archive, write_openi
from xrj.datamodules import openi
from xrj.datamodules.labels import PAPER_RULES, assign
from xrj.datamodules.records import Counts
from xrj.datamodules.sources import read_iu_xray
from xrj.errors import DataError

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
FILE_ENTITY = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


def counted(collection):
    return {name: (reports, images) for name, reports, images in collection.counts.steps}


def test_the_layout_is_read_and_counted(tmp_path):
    collection = openi.read(write_openi(tmp_path), PAPER_RULES, max_broken=0.0)
    assert len(collection.images) == 20
    assert {image.view for image in collection.images} == {"frontal"}
    assert counted(collection) == {
        "reports read": (20, 40),
        "with one of the labels": (20, 40),
        "with findings": (20, 40),
        "frontal view": (20, 20),
        "image file present": (20, 20),
    }
    first = collection.images[0]
    assert (first.image_id, first.report_uid, first.patient_id) == (two_images(1)[0], "CXR1", "1")
    assert first.path == tmp_path / "NLMCXR_png" / f"{first.image_id}.png"
    assert (first.label, first.findings) == ("normal", FINDINGS)
    assert "broken report files" in collection.counts.table()
    assert read_iu_xray(tmp_path, PAPER_RULES, max_broken=0.0).images == collection.images


@pytest.mark.parametrize("name", ["NLMCXR_reports.tgz", "ecgen.tgz"])
def test_an_archive_is_read_without_unpacking(tmp_path, name):
    write_openi(tmp_path)
    folder = tmp_path / "ecgen-radiology"
    expected = openi.read_reports(tmp_path, Counts(), max_broken=0.0)
    archive = write_archive(
        tmp_path / name,
        {f"ecgen-radiology/{path.name}": path.read_bytes() for path in folder.iterdir()},
    )
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    before = sorted(tmp_path.rglob("*"))
    root = tmp_path if name == openi.REPORT_ARCHIVE else archive
    assert openi.read_reports(root, Counts(), max_broken=0.0) == expected
    assert len(openi.read(root, PAPER_RULES, max_broken=0.0).images) == 20
    assert sorted(tmp_path.rglob("*")) == before


def test_findings_are_the_findings_section_only():
    report = openi.parse_report(
        report_xml(
            "CXR9", " The heart\n is <b>large</b>. ", ["Cardiomegaly", "Aorta"], ["a", "b", "a"]
        )
    )
    assert report.findings == "The heart is large."
    assert report.impression == "No acute disease."
    assert report.mesh == ("Cardiomegaly", "Aorta")
    assert report.image_ids == ("a", "b")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<eCitation><uId id='CXR99'/>", "malformed XML"),
        (b"", "malformed XML"),
        (b"\x00\x01", "malformed XML"),
        (b"<eCitation/>", r"no report id"),
        (report_xml("CXR99", "&b;", prologue=BOMB), "document type declaration"),
        (report_xml("CXR99", "&a;", prologue=FILE_ENTITY), "document type declaration"),
        (report_xml("CXR99", "&undefined;"), "malformed XML"),
        (b"<a/>" + b" " * (4 * 2**20), "larger than"),
        (report_xml("CXR1"), "second report with the id CXR1"),
    ],
    ids=[
        "cut",
        "empty",
        "binary",
        "no-id",
        "entities",
        "file-entity",
        "undefined-entity",
        "large",
        "twice",
    ],
)
def test_a_broken_report_is_skipped_and_named_until_there_are_too_many(tmp_path, data, reason):
    root = write_openi(tmp_path, reports={"99.xml": data})
    collection = openi.read(root, PAPER_RULES, max_broken=0.1)
    assert len(collection.images) == 20
    assert (
        len([line for line in collection.counts.skipped if "99.xml: " in line and reason in line])
        == 1
    )
    assert ("broken report files", 1) in collection.counts.details
    with pytest.raises(DataError, match=rf"^[^\n]*99\.xml: [^\n]*{reason}[^\n]*max_broken[^\n]*$"):
        openi.read(root, PAPER_RULES, max_broken=0.0)


LITTER = ("._1.xml", ".DS_Store", "Thumbs.db", "desktop.ini")


def test_what_macs_and_windows_leave_is_passed_over_and_counted(tmp_path):
    root = write_openi(tmp_path, reports=dict.fromkeys(LITTER, b"\0\5\x16\7"))
    (root / "NLMCXR_png" / f"._{two_images(1)[0]}.png").write_bytes(b"\0\5\x16\7")
    collection = openi.read(root, PAPER_RULES, max_broken=0.0)
    assert len(collection.images) == 20
    assert ("files of macOS or Windows among the reports", 4) in collection.counts.details
    assert ("files of macOS or Windows among the images", 1) in collection.counts.details


def test_in_archives_too(tmp_path):
    members = {
        "__MACOSX/ecgen-radiology/._1.xml": b"\0",
        "ecgen-radiology/1.xml": report_xml("CXR1"),
    }
    members |= {f"ecgen-radiology/{name}": b"\0" for name in LITTER}
    counts = Counts()
    archive = write_archive(tmp_path / "a.tgz", members)
    reports = openi.read_reports(archive, counts, max_broken=0.0)
    assert [report.uid for report in reports] == ["CXR1"]
    assert ("files of macOS or Windows among the reports", 5) in counts.details


def test_any_declared_encoding_is_read_or_a_broken_report(tmp_path):
    for name in sorted({*aliases.values(), "x-unknown", "", "hex", "utf-7"}):
        declared = f'<?xml version="1.0" encoding="{name}"?><eCitation><uId id="CXR1"/></eCitation>'
        with suppress(DataError):
            openi.parse_report(declared.encode())
    unknown = report_xml("CXR99").replace(b"utf-8", b"x-unknown")
    collection = openi.read(
        write_openi(tmp_path, reports={"99.xml": unknown}), PAPER_RULES, max_broken=0.1
    )
    assert any("99.xml: malformed XML (unknown encoding" in s for s in collection.counts.skipped)


def test_a_folder_named_as_a_report_and_other_suffixes(tmp_path):
    root = write_openi(tmp_path)
    (root / "ecgen-radiology" / "99.xml").mkdir()
    (root / "ecgen-radiology" / "1.xml").rename(root / "ecgen-radiology" / "1.XML")
    (root / "NLMCXR_png" / "folder.png").mkdir()
    for number, suffix in ((1, ".PNG"), (2, ".jpg"), (3, ".JPEG")):
        path = root / "NLMCXR_png" / f"{two_images(number)[0]}.png"
        path.rename(path.with_suffix(suffix))
    collection = openi.read(root, PAPER_RULES, max_broken=0.1)
    assert len(collection.images) == 20
    assert [line.endswith("99.xml: cannot be read (Is a directory)")
            for line in collection.counts.skipped] == [True]  # fmt: skip


def test_text_is_composed():
    report = openi.parse_report(report_xml("CXR1", "Cœur e\u0301largi.", ["Cardiome\u0301galie"]))
    assert (report.findings, report.mesh) == ("Cœur élargi.", ("Cardiomégalie",))


def test_reports_without_findings_or_mesh_are_counted_and_named(tmp_path):
    more = {
        "91.xml": report_xml("CXR91", None, ["normal"], two_images(91)),
        "92.xml": report_xml("CXR92", "", ["normal"], two_images(92)),
        "93.xml": report_xml("CXR93", FINDINGS, None, two_images(93)),
        "94.xml": report_xml("CXR94", FINDINGS, [], two_images(94)),
    }
    collection = openi.read(write_openi(tmp_path, reports=more), PAPER_RULES, max_broken=0.0)
    assert len(collection.images) == 20
    assert {text.report_uid for text in collection.texts} == {"CXR93", "CXR94"}
    assert ("reports without findings", 2) in collection.counts.details
    assert ("reports without MeSH terms", 2) in collection.counts.details
    assert collection.counts.skipped == [
        "CXR91: report without findings",
        "CXR92: report without findings",
        "CXR93: report without MeSH terms",
        "CXR94: report without MeSH terms",
    ]


def test_missing_images_are_counted_until_there_are_too_many(tmp_path):
    root = write_openi(tmp_path)
    (root / "NLMCXR_png" / f"{two_images(3)[0]}.png").unlink()
    collection = openi.read(root, PAPER_RULES, max_broken=0.05)
    assert len(collection.images) == 19
    assert collection.counts.skipped == [f"{two_images(3)[0]}: image file is missing"]
    with pytest.raises(
        DataError,
        match=rf"^[^\n]*1 of 20 image files are missing, such as {two_images(3)[0]}[^\n]*$",
    ):
        openi.read(root, PAPER_RULES, max_broken=0.0)


@pytest.mark.parametrize(
    "name", ["../evil.xml", "/evil.xml", "ecgen-radiology/../../evil.xml", "..\\evil.xml"]
)
def test_an_archive_that_leads_out_is_refused(tmp_path, name):
    archive = write_archive(
        tmp_path / "a.tgz", {"ecgen-radiology/1.xml": report_xml("CXR1"), name: b"x"}
    )
    with pytest.raises(
        DataError, match=r"^[^\n]*a\.tgz: member '[^\n]*evil\.xml' leads out of the archive[^\n]*$"
    ):
        openi.read_reports(archive, Counts(), max_broken=1.0)


def test_an_archive_with_links_is_refused(tmp_path):
    archive = write_archive(
        tmp_path / "a.tgz", {}, links={"ecgen-radiology/1.xml": "/etc/hostname"}
    )
    with pytest.raises(
        DataError, match=r"^[^\n]*a\.tgz: member 'ecgen-radiology/1\.xml' is a link[^\n]*$"
    ):
        openi.read_reports(archive, Counts(), max_broken=1.0)


@pytest.mark.parametrize("how", ["cut", "text", "bad-gzip", "absent"])
def test_a_broken_archive_names_itself(tmp_path, how):
    members = {
        f"ecgen-radiology/{index}.xml": report_xml(f"CXR{index}", FINDINGS * index)
        for index in range(1, 300)
    }
    archive = write_archive(tmp_path / "a.tgz", members)
    whole = archive.read_bytes()
    if how == "absent":
        archive.unlink()
    else:
        archive.write_bytes(
            {
                "cut": whole[: len(whole) // 2],
                "text": b"hello",
                "bad-gzip": whole[:20] + b"\xff" * 99,
            }[how]
        )
    with pytest.raises(DataError, match=r"^[^\n]*(a\.tgz|NLMCXR_reports\.tgz): [^\n]+$"):
        openi.read_reports(archive, Counts(), max_broken=1.0)


def test_a_large_member_is_not_read(tmp_path):
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("ecgen-radiology/1.xml")
        info.size = 5 * 2**20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    assert (tmp_path / "a.tgz").stat().st_size < 10_000
    counts = Counts()
    assert not openi.read_reports(tmp_path / "a.tgz", counts, max_broken=1.0)
    assert "larger than" in counts.skipped[0]


@pytest.mark.parametrize("reports", [False, True])
def test_a_folder_without_anything_says_what_was_looked_for(tmp_path, reports):
    if reports:
        (tmp_path / "ecgen-radiology").mkdir()
    with pytest.raises(
        DataError, match=r"^[^\n]*(looked for annotation\.json|no report XML found)[^\n]*$"
    ):
        read_iu_xray(tmp_path, PAPER_RULES, max_broken=1.0)


def test_no_image_left_says_why(tmp_path):
    folder = tmp_path / "ecgen-radiology"
    folder.mkdir()
    (folder / "1.xml").write_bytes(report_xml("CXR1", FINDINGS, None))
    with pytest.raises(
        DataError, match=r"^[^\n]*no image is left \([^\n]*\): no report names an image[^\n]*$"
    ):
        openi.read(tmp_path, PAPER_RULES, max_broken=0.0)


@pytest.mark.data
def test_the_facts_of_the_real_reports(shared_data):
    counts = Counts()
    reports = openi.read_reports(shared_data / "iu_xray", counts, max_broken=0.0)
    assert not counts.skipped
    assert len(reports) == len({report.patient_id for report in reports}) == 3955
    assert len({image_id for report in reports for image_id in report.image_ids}) == 7470
    labels = {report.uid: assign(report.mesh, PAPER_RULES) for report in reports}
    for label, number, with_findings in (("normal", 1391, 1206), ("cardiomegaly", 375, 311)):
        its = [report for report in reports if labels[report.uid] == label]
        assert len(its) == number
        assert sum(bool(report.findings) for report in its) == with_findings
    heads = [{term.split("/")[0] for term in report.mesh} for report in reports]
    assert heads.count({"Cardiomegaly"}) == 31
