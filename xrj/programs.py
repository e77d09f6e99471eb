"""How the two commands are called here, and where their configuration lies.

In the repository they are `python train.py` and `python infer.py`, with `conf/` beside the package;
installed from a wheel `xrj-train` and `xrj-infer`, with `conf/` inside it.
"""

import sys
from pathlib import Path

_INSIDE, _BESIDE = (folder / "conf" for folder in Path(__file__).parents[:2])
CONF = _INSIDE if _INSIDE.is_dir() else _BESIDE
"""The folder of the configuration."""


def program(name: str) -> str:
    """Return how a user calls "train" or "infer" here."""
    entered = Path(sys.argv[0]).name.startswith("xrj-")
    return f"xrj-{name}" if entered or CONF == _INSIDE else f"python {name}.py"
