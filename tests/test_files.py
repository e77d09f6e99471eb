import errno
import fcntl
import hashlib
import json
import os
import signal
import stat
from multiprocessing import get_context

import pytest

from xrj.errors import DataError
from xrj.files import (
    _tell,
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


@pytest.fixture
def told(capsys):
    """What is said on stderr, which is said once a process."""
    _tell.cache_clear()
    return lambda: capsys.readouterr().err.splitlines()


def refuse(monkeypatch, module, function, number, *, of=lambda *_: True):
    real = getattr(module, function)

    def refused(handle, *arguments):
        if of(handle):
            raise OSError(number, os.strerror(number))
        return real(handle, *arguments)

    monkeypatch.setattr(module, function, refused)


@pytest.mark.parametrize("number", ["ENOSYS", "ENOLCK", "EOPNOTSUPP", "EINVAL", "EIO"])
@pytest.mark.parametrize("wait", [True, False])
def test_a_file_system_without_locks_is_told_once(tmp_path, monkeypatch, told, number, wait):
    refuse(monkeypatch, fcntl, "flock", getattr(errno, number))
    for _ in range(2):
        with locked(tmp_path / ".lock", wait=wait) as obtained:
            assert obtained
    (line,) = told()
    assert line.startswith(f"warning: {tmp_path}: the file system has no locks (")


def is_folder(handle):
    return stat.S_ISDIR(os.fstat(handle).st_mode)


@pytest.mark.parametrize("number", ["EINVAL", "ENOTSUP", "EBADF", "EIO", "EACCES"])
def test_a_folder_that_cannot_be_flushed_is_told_once(tmp_path, monkeypatch, told, number):
    refuse(monkeypatch, os, "fsync", getattr(errno, number), of=is_folder)
    write_json(tmp_path / "a.json", 1)
    write_json(tmp_path / "b.json", 2)
    assert names(tmp_path) == ["a.json", "b.json"]
    (line,) = told()
    assert line.startswith(f"warning: {tmp_path}: the file system cannot flush to disk (")


@pytest.mark.parametrize("number", ["EINVAL", "ENOSYS", "EOPNOTSUPP"])
def test_a_file_system_that_flushes_nothing_is_told(tmp_path, monkeypatch, told, number):
    refuse(monkeypatch, os, "fsync", getattr(errno, number))
    write_json(tmp_path / "a.json", 1)
    assert read_json(tmp_path / "a.json") == 1
    assert len(told()) == 1


@pytest.mark.parametrize("number", ["EIO", "ENOSPC", "EDQUOT"])
def test_a_file_that_did_not_reach_the_disk_is_an_error(tmp_path, monkeypatch, number):
    refuse(monkeypatch, os, "fsync", getattr(errno, number))
    with pytest.raises(DataError, match=r"a\.json: cannot be written"):
        write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == []


def test_a_path_through_a_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"a\.json: cannot be written \(.*\)"):
        write_json(tmp_path / "file/x/a.json", 1)


def test_who_waited_for_a_lock_that_was_removed_takes_the_new_one(tmp_path, monkeypatch):
    path, real, calls = tmp_path / ".lock", fcntl.flock, []

    def flock(handle, operation):
        real(handle, operation)
        calls.append(handle)
        if len(calls) == 1:  # the former holder removes it as it ends
            path.unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path, wait=True) as first:
        assert first
        assert len(calls) == 2
        with locked(path, wait=False) as second:
            assert not second
