# SPDX-License-Identifier: MIT
"""Messages of commits, as CONTRIBUTING.md asks for them: those since the rule, as far as this clone knows them."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.check.tree import REPO

SINCE = "ad37c4987507a8e205f2ffe323bce9b09d778a1e"
SUBJECT = re.compile(r"[\w.,/{}* -]+: [A-Z][\w'-]* .*\.")
# What a subject may not begin with behind its folder: a statement in place of a change.
NO_VERBS = {"A", "An", "The", "What", "When", "Who", "It", "This", "That", "These", "There", "New", "No", "Now", "One"}


def git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(REPO), *words], capture_output=True, text=True, check=True).stdout


def messages() -> list[str]:
    if subprocess.run(["git", "-C", str(REPO), "cat-file", "-e", SINCE], capture_output=True, check=False).returncode:
        return []
    return [text for text in git("log", "--no-merges", "--format=%B%x00", f"{SINCE}..HEAD").split("\0") if text.strip()]


def faults(message: str) -> list[str]:
    subject, *body = message.strip().split("\n")
    found = []
    if not SUBJECT.fullmatch(subject) or subject.partition(": ")[2].split()[0] in NO_VERBS:
        found.append("not `folder: Imperative sentence.`")
    if len(subject) > 72:
        found.append(f"{len(subject)} columns")
    if body and body[0]:
        found.append("no blank line behind the subject")
    if not any(line.startswith("Tested:") for line in body):
        found.append("no paragraph `Tested:`")
    return found


def test_the_newest_commits() -> None:
    if not messages():
        pytest.skip("SKIP: no commit since the rule is known here (a shallow clone, or no clone)")
    wrong = {message.strip().split("\n")[0]: faults(message) for message in messages()}
    assert {subject: found for subject, found in wrong.items() if found} == {}


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("port/xen: Treat EEXIST from a watch as success.\n\nWhy.\n\nTested: tests/xen.", []),
        ("port: A watch that is there already is one.\n\nTested: x", ["not `folder: Imperative sentence.`"]),
        ("Mend it.\n\nTested: x", ["not `folder: Imperative sentence.`"]),
        ("port: mend it.\n\nTested: x", ["not `folder: Imperative sentence.`"]),
        ("port: Mend it\n\nTested: x", ["not `folder: Imperative sentence.`"]),
        ("port: " + "Mend " * 14 + "it.\n\nTested: x", ["79 columns"]),
        ("port: Mend it.\nWhy.\n\nTested: x", ["no blank line behind the subject"]),
        ("port: Mend it.\n\nWhy.", ["no paragraph `Tested:`"]),
    ],
)
def test_the_rule_bites(message: str, found: list[str]) -> None:
    assert faults(message) == found
