"""Everything after training: the search for the alternative, its evidence, pictures and pages.

The room is a function, too: `xrj.justify(model, image)`; see `facade.justify`.
"""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """A module that can be called, so that the function `xrj.justify` may have the room's name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from xrj.justify.facade import justify  # only now: it needs torch

        return justify(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
