"""Reading tar archives without trusting them."""

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from xrj.errors import DataError

_LITTER = frozenset({".ds_store", "thumbs.db", "desktop.ini", "__macosx"})


def is_litter(name: str) -> bool:
    """Say whether a path is one that macOS or Windows puts beside files, such as `._1.xml`."""
    parts = PurePosixPath(name).parts
    return any(part.startswith("._") or part.lower() in _LITTER for part in parts)


@contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Turn the errors of a broken archive, while it is read, into a `DataError` that names it."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: broken archive ({error}); download it again") from error


def safe_members(
    archive: Path, passed_over: list[str] | None = None
) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield (name, size, stream) of each regular file in a tar archive, in its order.

    Nothing is unpacked; each stream is to be read, within `reading`, before the next is taken.

    Args:
        archive: The tar archive, compressed or not.
        passed_over: Gets the names of what `is_litter` says is no data, which is not yielded.

    Raises:
        DataError: The archive is missing or broken, or a member is absolute, climbs out with
            `..`, or is a link or a device.
    """
    try:
        with reading(archive), tarfile.open(archive, "r|*") as tar:
            for member in tar:
                name = PurePosixPath(member.name.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts:
                    raise DataError(
                        f"{archive}: member '{member.name}' leads out of the archive; "
                        "do not use this file"
                    )
                if member.isdir():
                    continue
                if is_litter(str(name)):
                    if passed_over is not None:
                        passed_over.append(f"{archive}/{name}")
                    continue
                if not member.isfile():
                    raise DataError(
                        f"{archive}: member '{member.name}' is a link or device; "
                        "do not use this file"
                    )
                yield str(name), member.size, cast(IO[bytes], tar.extractfile(member))
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{archive}: cannot be read ({reason}); check the path or download it again"
        ) from error
