"""What the `python -m xrj.datamodules.*` commands share."""

import sys
from collections.abc import Callable

from xrj.errors import UserError


def run_command(main: Callable[[], None]) -> None:
    """Run a command; print a user's mistake as one line and exit with status 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
