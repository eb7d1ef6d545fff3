# SPDX-License-Identifier: MIT
"""`floe new`: a folder to start from."""

from __future__ import annotations

import re
import shlex
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

# [packages]                 # from PyPI or by mip, pinned, frozen as they are
# microdot = "2.7.0"

# [budget]                   # the build fails above it
# elf = "600K"
"""

_TEST = """\
# Run by `pytest` in this folder or above it. More: vm.exec(), vm.ports, capture=, boot.lan(): docs/testing.md of Floe.
from pathlib import Path

from floe.testing import Boot

APP = Path(__file__).resolve().parents[1]


def test_it_says_hello(boot: Boot) -> None:
    vm = boot(APP, args=["world"])
    vm.expect_exact("with ['world']")
    assert vm.wait() == 0
    assert "PANIC" not in vm.console_text
"""

_README = """\
# {name}

Build and run:

    floe run {name}
    floe run {name} --dev      # with a REPL afterwards
    floe build {name} -o {name}.elf
    pytest {name}              # needs floe[testing]

`main.py` runs when the VM starts. Files in `data/`, if there is such a folder, are at `/rom`. Only what
`main.py` imports becomes part of the image; `tests/` stays outside.
"""

_FILES = {"main.py": _MAIN, "image.toml": _CONFIG, "README.md": _README, "tests/test_app.py": _TEST}


@click.command(short_help="Make a folder with main.py, image.toml, README.md and a test.")
@click.argument("name", type=click.Path(path_type=Path))
def command(name: Path) -> None:
    """Make the folder NAME with a main.py that runs, an image.toml, a README.md and a test."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name.name):
        raise UsageError(f"'{name.name}' is no image name", hint="letters, digits, '.', '_' and '-', 64 at most")
    if name.exists():
        raise UsageError(f"{name} exists already", hint="another name, or remove it first")
    try:
        (name / "tests").mkdir(parents=True)
        for file, text in _FILES.items():
            (name / file).write_text(text.replace("{name}", name.name))
    except OSError as e:
        raise UsageError(f"cannot write {name}: {e.strerror}") from e
    click.echo(f"{name}: {', '.join(_FILES)}\nnext: floe run {shlex.quote(str(name))}")
