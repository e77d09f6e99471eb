"""xrj: chest X-ray diagnoses with their justification.

    import xrj

    model = xrj.load("starter")
    model.justify("xray.png").save("out")

Public names are imported when they are asked for, so that `import xrj` needs no torch; see
`docs/library.md`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xrj._environment import mend_environment
from xrj._torchvision import declare_missing_operators

if TYPE_CHECKING:
    from xrj.errors import ConfigError as ConfigError
    from xrj.errors import DataError as DataError
    from xrj.errors import HandoverError as HandoverError
    from xrj.errors import UserError as UserError
    from xrj.justify.evidence import EvidenceSettings as EvidenceSettings
    from xrj.justify.facade import Model as Model
    from xrj.justify.facade import justify as justify
    from xrj.justify.justification import Justification as Justification
    from xrj.justify.justification import JustifySettings as JustifySettings
    from xrj.justify.mapping import MappingSettings as MappingSettings
    from xrj.justify.on_xray import BlendSettings as BlendSettings
    from xrj.justify.protocol import Justifiable as Justifiable
    from xrj.justify.reading import Diagnosis as Diagnosis
    from xrj.justify.refinement import RefinementSettings as RefinementSettings
    from xrj.justify.xray import XRay as XRay
    from xrj.justify.xray import read as read
    from xrj.library import load as load

mend_environment()
declare_missing_operators()

__version__ = "0.1.0"

_PLACES = {
    "BlendSettings": "justify.on_xray",
    "ConfigError": "errors",
    "DataError": "errors",
    "Diagnosis": "justify.reading",
    "EvidenceSettings": "justify.evidence",
    "HandoverError": "errors",
    "Justifiable": "justify.protocol",
    "Justification": "justify.justification",
    "JustifySettings": "justify.justification",
    "MappingSettings": "justify.mapping",
    "Model": "justify.facade",
    "RefinementSettings": "justify.refinement",
    "UserError": "errors",
    "XRay": "justify.xray",
    "load": "library",
    "read": "justify.xray",
}
"""Which module has a public name."""
__all__ = [*_PLACES, "justify"]  # noqa: PLE0604  # names all the same


def __getattr__(name: str) -> Any:
    if name == "justify":  # the room itself, which is a function, too
        return import_module("xrj.justify")
    if name not in _PLACES:
        raise AttributeError(f"module 'xrj' has no attribute '{name}'")
    return getattr(import_module(f"xrj.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
