"""Reading tar archives without trusting them."""

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from xrj.errors import DataError


@contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Turn the errors of a broken archive, while it is read, into a `DataError` that names it."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: broken archive ({error}); download it again") from error


def safe_members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield (name, size, stream) of each regular file in a tar archive, in its order.

    Nothing is unpacked; each stream is to be read, within `reading`, before the next is taken.

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
