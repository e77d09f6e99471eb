"""How the commands speak: one line and exit status 2 for a user's mistake."""

import errno
import io
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from xrj.config import TrainConfig, register
from xrj.errors import ConfigError, UserError
from xrj.flags import REFUSED
from xrj.infer_config import InferConfig
from xrj.programs import CONF, program
from xrj.settings import expand_home, nearest, quote, settings

Task = Callable[[DictConfig], float | None]

SCHEMAS = {"train": TrainConfig, "infer": InferConfig}
FLAGS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run"),
    *("--multirun", "--shell-completion", "--config-path", "--config-name", "--config-dir"),
    *("--experimental-rerun", "--info"),
)
"""Hydra's options."""
SHORT = ("-h", "-c", "-p", "-r", "-m", "-sc", "-i")
"""How short ones begin."""
_CHOICE = re.compile(r"Invalid value '(.*)', expected one of \[(.*)\]")
"""What OmegaConf says of a value that an enumeration lacks."""

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DISK = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
        *(errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
    }
)
"""What the system answers when a folder cannot be written: a user's to mend, not a bug."""
EXTRAS: Mapping[str, str] = {
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "python_multipart"), "web"),
    "gdcm": "dicom",
    "huggingface_hub": "hub",
    "tensorboard": "tensorboard",
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "export"),
    **dict.fromkeys(("hydra_plugins", "submitit"), "slurm"),
}
"""The extra that installs a module; all others come with xrj itself."""


@contextmanager
def _one_line(schema: type) -> Iterator[None]:
    """Turn a user's mistakes into `fail`.

    A configuration that cannot be composed, a folder that cannot be written and a package that is
    not installed are such mistakes.
    """
    try:
        yield
    except UserError as error:
        fail(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        fail(f"{_explained(error, schema).rstrip()} see --help")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "xrj"):
            raise
        extra = EXTRAS.get(package)
        remedy = f"pip install 'xrj[{extra}]'" if extra else "install xrj and what it needs again"
        fail(f"{error.name}: this Python module is not installed; {remedy}")
    except RuntimeError as error:
        if type(error).__module__ != "submitit.core.utils":  # an extra, hence by its name
            raise
        lines = str(error).splitlines()
        logs = [line.removeprefix("  - ") for line in lines if line.startswith("  - ")]
        fail(f"cluster=slurm: {lines[0]}; its log: {' and '.join(logs) or 'below .submitit'}")
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


def _explained(error: Exception, schema: type) -> str:
    """Say in a line what cannot be composed, and what may have been meant."""
    line, cause = str(error).splitlines()[0], error.__cause__
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        there = [name for name in error.options if not name.startswith("_")]
        near = nearest(error.missing_cfg_file.rpartition("/")[2], there)
        return f"{line.rstrip('.')}; {near}there are: {', '.join(there)};"
    if isinstance(error, OverrideParseException) and "=" not in error.override:
        near = nearest(error.override, _keys(schema))
        return f"{error.override}: {near}settings are given as KEY=VALUE;"
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        room, _, last = str(cause.full_key).partition(".")
        if schema is TrainConfig and room == "trainer" and last in REFUSED:
            return f"{cause.full_key}: not taken; {REFUSED[last]};"
        return f"{cause.full_key}: no such setting; {_meant(str(cause.full_key), schema)}"
    if cause and (choice := _CHOICE.search(str(cause))):
        key = line.partition("override ")[2].lstrip("+").partition("=")[0] or "a setting"
        near = nearest(choice[1], choice[2].split(", "))
        return f"{key}={choice[1]}: choose one of {choice[2]}; {near}"
    if line.startswith("Ambiguous value"):
        return f"{line}; several values need -m, a list is [1,2];"
    return f"{line} ({str(cause).splitlines()[0]});" if cause else f"{line};"


def _meant(key: str, schema: type) -> str:
    """Say what a key that is no setting may have meant, or nothing."""
    if any(key.startswith(f"{known}.") for known, _ in settings(schema)):
        return f"to add it, write +{key}=VALUE; "
    for name, other in SCHEMAS.items():
        if other is not schema and any(
            known == key or known.startswith(f"{key}.") for known, _ in settings(other)
        ):
            return f"it is one of {program(name).removeprefix('python ')}; "
    return nearest(key, _keys(schema))


def _keys(schema: type) -> list[str]:
    """Return the keys of all settings and the names of all groups."""
    groups = (path.name for path in CONF.iterdir() if path.is_dir())
    return [*(key for key, _ in settings(schema)), *groups]


def user_errors(schema: type) -> Callable[[Task], Task]:
    """Wrap a command's task so that a user's mistake ends it before Hydra reports a failed job.

    The task gets a configuration in whose paths ~ is the home folder.
    """

    def wrap(task: Task) -> Task:
        @wraps(task)
        def wrapped(cfg: DictConfig) -> float | None:
            with _one_line(schema):
                expand_home(cfg, schema)
                return task(cfg)

        return wrapped

    return wrap


def run_command(task: Task, config: str, schema: type, stopped: str) -> None:
    """Compose the configuration that the command line asks for, and do a task with it.

    Mistakes that Hydra finds are answered as those of the task are; see `user_errors`.

    Args:
        task: What to do.
        config: Name of the configuration's file in `conf/`.
        schema: Of the configuration.
        stopped: What the same command does after Ctrl-C, which ends this one with status 130.
    """
    if sys.stdout is sys.__stdout__:
        sys.stdout = lasting(sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = lasting(sys.stderr)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    register()
    composed = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config)
    main = composed(user_errors(schema)(task))
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as the commands leave it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with _one_line(schema):
            _check_flags(schema)
            sys.argv[1:] = quote(sys.argv[1:], schema)
            main()
    except KeyboardInterrupt:
        print(f"stopped by Ctrl-C; {stopped}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _check_flags(schema: type) -> None:
    """Refuse options that Hydra lacks, whose own refusal prints its usage.

    Raises:
        ConfigError: There is such an option.
    """
    for argument in sys.argv[1:]:
        if not argument.startswith("-") or (argument.startswith(SHORT) and "=" not in argument):
            continue
        flag = argument.partition("=")[0]
        if len(flag) > 2 and any(known.startswith(flag) for known in FLAGS):
            continue
        keys = _keys(schema)
        near = nearest(flag, FLAGS) or nearest(flag.lstrip("-"), keys)
        if flag.lstrip("-") in keys:
            near = f"did you mean {argument.lstrip('-')}? "
        raise ConfigError(f"{flag}: no such option; {near}see --help")


def fail(message: str) -> NoReturn:
    """Print `error: message` in one line and exit with status 2."""
    print(f"error: {' '.join(message.split()).rstrip(';')}", file=sys.stderr)
    sys.exit(2)
