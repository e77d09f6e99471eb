"""How the commands speak: one line and exit status 2 for a user's mistake."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from xrj.errors import UserError

DISK = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
        *(errno.ENOTDIR, errno.EEXIST),
    }
)
"""What the system answers when a folder cannot be written: a user's to mend, not a bug."""


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn a user's mistakes into `fail`.

    A configuration that cannot be composed and a folder that cannot be written are such mistakes.
    """
    try:
        yield
    except UserError as error:
        fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        reason = f" ({str(error.__cause__).splitlines()[0]})" if error.__cause__ else ""
        fail(f"{str(error).splitlines()[0]}{reason}; see --help")
    except OSError as error:
        if error.errno not in DISK:
            raise
        fail(
            f"{error.filename or 'a file'}: cannot be written ({error.strerror}); "
            "free space or choose another folder"
        )


class SlurmCheck(Callback):
    """Refuses `cluster=slurm` where there is nothing to submit, or nowhere to submit it to."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a single run, which Hydra would start here."""
        fail("cluster=slurm: submits the jobs of a multirun; add -m, or leave cluster=slurm out")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look for SLURM's commands."""
        for name in ("srun", "sbatch"):
            if shutil.which(name) is None:
                fail(
                    f"cluster=slurm: there is no {name} on this machine; start the command where "
                    "SLURM is, or leave cluster=slurm out"
                )


def user_errors(task: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Wrap a command's task so that a user's mistake ends it before Hydra reports a failed job."""

    @wraps(task)
    def wrapped(cfg: DictConfig) -> None:
        with _one_line():
            task(cfg)

    return wrapped


def run_command(main: Callable[[], None], stopped: str) -> None:
    """Run a Hydra main; mistakes that Hydra finds are answered as `user_errors` does.

    Args:
        main: It.
        stopped: What the same command does after Ctrl-C, which ends this one with status 130.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        with _one_line():
            main()
    except KeyboardInterrupt:
        print(f"stopped by Ctrl-C; {stopped}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


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
