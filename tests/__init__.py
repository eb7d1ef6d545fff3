# SPDX-License-Identifier: MIT
"""Floe's tests. This file is here so that no other package `tests` is found first; the folders below need none,
but where a fixture is the folder's."""
