# SPDX-License-Identifier: MIT
# The name that `ssl` had before MicroPython 1.21, which older packages import.
from ssl import *  # noqa: F403 - the same under another name
