"""How the commands speak: one line and exit status 2 for a user's mistake."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, NoReturn, TextIO

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from xrj.errors import UserError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DISK = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
        *(errno.ENOTDIR, errno.EEXIST),
    }
)
"""What the system answers when a folder cannot be written: a user's to mend, not a bug."""
EXTRAS: Mapping[str, str] = {
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "python_multipart"), "web"),
    "gdcm": "dicom",
    **dict.fromkeys(("hydra_plugins", "submitit"), "slurm"),
}
"""The extra that installs a module; all others come with xrj itself."""


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn a user's mistakes into `fail`.

    A configuration that cannot be composed, a folder that cannot be written and a package that is
    not installed are such mistakes.
    """
    try:
        yield
    except UserError as error:
        fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        reason = f" ({str(error.__cause__).splitlines()[0]})" if error.__cause__ else ""
        fail(f"{str(error).splitlines()[0]}{reason}; see --help")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "xrj"):
            raise
        extra = EXTRAS.get(package)
        remedy = f"pip install 'xrj[{extra}]'" if extra else "install xrj and what it needs again"
        fail(f"{error.name}: this Python module is not installed; {remedy}")
    except OSError as error:
        if error.errno not in DISK:
            raise
        fail(
            f"{error.filename or 'a file'}: cannot be written ({error.strerror}); "
            "free space or choose another folder"
        )


def user_errors(task: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Wrap a command's task so that a user's mistake ends it before Hydra reports a failed job."""

    @wraps(task)
    def wrapped(cfg: DictConfig) -> None:
        with _one_line():
            task(cfg)

    return wrapped


def run_command(main: Callable[[], None]) -> None:
    """Run a Hydra main; mistakes that Hydra finds are answered as `user_errors` does."""
    if sys.stdout is sys.__stdout__:
        sys.stdout = lasting(sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = lasting(sys.stderr)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    with _one_line():
        main()


class _Pipe(io.FileIO):
    """A stream whose reader may leave, as `head` does; what comes after goes nowhere."""

    def write(self, data: "ReadableBuffer") -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a device, not a path
                os.dup2(nowhere.fileno(), self.fileno())
            return memoryview(data).nbytes


def lasting(stream: TextIO | None) -> TextIO | None:
    """Return a stream to the same place that ends no work.

    Signs that its encoding lacks are replaced, and that nobody reads it any more is not an error.
    None, for a stream that is closed, stays None.
    """
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    raw = _Pipe(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def quote_paths(*keys: str) -> None:
    """Quote the values of these overrides in `sys.argv`, so that a path may hold any sign.

    Hydra's grammar gives commas, brackets, equals signs and the like a meaning; a multirun, which
    needs it, is left as it is.
    """
    if {"-m", "--multirun"} & set(sys.argv):
        return
    for index, argument in enumerate(sys.argv[1:], start=1):
        key, equals, value = argument.partition("=")
        if equals and key in keys and value not in ("", "null") and value[0] not in "'\"":
            value = value.replace("'", r"\'")
            sys.argv[index] = f"{key}='{value}'"


def fail(message: str) -> NoReturn:
    """Print `error: message` in one line and exit with status 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
