# SPDX-License-Identifier: MIT
"""Floe's host side: freezes a Python script into a bootable image and runs it."""

import sys

__version__ = "0.1.0"

# Here, because an older Python would end in the first import of tomllib with a traceback.
if sys.version_info < (3, 11):  # noqa: UP036  (the rule trusts requires-python, which setup does not go through)
    sys.exit("floe: Python 3.11 or newer is needed, this is " + sys.version.split()[0])
