# SPDX-License-Identifier: MIT
# The name that requests had in MicroPython before 1.20.

from requests import *  # noqa: F403 - every name of it
