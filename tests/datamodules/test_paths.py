import unicodedata

import pytest

from xrj.datamodules.paths import ImageFiles, inside
from xrj.errors import DataError

ACCENT = unicodedata.normalize("NFC", "é.png")


@pytest.fixture
def files(tmp_path):
    for name in ("images/a.PNG", "images/b.jpeg", "images/c.png", "images/C.png", "images/._d.png",
                 f"Scans/{unicodedata.normalize('NFD', ACCENT)}", "images/e.png/inner",
                 "images/f.tif", r"odd\name.png", "images/g.png", "images/g.jpg"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return ImageFiles(tmp_path, tmp_path / "data.csv")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("images/a.PNG", "images/a.PNG"),
        ("images/a.png", "images/a.PNG"),
        ("images/A.jpg", "images/a.PNG"),
        ("IMAGES/b.jpg", "images/b.jpeg"),
        (r"images\c.png", "images/c.png"),
        (r".\images\B.JPG", "images/b.jpeg"),
        ("./images/c.png", "images/c.png"),
        (r"odd\name.png", r"odd\name.png"),
        ("images/g.JPG", "images/g.jpg"),
    ],
)
def test_a_safe_guess_is_made_and_said(files, name, file):
    assert files.find(name) == files.folder / file
    guessed = not (files.folder / name).is_file()
    assert [f"such as '{file}' for '{name}'" in note for note in files.notes] == [True] * guessed


def test_accents_may_be_stored_in_two_ways(files):
    assert unicodedata.normalize("NFC", files.find(f"Scans/{ACCENT}").name) == ACCENT


@pytest.mark.parametrize(
    "name",
    ["images/C.PNG", "images/d.png", "images/e.png", "images/f.png", "images/h.png", "images", ".",
     "images/../x.png", "no/a.png", "images/g.jpeg/x.png",
     pytest.param("x" * 5000 + ".png", id="long")],
)  # fmt: skip
def test_what_could_mean_several_files_or_none_is_missing(files, name):
    assert files.find(name) is None
    assert files.notes == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "the path of an image is empty"),
        ("https://host/a.png", "is an address"),
        ("file:///etc/a.png", "is an address"),
        ("a\0b.png", "is no path"),
        ("\ud800.png", "is no path"),
        ("../a.png", "leads out"),
        ("/etc/hostname", "leads out"),
        (r"..\a.png", "leads out"),
        (r"D:\a.png", "leads out"),
        ("D:/a.png", "leads out"),
        (r"\\host\share\a.png", "leads out"),
    ],
)
def test_what_is_no_path_into_the_folder_is_refused(files, name, reason):
    with pytest.raises(DataError, match=rf"^[^\n]*data\.csv: [^\n]*{reason}[^\n]*$") as caught:
        files.find(name)
    str(caught.value).encode()


def test_links_that_lead_out_or_in_circles(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "out.png").write_bytes(b"x")
    (folder / "A.png").symlink_to(tmp_path / "out.png")
    (folder / "round.png").symlink_to(folder / "round.png")
    with pytest.raises(DataError, match="leads out"):
        ImageFiles(folder, tmp_path).find("a.png")
    with pytest.raises(DataError, match=r"round\.png[^\n]*mend it"):
        ImageFiles(folder, tmp_path).find("round.png")
    assert inside(folder, "x.png", tmp_path) == folder / "x.png"


def test_what_lies_beside_a_missing_file_is_listed(files):
    assert "'.png' (4)" in files.beside(files.folder / "images" / "h.png")
    assert "there is no folder" in files.beside(files.folder / "no" / "h.png")
