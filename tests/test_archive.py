"""A table of many X-rays: resumed, cut in parts, merged, and nothing lost or doubled."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import xrj
from tests.commands import call_infer
from tests.datamodules.radiographs import PATIENT, as_bytes, radiograph
from tests.test_infer import QUICK, write_xray
from xrj import archive
from xrj.archive import Part, justify_archive, key_of, merge_tables
from xrj.errors import ConfigError, DataError
from xrj.files import locked

ROOT = Path(__file__).parents[1]
COUNT = 7
WHOLE = Part()
SETTINGS = xrj.JustifySettings(
    mapping=xrj.MappingSettings(tries=1, steps=2),
    refinement=xrj.RefinementSettings(steps=1),
    walk=3,
    batch=2,
)


@pytest.fixture(scope="module")
def model(chain_runs):
    return xrj.load(chain_runs / "tiny", device="cpu")


@pytest.fixture
def folder(tmp_path):
    for number in range(COUNT):
        write_xray(tmp_path / "xrays" / f"ward {number % 2}" / f"{number}.png", seed=number)
    return tmp_path / "xrays"


def write(model, folder, out, part=WHOLE, pages="none", settings=SETTINGS, seed=0):
    return justify_archive(model, str(folder), out, settings, seed, part=part, pages=pages)


def rows_of(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def alike(rows, others):
    """Compare rows in whatever order, times apart; numbers but for rounding."""
    key = lambda row: row["key"]  # noqa: E731
    assert len(rows) == len(others)
    for one, other in zip(sorted(rows, key=key), sorted(others, key=key), strict=True):
        for name in one.keys() - {"search_seconds"}:
            try:
                assert float(one[name]) == pytest.approx(float(other[name]), abs=2e-3), name
            except ValueError:
                assert one[name] == other[name], name


def test_a_row_says_what_the_justification_says(model, folder, tmp_path):
    told = write(model, folder, tmp_path / "out")
    rows = rows_of(told.table)
    assert (told.done, told.found, told.broken, len(rows)) == (COUNT, 0, 0, COUNT)
    assert told.warned == sum(row["warnings"] != "0" for row in rows)
    path = folder / "ward 1" / "3.png"
    (row,) = (row for row in rows if row["file"] == str(path))
    found = model.justify(path, SETTINGS)
    assert row["key"] == key_of(path, folder)
    assert row["diagnosis"] == found.diagnosis
    assert row["caption"] == found.found.caption
    assert row["alternative"] == found.target
    for label, value in found.found.certainty.items():
        assert float(row[f"certainty_{label}"]) == pytest.approx(value, abs=1e-4)
    assert float(row["redrawn"]) == pytest.approx(found.on_xray.redrawn, abs=1e-4)
    assert int(row["warnings"]) == len(found.evidence.warnings)
    assert row["page"] == ""
    assert not (tmp_path / "out" / "pages").exists()


@pytest.mark.parametrize(
    ("pages", "wanted"), [("all", COUNT), ("2", 2), ("0", 0), ("warnings", None)]
)
def test_pages_are_written_for_those_asked_for(pages, wanted, model, folder, tmp_path):
    told = write(model, folder, tmp_path / "out", pages=pages)
    rows = rows_of(told.table)
    with_page = [row for row in rows if row["page"]]
    if wanted is None:
        assert with_page == [row for row in rows if row["warnings"] != "0"]
    else:
        assert len(with_page) == wanted
    for row in with_page:
        assert (tmp_path / "out" / row["page"] / "justification.html").is_file()
        assert row["page"] == f"pages/{row['key']}"


def test_what_was_done_is_not_done_again(model, folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = write(model, folder, out)
    before = first.table.read_bytes()
    monkeypatch.setattr(archive, "read", lambda *_: pytest.fail("was read again"))
    again = write(model, folder, out)
    assert (again.done, again.found) == (COUNT, COUNT)
    assert first.table.read_bytes() == before
    monkeypatch.undo()
    write_xray(folder / "new.png", seed=99)
    assert write(model, folder, out).done == COUNT + 1


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_row_that_was_half_written_is_written_anew(cut, model, folder, tmp_path):
    out = tmp_path / "out"
    table = write(model, folder, out).table
    whole = rows_of(table)
    table.write_bytes(table.read_bytes()[:-cut])
    assert write(model, folder, out).found < COUNT
    alike(rows_of(table), whole)


def test_a_file_that_cannot_be_read_is_a_row_with_its_reason(model, folder, tmp_path):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    told = write(model, folder, tmp_path / "out")
    (row,) = (row for row in rows_of(told.table) if row["problem"])
    assert told.broken == 1
    assert row["file"].endswith("broken.png")
    assert row["diagnosis"] == ""
    assert "broken.png" in row["problem"]
    assert write(model, folder, tmp_path / "out").found == COUNT + 1


def test_names_in_dicom_files_stay_out_of_the_table(model, tmp_path):
    name = str(PATIENT[0])
    place = tmp_path / "discs" / f"{name}.dcm"
    place.parent.mkdir()
    place.write_bytes(as_bytes(radiograph(np.arange(6000, dtype=np.uint16).reshape(75, 80))))
    table = write(model, place.parent, tmp_path / "out", pages="all").table
    assert len(rows_of(table)) == 1
    for path in (tmp_path / "out").rglob("*"):
        assert name not in path.name
        assert not path.is_file() or name.encode() not in path.read_bytes()


@pytest.mark.parametrize("shards", [2, 3, 20])
def test_how_it_is_cut_leaves_no_trace(shards, model, folder, tmp_path):
    (folder / "broken.png").write_bytes(b"nothing")
    write(model, folder, tmp_path / "one", Part(0, 1))
    write(model, folder, tmp_path / "two", Part(0, 1))
    for shard in range(shards):
        write(model, folder, tmp_path / "cut", Part(shard, shards))
    table, count = merge_tables(tmp_path / "cut")
    whole = rows_of(tmp_path / "one" / "table.csv")
    assert count == COUNT + 1
    alike(rows_of(table), whole)
    files = [row["file"] for row in rows_of(table)]
    assert files == sorted(files)
    assert write(model, folder, tmp_path / "cut").found == count  # goes on as one table


def test_every_file_is_of_one_part():
    keys = [key_of(Path(f"/x/{number}.png"), Path("/x")) for number in range(300)]
    for shards in (1, 2, 7):
        parts = [Part(shard, shards) for shard in range(shards)]
        assert all(sum(part.holds(key) for part in parts) == 1 for key in keys)
        assert all(sum(part.holds(key) for key in keys) > 100 / shards for part in parts)


def test_parts_that_do_not_go_together(model, folder, tmp_path):
    with pytest.raises(DataError, match="holds no parts of a table"):
        merge_tables(tmp_path)
    write(model, folder, tmp_path, Part(0, 2))
    with pytest.raises(DataError, match=r"table-1-of-2\.csv of 2 is missing; run that shard first"):
        merge_tables(tmp_path)
    write(model, folder, tmp_path, Part(1, 2), seed=1)
    with pytest.raises(DataError, match=r"table-1-of-2\.csv: was made with another model or other"):
        merge_tables(tmp_path)
    write(model, folder, tmp_path, Part(0, 3))
    with pytest.raises(DataError, match="cut otherwise"):
        merge_tables(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"seed": 1}, "another seed"), ({"settings": xrj.JustifySettings()}, "another settings")],
)
def test_a_table_of_another_run_is_in_the_way(change, said, model, folder, tmp_path):
    table = write(model, folder, tmp_path / "out").table
    before = table.read_bytes()
    with pytest.raises(DataError, match=f"was begun with {said}; choose another out="):
        write(model, folder, tmp_path / "out", **change)
    assert table.read_bytes() == before


def test_something_else_is_in_the_way(model, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "table.csv").write_text("mine\n")
    with pytest.raises(DataError, match="exists, and not what it was made with; choose another"):
        write(model, folder, tmp_path / "out")
    assert (tmp_path / "out" / "table.csv").read_text() == "mine\n"


def test_two_processes_on_one_part(model, folder, tmp_path):
    (tmp_path / "out").mkdir()
    said = "another process writes it; wait for it, or choose"
    lock = locked(tmp_path / "out" / ".table.csv.lock", wait=False)
    with lock, pytest.raises(ConfigError, match=said):
        write(model, folder, tmp_path / "out")


def test_a_batch_does_not_decide(model, folder, tmp_path):
    small = write(model, folder, tmp_path / "a").table
    large = write(model, folder, tmp_path / "b", settings=replace(SETTINGS, batch=64)).table
    alike(rows_of(small), rows_of(large))


# The command


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["table=true"], "out: says where the table lies"),
        (["table=true", "out=x", "pages=some"], "pages=some: choose none, all, warnings or a num"),
        (["table=true", "out=x", "shards=2", "shard=2"], "shard=2: must lie between 0 and 1"),
        (["table=true", "out=x", "shards=0"], "shards=0: must be at least 1"),
        (["out=x", "shards=2"], "table=false: shards and pages are of a table; set table=true"),
        (["table=true", "out=x", "names=keep"], "names=keep: a table names files itself"),
        (["task=merge"], "out: says where the table lies"),
        (["task=merge", "out=nowhere"], "nowhere: holds no parts of a table"),
    ],
)
def test_what_cannot_be_asked(given, said, chain_runs, folder, tmp_path, monkeypatch, capsys):
    arguments = [f"image={folder}", "name=tiny", f"runs={chain_runs}", *given, *QUICK]
    status, _, err = call_infer(monkeypatch, capsys, tmp_path, arguments)
    assert status == 2
    assert len(err) == 1
    assert said in err[0]


def test_the_command_says_what_the_table_holds(chain_runs, folder, tmp_path, monkeypatch, capsys):
    (folder / "broken.png").write_bytes(b"nothing")
    base = [f"image={folder}", "name=tiny", f"runs={chain_runs}", "out=out", "table=true", *QUICK]
    status, out, _ = call_infer(monkeypatch, capsys, tmp_path, base)
    assert status == 0
    assert out[0].startswith(
        f"{COUNT + 1} rows, {COUNT + 1} of them new; of these 1 cannot be read"
    )
    assert out[-1] == "out/table.csv"
    shutil.rmtree(tmp_path / "out")
    for shard in (0, 1):
        parts = [*base, "shards=2", f"shard={shard}"]
        assert call_infer(monkeypatch, capsys, tmp_path, parts)[0] == 0
    status, out, _ = call_infer(monkeypatch, capsys, tmp_path, ["task=merge", "out=out"])
    assert (status, out) == (0, [f"{COUNT + 1} rows", "out/table.csv"])


@pytest.mark.slow
def test_killed_ten_times_it_loses_and_doubles_nothing(chain_runs, tmp_path):
    for number in range(120):
        write_xray(tmp_path / "xrays" / f"{number}.png", seed=number)
    command = [
        sys.executable, "-c", "from xrj.cli import infer; infer()", "image=xrays", "name=tiny",
        f"runs={chain_runs}", "out=out", "table=true", "batch=4", *QUICK,
    ]  # fmt: skip
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    table = tmp_path / "out" / "table.csv"
    for kill in range(10):
        process = subprocess.Popen(command, cwd=tmp_path, env=environment)
        wanted = 8 * (kill + 1)
        while process.poll() is None:
            if table.exists() and table.read_bytes().count(b"\n") > wanted:
                process.send_signal(signal.SIGKILL)
                process.wait()
            time.sleep(0.01)
    assert subprocess.run(command, cwd=tmp_path, env=environment).returncode == 0
    keys = [row["key"] for row in rows_of(table)]
    assert len(keys) == len(set(keys)) == 120
