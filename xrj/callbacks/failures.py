"""What the failure of a training says to its user."""

import re
import traceback
from collections.abc import Mapping

from pytorch_lightning import Callback
from torch.multiprocessing.spawn import ProcessRaisedException

from xrj.errors import ConfigError

_RANKS_ERROR = re.compile(r"^xrj\.errors\.\w+: (.*)", re.MULTILINE)
"""A user's error at the end of a spawned rank's traceback."""

_OUT_OF_MEMORY = re.compile(
    "DataLoader worker.* (?:exited unexpectedly|killed by signal)|No space left|shared memory"
)
"""How torch says that a loader's process had too little memory."""


def explained(error: Exception, further: Mapping[str, Callback], workers: int) -> Exception:
    """Return a user's error in place of one that has a setting to mend it, others as they are.

    Args:
        error: What `fit` raised.
        further: The user's callbacks by name.
        workers: Processes of each loader.
    """
    text = " ".join(str(error).split())
    if isinstance(error, ProcessRaisedException) and (told := _RANKS_ERROR.search(str(error))):
        return ConfigError(told[1])
    if (name := _raised_in(error, further)) is not None and not isinstance(error, OSError):
        return ConfigError(
            f"trainer.callbacks.{name}: {type(further[name]).__name__} failed "
            f"({type(error).__name__}: {text}); change it or leave it out"
        )
    if workers and isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(text):
        return ConfigError(
            f"data.num_workers={workers}: a loader's process has died, or /dev/shm, which they "
            "hand batches over by, is full; set data.num_workers=0, or give more memory "
            "(of a container: --shm-size)"
        )
    return error


def _raised_in(error: Exception, callbacks: Mapping[str, Callback]) -> str | None:
    """Return the name of the callback that an error was raised in, None if in none."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for name, callback in callbacks.items():
            if frame.f_locals.get("self") is callback:
                return name
    return None
