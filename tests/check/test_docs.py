# SPDX-License-Identifier: MIT
"""Every path and command that a README names exists."""

from __future__ import annotations

import re
from functools import cache

import click
import pytest

from floe.build import config
from floe.cli.main import VERBS, floe
from tests.check.tree import REPO, files, matching, read

READMES = matching(r".*\.md")
TOPS = ("port/", "modules/", "frozen/", "tools/", "images/", "tests/", "docs/", ".ci/")


def quoted(name: str) -> list[str]:
    """What stands in backquotes or in indented or fenced blocks, a line each."""
    text = read(name)
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    indented = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    return re.findall(r"`([^`\n]+)`", text) + indented + [line for b in blocks for line in b.splitlines()]


def test_there_are_readmes() -> None:
    for folder in ("tools", "images"):
        assert f"{folder}/README.md" in READMES


def exists(words: str, readme: str) -> bool:
    """A path, a folder, or a pattern with *; from the top, or from the README's own folder."""
    for base in (REPO, (REPO / readme).parent):
        path = words.rstrip("/")
        if (base / path).exists() or ("*" in path and any(base.glob(path))):
            return True
    return False


@pytest.mark.parametrize("name", READMES)
def test_paths_exist(name: str) -> None:
    wrong = []
    for text in quoted(name):
        for word in re.findall(r"[\w.*{},/<>-]+", text):
            word = re.sub(r"<\w+>", "*", word)
            if not word.startswith(TOPS) or "NAME" in word or word.startswith("build/"):
                continue
            options = re.match(r"(.*)\{(.*)\}(.*)", word)
            paths = [options[1] + o + options[3] for o in options[2].split(",")] if options else [word]
            wrong += [p for p in paths if not exists(p.rstrip(".,"), name)]
    assert wrong == []


@cache
def make_verbs() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))


@pytest.mark.parametrize("name", READMES)
def test_make_verbs_exist(name: str) -> None:
    wrong = []
    for text in quoted(name):
        for command in re.findall(r"(?:^|[;&|$] *|sudo )make ([a-z -]+)", text):
            wrong += [verb for verb in command.split() if verb not in make_verbs()]
    assert wrong == []


@pytest.mark.parametrize("name", READMES)
def test_floe_commands_parse(name: str) -> None:
    """Verbs and options of every quoted floe command are the command's own."""
    wrong = []
    for text in quoted(name):
        match = re.match(r"(?:\$ )?(?:\.venv/bin/)?floe ([a-z]+)(.*)", text)
        if match is None:
            continue
        verb, rest = match[1], match[2].split(" -- ")[0]
        if verb not in VERBS:
            wrong.append(text)
            continue
        with click.Context(floe) as ctx:
            command = floe.get_command(ctx, verb)
            while isinstance(command, click.Group) and (word := re.match(r" ([a-z0-9]+)", rest)):
                command, rest = command.get_command(ctx, word[1]), rest[word.end() :]
        if command is None:
            wrong.append(text)
            continue
        known = {o for p in command.params if isinstance(p, click.Option) for o in (*p.opts, *p.secondary_opts)}
        given = re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest.split("#")[0])
        wrong += [f"{text}: {option}" for option in given if option not in known | {"--help", "-h"}]
    assert wrong == []


def test_make_help_lists_every_verb() -> None:
    described = set(re.findall(r"^([a-z]+):.*## ", read("Makefile"), re.MULTILINE))
    assert described == {
        *("help", "setup", "build", "wheel", "run", "test", "check", "bench", "mutate", "fuzz", "sim", "clean"),
    }


def test_every_image_is_a_product() -> None:
    names = {n.split("/")[1] for n in files() if n.startswith("images/") and n.count("/") > 1}
    assert names
    for image in names:
        for file in ("main.py", "image.toml", "README.md"):
            assert f"images/{image}/{file}" in files(), f"images/{image} has no {file}"


def test_keys_of_image_toml() -> None:
    """docs/image-toml.md has each key that config.py takes, and no other."""
    named = re.findall(r"^\| `([a-z][\w.]*)` \|", read("docs/image-toml.md"), re.MULTILINE)
    tables = {"packages.NAME": config.Package, "budget": config.Budget, "tls": config.Tls}
    known = {f"{table}.{key}" for table, struct in tables.items() for key in struct.__struct_fields__}
    assert sorted(named) == sorted({*config._File.__struct_fields__, "variant", *known})


def test_what_runs_where_names_a_test_in_each_cell() -> None:
    table = read("README.md").partition("## What runs where")[2].partition("\n## ")[0]
    rows = [
        line.strip("| \n").split(" | ") for line in table.splitlines() if line.startswith("| ") and "---" not in line
    ]
    before = [""] * 5
    assert len(rows) > 8
    for row in rows[1:]:
        for place, cell in enumerate(row[1:]):
            meant = before[place] if cell == "the same" else cell
            before[place + 1] = meant
            tests = re.findall(r"`(?:tests/[a-z/]+/|)(test_\w+\.py)`", meant)
            assert tests or "not tested" in meant or re.search(r"make test-fresh|alone|none of them|not QEMU", meant), (
                cell
            )
            for test in tests:
                assert [name for name in files() if name.endswith("/" + test)], f"{cell}: there is no {test}"
