"""Folders that appear whole, and what killed runs leave."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from tests.justify.handmade import LARGE, SMALL, made
from tests.justify.page_parser import Page
from xrj.errors import DataError
from xrj.justify import output
from xrj.justify.output import render, write_index, write_justification
from xrj.justify.page import index_page

FILES = [
    *(
        f"{kind}_{size}.png"
        for kind in ("alternative", "reconstruction")
        for size in (SMALL, LARGE)
    ),
    *(
        "alternative_on_xray.png",
        "difference.png",
        "difference_original.png",
        "original.png",
        f"one_shot_{LARGE}.png",
    ),
    *("justification.html", "justification.json", "strip.webp", "walk.webp"),
    *("saliency_attention_abstract.webp", "saliency_attention_intermediate.webp"),
    *("saliency_gradcam.webp", "saliency_integrated_gradients.webp"),
]
NASTY = '"><script>alert(1)&amp; #?%41.png'


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(folder, **changes):
    return write_justification(made(**changes), folder)


def test_a_folder_holds_the_record_the_page_and_every_picture_that_they_name(tmp_path):
    sheet = write(tmp_path / "patient")
    assert names(tmp_path) == ["patient"]
    assert names(tmp_path / "patient") == sorted(FILES)
    record = json.loads((tmp_path / "patient" / "justification.json").read_text("utf-8"))
    assert record == sheet.record
    named = [
        *record["reconstruction"].values(),
        *record["alternative"]["xray"].values(),
        record["alternative"]["on_xray"]["file"],
        *(one["file"] for one in record["saliency"]),
        record["walk"]["file"],
    ]
    assert set(named) <= set(FILES)
    assert list(record["reconstruction"]) == [str(SMALL), str(LARGE)]


def test_pictures_are_kept_without_loss(tmp_path):
    justification = made()
    write(tmp_path / "patient")
    for name, picture in (
        ("original.png", justification.original),
        (f"alternative_{LARGE}.png", justification.alternative.large),
        (f"reconstruction_{SMALL}.png", justification.found.small),
    ):
        with Image.open(tmp_path / "patient" / name) as image:
            assert np.array_equal(np.asarray(image), picture)
            assert image.text["Description"]


def test_both_differences_have_one_scale():
    files = render(made(), "x").files
    limits = []
    for name in ("difference.png", "difference_original.png"):
        with Image.open(io.BytesIO(files[name])) as image:
            limits.append(image.text["Description"].rpartition(" at ")[2])
    assert limits[0] == limits[1]
    assert limits[0].endswith("of 255 grey levels")


def test_without_classifier_and_refinement_there_are_fewer_pictures(tmp_path):
    write(tmp_path / "x", saliency=(), one_shot=None, refinement=None, found_by_classifier=None)
    assert not [name for name in names(tmp_path / "x") if name.startswith(("saliency", "one_"))]


def test_links_of_the_index_lead_to_files(tmp_path):
    sheets = [write(tmp_path / name, image=name) for name in (NASTY, "plain")]
    page = Page(write_index(tmp_path, index_page("Title", sheets), sheets).read_text("utf-8"))
    addresses = [link["href"] for link in page.all("a")] + [img["src"] for img in page.all("img")]
    assert len(addresses) == 2 * 2 + 4
    assert all((tmp_path / unquote(address)).is_file() for address in addresses)


def test_pages_of_an_index_lead_to_their_neighbours_and_back(tmp_path):
    folders = [NASTY, "a b", "plain"]
    sheets = [write(tmp_path / name, image=name) for name in folders]
    pages = [tmp_path / name / "justification.html" for name in folders]
    assert not [a for page in pages for a in links(page) if a["href"].startswith("..")]
    for _ in range(2):  # a second index changes nothing
        index = write_index(tmp_path, index_page("Title", sheets), sheets)
        for number, page in enumerate(pages):
            found = {a.get("rel"): page.parent / unquote(a["href"]) for a in links(page)}
            around = {"prev": number - 1, "next": number + 1}
            near = {rel: pages[place] for rel, place in around.items() if 0 <= place < 3}
            assert {rel: path.resolve() for rel, path in found.items() if rel} == near
            assert index in [path.resolve() for path in found.values()]
            text = page.read_text("utf-8")
            assert f"{number + 1} of 3" in Page(text).words
            assert text.count("<nav") == 1
        assert all(names(path.parent) == sorted(FILES) for path in pages)


def links(page):
    return [a for a in Page(page.read_text("utf-8")).all("a") if not a["href"].startswith("#")]


def test_a_rerun_replaces_and_other_folders_are_refused(tmp_path):
    write(tmp_path / "patient")
    (tmp_path / "patient" / "original.png").write_bytes(b"")
    write(tmp_path / "patient")
    assert (tmp_path / "patient" / "original.png").stat().st_size > 100
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="is no justification"):
        write(tmp_path / "thesis")
    assert names(tmp_path / "thesis") == ["thesis.txt"]
    assert names(tmp_path) == ["patient", "thesis"]


def test_a_failure_keeps_the_old_folder_and_leaves_nothing(tmp_path, monkeypatch):
    write(tmp_path / "patient")
    before = (tmp_path / "patient" / "justification.json").read_bytes()
    rename = Path.rename

    def fail(self, target):
        if output.WRITING in str(self):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(DataError, match="No space left on device"):
        write(tmp_path / "patient")
    assert (tmp_path / "patient" / "justification.json").read_bytes() == before
    assert names(tmp_path) == ["patient"]


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_run_left_is_cleared_away_at_the_next(tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def killed(self, data):
        if self.name == "difference.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return write_bytes(self, data)

    process = os.fork()
    if not process:
        monkeypatch.setattr(Path, "write_bytes", killed)
        write(tmp_path / "patient")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left == f"{output.WRITING}{process}"
    assert names(tmp_path / left / "patient")
    write(tmp_path / "other")
    assert names(tmp_path) == ["other"]


def test_a_folder_that_made_way_when_its_run_was_killed_comes_back(tmp_path):
    write(tmp_path / "patient")
    away = tmp_path / f"{output.REPLACED}{dead_process()}"
    away.mkdir()
    (tmp_path / "patient").rename(away / "patient")
    write(tmp_path / "other")
    assert names(tmp_path) == ["other", "patient"]
    assert names(tmp_path / "patient") == sorted(FILES)


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    others = [f"{output.WRITING}{os.getppid()}", f"{output.WRITING}notes", f"{output.WRITING}1"]
    for name in others:
        (tmp_path / name / "x").mkdir(parents=True)
    write(tmp_path / "patient")
    assert names(tmp_path) == sorted([*others, "patient"])
