# SPDX-License-Identifier: MIT
"""The words of a `floe run`, made independent of where they were typed: paths are absolute, --env K has its value."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

import click
from click.core import ParameterSource

from floe.errors import UsageError

# What says how floe goes about it, not what runs: no service is described by it.
MANNERS = frozenset(
    {
        "app",
        "args",
        "detach",
        "console_port",
        "dry_run",
        "verbose",
        "as_json",
        "help",
        "from_file",
        "copies",
        "pool_size",
    }
)


def given(ctx: click.Context, *, without: Collection[str] = ()) -> list[str]:
    """The options of the command line, apart from some by click's names; then APP, then `--` and ARGS. Raises
    UsageError for what cannot be read again."""
    words: list[str] = []
    done: set[str] = set()
    for option in ctx.command.params:
        name = option.name or ""
        if name in {*MANNERS, *done, *without} or ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        assert isinstance(option, click.Option)
        value = ctx.params[name]
        if option.is_flag:
            if (not value) if option.is_bool_flag else (option.flag_value != value):
                continue  # another option of this name was given
            words.append(option.opts[-1])
        else:
            for each in value if option.multiple else (value,):
                words += [option.opts[-1], _FAR[name](each) if name in _FAR else str(each)]
        done.add(name)
    args = ctx.params["args"]
    return [*words, os.path.abspath(ctx.params["app"]), *(("--", *args) if args else ())]


def _disk(text: str) -> str:
    return os.path.abspath(text)  # what follows the name has no slash


def _file(text: str) -> str:
    path = os.path.abspath(text)
    if not Path(path).is_file():
        raise UsageError(f"{text}: not a file that can be read at each start", hint="write it to a file")
    return path


def _secret(text: str) -> str:
    name, equals, file = text.partition("=")
    return f"{name}={_file(file)}" if equals else text


def _card(text: str) -> str:
    what, comma, options = text.partition(",")
    kind, colon, name = what.partition(":")
    return f"{kind}:{os.path.abspath(name)}{comma}{options}" if kind in ("listen", "connect") and colon else text


def _variable(text: str) -> str:
    return text if "=" in text else f"{text}={os.environ.get(text, '')}"


_FAR: dict[str, Callable[[str], str]] = {
    "disks": _disk,
    "env_files": _file,
    "secrets": _secret,
    "cards": _card,
    "env": _variable,
    "verify": lambda path: _file(str(path)),
}
