"""Errors that are a user's to mend.

The commands print such an error as one line and end with exit status 2; anything else is a bug
and keeps its traceback.
"""


class UserError(Exception):
    """A mistake in the input: one line that names the file or flag and the remedy."""


class DataError(UserError):
    """A data file cannot be used: broken, missing, contradictory or outside its root."""


class ConfigError(UserError):
    """The composed configuration is not one that can run."""


class HandoverError(UserError):
    """A stage lacks a parent, or a parent's export does not fit."""
