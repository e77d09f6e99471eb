"""The templates of the study's pages."""

from functools import cache

from jinja2 import Environment

from xrj.justify.page import environment


@cache
def pages() -> Environment:
    """Return the study's templates, in the style of the page for uploads."""
    return environment("xrj.study", "xrj.web")
