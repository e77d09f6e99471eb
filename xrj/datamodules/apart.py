"""Decoding in a process of its own, which may crash, hang or swell and harms nothing.

The process gets a file's bytes on stdin and answers on stdout; it can write no file. Its answer
begins with `READY` once it has what decoding needs: what ends it before is not the file's fault.
"""

import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from xrj.datamodules.decoders import decode_here, image_format
from xrj.datamodules.greys import Decoded, UInt8
from xrj.errors import DataError

SECONDS = 60
"""That decoding may take, in the processor as well as in waiting for it."""
MEMORY = 1 << 30
"""Bytes of address space for the process, beside those for the picture."""
BYTES_PER_PIXEL = 32
REFUSED = 2
READY = b"\x06"
KEPT = ("LD_", "DYLD_", "PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONNOUSERSITE", "LANG", "LC_")
"""Beginnings of the environment's names that say where Python and its libraries lie."""


class DecoderError(DataError):
    """The process for decoding does not start; the file may be as good as any."""


def decode_apart(
    data: bytes, name: str, max_pixels: int, *, warn: Callable[[str], object] | None = None
) -> UInt8:
    """Decode an X-ray as `decode_image` does, in another process.

    Raises:
        DataError: As `decode_image`; also where decoding crashes, lasts or needs too much.
        DecoderError: The process does not start, whatever the file.
    """
    command = [sys.executable, "-m", "xrj.datamodules.apart", str(max_pixels)]
    try:
        process = subprocess.run(
            command,
            input=data,
            capture_output=True,
            cwd=Path(__file__).parents[2],
            env=_environment(),
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{name}: takes too long to decode; export it uncompressed") from error
    except OSError as error:
        raise _not_started(name, error.strerror or type(error).__name__) from error
    if not process.stdout.startswith(READY):
        said = process.stderr.decode(errors="replace").strip().splitlines()
        said = [line for line in said if "Error: " in line] or said  # of Python's, not what follows
        raise _not_started(name, said[-1] if said else f"exit status {process.returncode}")
    answer = io.BytesIO(process.stdout[len(READY) :])
    if process.returncode == 0:
        image: UInt8 = np.load(answer, allow_pickle=False)
        return Decoded(image, tuple(answer.read().decode().splitlines())).told(name, warn)
    if process.returncode == REFUSED:
        raise DataError(f"{name}{answer.read().decode()}")
    raise DataError(f"{name}: breaks the decoder; export it again, uncompressed")


def _environment() -> dict[str, str]:
    """Return what the process needs to find the same packages; nothing secret of the user's."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _not_started(name: str, reason: str) -> DecoderError:
    return DecoderError(
        f"{name}: the process that decodes it does not start ({reason}); check that "
        f"{sys.executable} finds its packages and libraries (PYTHONPATH, LD_LIBRARY_PATH)"
    )


def main() -> None:
    """Decode stdin to stdout, as a NumPy file and the doubts, one a line.

    A refusal is written instead, with exit status 2.
    """
    max_pixels = int(sys.argv[1])
    data = sys.stdin.buffer.read()
    if image_format(data) == "DICOM":
        import xrj.datamodules.dicom  # noqa: F401  # before it is ready
    _limit(max_pixels)
    answer = sys.stdout.buffer
    answer.write(READY)
    answer.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # decoders quote what they read
    try:
        decoded = decode_here(data, "", max_pixels, expendable=True)
    except DataError as error:
        answer.write(str(error).encode())
        answer.flush()
        sys.exit(REFUSED)
    file = io.BytesIO()  # NumPy wants a place in its file, which a pipe has not
    np.save(file, decoded.grey)
    answer.write(file.getbuffer())
    answer.write("\n".join(decoded.doubts).encode())


def _limit(max_pixels: int) -> None:
    """Bound what the process may use; where less is allowed already, that stays."""
    limits = {
        resource.RLIMIT_AS: MEMORY + BYTES_PER_PIXEL * max_pixels,
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        with suppress(ValueError, OSError):  # a system that does not know this limit
            resource.setrlimit(kind, (bound, bound))


if __name__ == "__main__":
    main()
