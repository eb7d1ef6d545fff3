# SPDX-License-Identifier: MIT
"""Where the command `floe` begins: main.py, once it is loaded. Ctrl-C before that ends as one after it does, not with a
traceback of what was being loaded."""

from __future__ import annotations

import sys

_EXIT_INTERRUPTED = 130  # errors.EXIT_INTERRUPTED, which may be what is being loaded


def main() -> None:
    """Run the command."""
    try:
        from floe.cli.main import main as command
    except KeyboardInterrupt:
        sys.exit(_EXIT_INTERRUPTED)
    command()
