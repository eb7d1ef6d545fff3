# SPDX-License-Identifier: MIT
"""Measure on this machine, contenders in turns, and say what else ran meanwhile: `floe bench`."""
