"""What the commands have in common: help, and errors without a traceback."""

import sys
from collections.abc import Sequence
from typing import NoReturn


def show_help(argv: Sequence[str], text: str | None):
    """Ends the process with this text, where the command line asks for help."""
    if {"-h", "-help", "--help"} & {*argv}:
        print(text)
        sys.exit(0)


def fail(error: Exception | str) -> NoReturn:
    """Ends the process with a message and exit status 2."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
