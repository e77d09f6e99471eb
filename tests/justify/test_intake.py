"""What a path names: X-rays by their content, whatever they are called, and nothing else."""

import csv
import os
import unicodedata
from pathlib import Path

import pytest

from xrj.datamodules.decoding import anonymous_name
from xrj.errors import DataError
from xrj.justify.intake import FolderNames, XRays, read_names, shown_name, write_names
from xrj.justify.output import JSON_NAME

PNG, JPEG = b"\x89PNG\r\n\x1a\n picture", b"\xff\xd8\xff\xe0 picture"
DICOM = bytes(128) + b"DICM\x02\0\0\0UL\x04\0"
BARE = (
    b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
    b"\x08\0\x16\0\x1a\0\0\0" + b"1.2.840.10008.5.1.4.1.1.1\0",
    b"\x02\0\0\0UL\x04\0\xc0\0\0\0",
)


@pytest.fixture
def folder(tmp_path):
    """Fill a folder: give paths below it their content, other folders theirs."""

    def fill(contents):
        for name, data in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path

    return fill


def found(pattern):
    xrays = XRays(str(pattern))
    return [path.name for path in xrays], sorted(xrays.passed)


@pytest.mark.parametrize("data", [PNG, JPEG, DICOM, *BARE], ids=lambda data: data[:8].hex())
@pytest.mark.parametrize("name", ["IM000001", "1.2.840.113619.2.5", "A/B/IM1", "x.dcm_1", ".png"])
def test_x_rays_are_found_by_what_they_hold(folder, name, data):
    assert found(folder({name: data})) == ([Path(name).name], [])


def test_what_is_no_x_ray_is_passed_over_and_named(folder):
    top = folder(
        {
            "DICOMDIR": DICOM,
            "._a.png": PNG,
            "sub/Thumbs.db": PNG,
            "sub/.DS_Store": b"\0\0\0\1Bud1",
            "sub/README.TXT": b"read me",
            "sub/empty": b"",
            "sub/viewer.exe": b"MZ",
            ".trash/b.png": PNG,
            "done/xray-1/original.png": PNG,
            f"done/xray-1/{JSON_NAME}": b"{}",
            "a.png": b"broken, which is said when it is read",
            "sub/IM1": DICOM,
        }
    )
    os.mkfifo(top / "pipe.png")
    (top / "lost.png").symlink_to(top / "nowhere")
    (top / "sub" / "round").symlink_to(top)
    xrays = XRays(str(top))
    assert [path.name for path in xrays] == ["a.png", "IM1"]
    assert sorted(xrays.passed) == [
        *(".DS_Store", "._a.png", ".trash/", "DICOMDIR", "README.TXT", "Thumbs.db", "empty"),
        *("lost.png", "pipe.png", "viewer.exe", "xray-1/"),
    ]
    assert xrays.told() == (
        "11 passed over, which hold no X-ray: .DS_Store, ._a.png, .trash/, DICOMDIR, README.TXT "
        "and 6 more"
    )


def test_a_path_is_a_file_a_folder_or_a_glob(folder):
    top = folder({"b.png": PNG, "a.JPEG": JPEG, "[1].png": PNG, "sub/c": DICOM, "n.txt": b""})
    assert found(top / "[1].png") == (["[1].png"], [])
    assert found(top) == (["[1].png", "a.JPEG", "b.png", "c"], ["n.txt"])
    assert found(top / "*.png") == (["[1].png", "b.png"], [])
    assert found(top / "*") == (["[1].png", "a.JPEG", "b.png", "c"], ["n.txt"])
    assert found(top / "**") == (["[1].png", "a.JPEG", "b.png", "c"], ["n.txt"])
    assert XRays(str(top / "b.png")).single


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("c*", "no such file"),
        ("x" * 5000, "no such file"),
        ("none", "no PNG, JPEG or DICOM file there; choose"),
        ("*.txt", "1 passed over, which hold no X-ray: n.txt"),
    ],
    ids=lambda value: value[:8],
)
def test_a_path_without_x_rays_is_refused(folder, pattern, said):
    top = folder({"n.txt": b"", "none/.keep": b""})
    (top / "none" / ".keep").unlink()
    with pytest.raises(DataError, match=said):
        XRays(str(top / pattern))


def test_files_are_looked_into_when_they_are_due(folder, monkeypatch):
    top = folder({f"{place:03}": PNG for place in range(100)})
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda *args: opened.append(args[0]) or real(*args))
    xrays = iter(XRays(str(top)))
    assert [next(xrays).name, next(xrays).name] == ["000", "001"]
    assert len(opened) == 2


def test_names_of_dicom_come_from_the_content(folder):
    top = folder({"DOE^JANE/IM1": DICOM, "DOE.dcm": b"broken", "bare": BARE[0], "a.png": PNG})
    for name, data in (("DOE^JANE/IM1", DICOM), ("DOE.dcm", b"broken"), ("bare", BARE[0])):
        assert shown_name(top / name) == anonymous_name(data)
    assert shown_name(top / "a.png") == str(top / "a.png")
    assert "DOE" not in shown_name(top / "DOE_nowhere.dcm")
    assert shown_name(Path("caf\udce9\n.png")) == "caf��.png"


def test_folders_are_stems_numbered_where_needed():
    given = ["a/x.png", "b/X.jpg", "b/x", "b/y.png", "index.html.png", "Summary.json", "names.csv"]
    names = FolderNames()
    assert [names.name(one) for one in given] == [
        *("x", "X-2", "x-3", "y", "index.html-2", "Summary.json-2", "names.csv-2")
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("...png", ".png", "..png", " .png", "....", ".writing-1.png", ".replaced-2.png"),
        *("con.png", "LPT1.jpg", "a:b?.png", "a\\b.png", "a .png", "caf�.png"),
        *("é" * 125, "x" * 251 + ".png", "1.2.840.5", "ﬀ.png"),
    ],
)
def test_every_folder_can_be_made_and_differs_from_all_others(tmp_path, name):
    names = FolderNames()
    made = [names.name(name) for _ in range(12)]
    made += [names.name(unicodedata.normalize("NFD", name).upper())]
    for one in made:
        (tmp_path / one).mkdir()
        assert (tmp_path / one).parent == tmp_path
        assert one[0] not in ". "
        assert one[-1] not in ". "
        assert len(one.encode()) < 255
        assert not set('<>:"/\\|?*�') & set(one)
    folded = {unicodedata.normalize("NFC", one).casefold() for one in made}
    assert len(folded) == len(made)
    assert not folded & {"con", "lpt1"}


def test_the_mapping_leads_back_and_is_the_users_alone(tmp_path):
    path = tmp_path / "names.csv"
    assert read_names(path) == {}
    names = {"xray-1": "/disc/DOE, JANE/IM1", "caf_": "/disc/caf\udce9.png"}
    write_names(path, names)
    assert path.stat().st_mode & 0o077 == 0
    assert read_names(path) == names | {"caf_": r"/disc/caf\udce9.png"}
    with path.open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == ["folder", "file"]


@pytest.mark.parametrize("content", [b"", b"a,b,c\n", b"folder,file\nx\n", b"\xff\xfe"])
def test_another_names_csv_is_not_replaced(tmp_path, content):
    (tmp_path / "names.csv").write_bytes(content)
    with pytest.raises(DataError, match="choose another out="):
        read_names(tmp_path / "names.csv")
