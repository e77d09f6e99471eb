"""Writing that survives being killed, and locks between processes."""

import errno
import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from xrj.errors import DataError

_NOT_THERE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What file systems answer that cannot do what is asked, rather than fail at it."""


@cache
def _tell(message: str) -> None:
    """Say something about a file system on stderr, once a process."""
    print(f"warning: {message}", file=sys.stderr)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _flush(path: Path, folder: Path, *, strict: bool) -> None:
    """Flush a file or a folder to disk; say so of its folder where that is not to be had.

    Raises:
        OSError: It failed, and `strict`, rather than that the file system cannot.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if strict and error.errno not in _NOT_THERE:
            raise
        _tell(
            f"{folder}: the file system cannot flush to disk ({_reason(error)}); what is newest "
            "there may be lost when the machine fails"
        )


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; rename it into place on success.

    The file appears whole or not at all: its bytes are flushed to disk before the rename, and a
    failure leaves no temporary file behind.

    Raises:
        DataError: The disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary, path.parent, strict=True)
        temporary.replace(path)
        _flush(path.parent, path.parent, strict=False)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({_reason(error)}); free space or choose another folder"
        ) from error
    finally:
        with suppress(OSError):  # it may be that there is no such folder
            temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what `atomic_path` left below `folder` when its process was killed."""
    for path in folder.rglob(".*.tmp"):
        path.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: The file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({_reason(error)})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON in hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold an exclusive lock on `path` between processes; yield whether it was obtained.

    The operating system drops the lock with the process, so a killed one leaves nothing stale. The
    holder may remove the file. Where the file system has no locks, this says so and goes on.

    Args:
        path: The lock file; created when missing.
        wait: Wait for the holder to finish instead of yielding False.

    Raises:
        DataError: The folder cannot be written.
    """
    for _ in range(10):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
        except OSError as error:
            raise DataError(
                f"{path}: cannot be written ({_reason(error)}); choose another folder"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                break
            except OSError as error:
                _tell(
                    f"{path.parent}: the file system has no locks ({_reason(error)}); see that "
                    "no other process writes there"
                )
            if _lies_at(file.fileno(), path):
                yield True
                return
    yield False


def _lies_at(file: int, path: Path) -> bool:
    """Return whether an open file is the one at `path`, which a former holder may have removed."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False
