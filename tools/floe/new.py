# SPDX-License-Identifier: MIT
"""`floe new`: a folder to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from floe.errors import UsageError

_MAIN = """\
# The first and only program of the VM. When it ends, the VM ends; sys.exit(n) is the exit code of `floe run`.
import sys

print("hello from", sys.argv[0], "with", sys.argv[1:])
"""

_CONFIG = """\
name = "{name}"
version = "0.1.0"
description = ""
main = "main.py"
memory = "32M"
# ports = ["8080:80"]        # HOST:GUEST
# args = []
# imports = []               # modules that are imported by a computed name

# [env]
# GREETING = "hello"

# [packages]                 # from PyPI, pinned, frozen as they are
# microdot = "2.7.0"

# [budget]                   # the build fails above it
# elf = "600K"
"""

_README = """\
# {name}

Build and run:

    floe run {name}
    floe run {name} --dev      # with a REPL afterwards
    floe build {name} -o {name}.elf

`main.py` runs when the VM starts. Files in `data/`, if there is such a folder, are at `/rom`.
"""


@click.command(short_help="Make a folder with main.py, image.toml and README.md.")
@click.argument("name", type=click.Path(path_type=Path))
def command(name: Path) -> None:
    """Make the folder NAME with a main.py that runs, an image.toml and a README.md."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name.name):
        raise UsageError(f"'{name.name}' is no image name", hint="letters, digits, '.', '_' and '-', 64 at most")
    if name.exists():
        raise UsageError(f"{name} exists already", hint="another name, or remove it first")
    try:
        name.mkdir(parents=True)
        for file, text in (("main.py", _MAIN), ("image.toml", _CONFIG), ("README.md", _README)):
            (name / file).write_text(text.replace("{name}", name.name))
    except OSError as e:
        raise UsageError(f"cannot write {name}: {e.strerror}") from e
    click.echo(f"{name}: main.py, image.toml, README.md\nnext: floe run {name}")
