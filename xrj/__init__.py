"""xrj: chest X-ray diagnoses with their justification."""

from xrj._environment import mend_environment
from xrj._torchvision import declare_missing_operators

mend_environment()
declare_missing_operators()

__version__ = "0.1.0"
