# SPDX-License-Identifier: MIT
"""The formats of a boot disk, by the ends of the files' names."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["raw", "qcow2", "iso", "vmdk", "vhd"]
FORMATS: tuple[Format, ...] = get_args(Format)
