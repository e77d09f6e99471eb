import errno
import hashlib
import json
import os
import signal
from multiprocessing import get_context

import pytest

from xrj.errors import DataError
from xrj.files import (
    atomic_path,
    locked,
    read_json,
    remove_temporaries,
    sha256_file,
    sha256_json,
    write_json,
)

FORK = get_context("fork")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_and_fail(path, error):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("all")
        assert not path.exists()
    assert path.read_text() == "all"
    assert names(path.parent) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_and_fail(path, RuntimeError())
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_line(tmp_path):
    path = tmp_path / "a.txt"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(DataError, match=r"a\.txt: cannot be written \(No space left") as caught:
        write_and_fail(path, full)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_killed_writer_leaves_a_temporary_that_the_next_start_removes(tmp_path):
    (tmp_path / "export").mkdir()

    def write():
        with atomic_path(tmp_path / "export" / "a.bin") as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=write)
    process.start()
    process.join()
    assert len(list((tmp_path / "export").iterdir())) == 1
    (tmp_path / "export" / "other.tmp").touch()
    remove_temporaries(tmp_path)
    assert names(tmp_path / "export") == ["other.tmp"]


def test_json_round_trip(tmp_path):
    value = {"b": [1, 2.5, None, True], "a": "ü"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "ü" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe"], ids=["missing", "broken", "bytes"])
def test_json_that_cannot_be_read_names_its_file(tmp_path, content):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json: ") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
    assert sha256_json({"a": 2}) != sha256_json({"a": 3})
    assert sha256_json((1, 2)) == sha256_json(json.loads("[1, 2]"))


def test_a_lock_is_held_once_and_free_again(tmp_path):
    path = tmp_path / "new" / ".lock"
    with locked(path, wait=False) as first, locked(path, wait=False) as second:
        assert first
        assert not second
    with locked(path, wait=False) as again:
        assert again


def test_a_lock_dies_with_its_process(tmp_path):
    path, held = tmp_path / ".lock", FORK.Event()

    def hold():
        with locked(path, wait=False):
            held.set()
            signal.pause()

    process = FORK.Process(target=hold)
    process.start()
    assert held.wait(30)
    with locked(path, wait=False) as obtained:
        assert not obtained
    process.kill()
    process.join()
    with locked(path, wait=False) as obtained:
        assert obtained


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match="cannot be written"),
        locked(tmp_path / "file/x", wait=True),
    ):
        pass
