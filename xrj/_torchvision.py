"""Makes torchvision importable beside a CPU build of torch.

PyPI has torchvision for CUDA alone on Linux. Without CUDA its compiled operators cannot be loaded,
and its import fails because it describes two of them, `nms` and `qnms`, which then do not exist.
Its models need neither; declared without a kernel, they let the import pass.

torchmetrics, and with it Lightning, import torchvision wherever it is installed, so this waits for
that import rather than for ours, and costs nothing where there is none.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_missing_operators() -> None:
    """Declare the operators as soon as torchvision is imported, if it cannot bring its own."""
    if "torchvision" not in sys.modules:
        sys.meta_path.insert(0, _BeforeTorchvision())


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; declares the operators when asked for torchvision."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            spec = PathFinder.find_spec(fullname, path)
            if spec is not None and spec.origin is not None:
                _declare_unless_loadable(Path(spec.origin).with_name("_C.so"))
        return None


def _declare_unless_loadable(library: Path) -> None:
    import torch
    from torch.library import Library

    try:
        torch.ops.load_library(library)
    except OSError:
        declarations = Library("torchvision", "DEF")
        for operator in OPERATORS:
            declarations.define(f"{operator}{SIGNATURE}")
        _KEPT.append(declarations)


_KEPT: list[object] = []
"""Declarations last as long as the object that made them."""
