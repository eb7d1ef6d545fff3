# SPDX-License-Identifier: MIT
"""Variants of an image: `[variant.NAME]` tables of image.toml, whose keys take the place of the image's own.

Tables (env, packages, budget, tls) are merged key by key; everything else is replaced. A variant's name is the
image's with "-NAME" behind it, unless it has one of its own. Reads no files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class VariantError(ValueError):
    """What is wrong, below which key; `known`: the variants there are, where one was asked for that is not."""

    def __init__(self, key: str, problem: str, *, known: tuple[str, ...] | None = None) -> None:
        super().__init__(problem)
        self.key = key
        self.problem = problem
        self.known = known


def split(raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A parsed image.toml without its variants, and these. Raises VariantError."""
    own = {key: value for key, value in raw.items() if key != "variant"}
    variants = raw.get("variant", {})
    if not isinstance(variants, dict):
        raise VariantError("variant", "expected tables, as [variant.tls]")
    for name, table in variants.items():
        if not _NAME.fullmatch(name):
            raise VariantError(
                f"variant.{name}", "no name of a variant: small letters, digits, '-' and '_', 32 at most"
            )
        if not isinstance(table, dict):
            raise VariantError(f"variant.{name}", f"expected a table, as [variant.{name}]")
        if "variant" in table:
            raise VariantError(f"variant.{name}.variant", "a variant has no variants")
    return own, variants


def merge(own: Mapping[str, Any], variants: Mapping[str, dict[str, Any]], name: str, folder: str) -> dict[str, Any]:
    """The image's keys with those of variant `name` over them. `folder` names an image that has no name.
    Raises VariantError."""
    if name not in variants:
        raise VariantError("variant", f"there is no variant '{name}'", known=tuple(variants))
    merged = {**own, "name": f"{own.get('name') or folder}-{name}"}
    for key, value in variants[name].items():
        mine = merged.get(key)
        merged[key] = {**mine, **value} if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged
