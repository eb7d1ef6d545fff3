# SPDX-License-Identifier: MIT
"""Mutants of a source: every small change of one line that could be a slip of its author. No file is touched.

C and assembly are read line by line, with comments and texts blanked; of Python, statements come from its syntax tree."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

Change = tuple[str, int, int, str]  # operator, first and last column, what comes in their place

_COMPARED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
_WORDS = {"&&": "||", "||": "&&", "and": "or", "or": "and", "+": "-", "-": "+"}
_WORDS |= {"true": "false", "false": "true", "True": "False", "False": "True"}
_STEPS = {"+=": "-=", "-=": "+=", "|=": "&=", "&=": "|=", "++": "--", "--": "++"}
_JUMPS = {"je": "jne", "jz": "jnz", "ja": "jae", "jb": "jbe", "jc": "jnc", "jns": "js", "loop": "nop #"}
_JUMPS |= {new: old for old, new in _JUMPS.items() if old != "loop"}

_COMPARISON = re.compile(r"(?<= )(<=|>=|<|>|==|!=)(?= )")
_LOGIC = re.compile(r"(?<= )(&&|\|\||and|or)(?= |$)")
_SUM = re.compile(r"(?<=[\w)\]] )[+-](?= [\w(*&])")
_TRUTH = re.compile(r"\b(true|false|True|False)\b")
_STEP = re.compile(r"(?<= )(\+=|-=|\|=|&=)(?= )|\+\+|--")
_NUMBER = re.compile(r"(?<![\w.%])(0x[0-9a-fA-F]+|\d+)(?=(?:ull|ul|u|l)?(?![\w.]))")
_OPERAND = r"~?(?:\([^()]*\)|[\w.>\[\]-]+(?:\([^()]*\))?)"
_MASK = re.compile(rf" [&|] {_OPERAND}(?=[\s;,)]|$)")
_ERRNO = re.compile(r"-E[A-Z0-9]{2,}\b")
_CONDITION = re.compile(r"\b(?:if|while) \((.*)\)(?= \{$)")
_STATEMENT = re.compile(
    r"(?!return\b|goto\b|typedef\b|extern\b|static\b|const\b|struct\b|enum\b|union\b)[A-Za-z_*(+-].*;"
)
_DECLARATION = re.compile(r"(?:(?:const|volatile|unsigned|struct|static) )*\w+ [*\w]+(?:\[.*\])?(?: =.*|, .*)?;")
_INSTRUCTION = re.compile(r"\s+(?:[\w.]+:\s+)?|[\w.]+:\s+")
_DATA = re.compile(r"\s*(?:[\w.]+:\s*)?\.(?:quad|long|word|byte|fill|skip)\b")


@dataclass(frozen=True, order=True)
class Mutant:
    """One line of a file, changed. line counts from 1; before and after have no blanks at their ends."""

    file: str
    line: int
    operator: str
    before: str
    after: str
    text: str  # the whole source, changed


def mutants(file: str, source: str) -> list[Mutant]:
    """All mutants of a source, in the order of its lines; file is its name from the top of the repository."""
    lines = source.split("\n")
    find = {"c": _of_c, "S": _of_assembly, "py": _of_python}[file.rpartition(".")[2]]
    found = {}
    for number, (operator, start, end, new) in find(source):
        old = lines[number]
        line = (old[:start] + new + old[end:]).rstrip()
        text = "\n".join([*lines[:number], line, *lines[number + 1 :]])
        if line != old.rstrip() and (not file.endswith(".py") or _parses(text)):
            found[number, line] = Mutant(file, number + 1, operator, old.strip(), line.strip(), text)
    return [found[place] for place in sorted(found)]


def blanked(source: str) -> list[str]:
    """Lines of C or assembly without comments and texts; every column is where it was."""

    def blank(match: re.Match[str]) -> str:
        fill = " " if match[0].startswith("/") else "\1"
        return re.sub(r"[^\n]", fill, match[0])

    pattern = r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'"""
    return re.sub(pattern, blank, source, flags=re.DOTALL).split("\n")


def _words(line: str) -> Iterator[Change]:
    """What C and Python have in common."""
    for m in _COMPARISON.finditer(line):
        yield "comparison", *m.span(), _COMPARED[m[0]]
    for m in _LOGIC.finditer(line):
        yield "and, or", *m.span(), _WORDS[m[0]]
    for m in _SUM.finditer(line):
        yield "sum", *m.span(), _WORDS[m[0]]
    for m in _TRUTH.finditer(line):
        yield "truth", *m.span(), _WORDS[m[0]]
    for m in _STEP.finditer(line):
        yield "step", *m.span(), _STEPS[m[0]]
    for m in _MASK.finditer(line):
        yield "mask", *m.span(), ""
    yield from _numbers(line)


def _numbers(line: str) -> Iterator[Change]:
    for m in _NUMBER.finditer(line):
        value = int(m[0], 0 if m[0].startswith("0x") else 10) + 1
        yield "number", *m.span(), hex(value) if m[0].startswith("0x") else str(value)


def _of_c(source: str) -> Iterator[tuple[int, Change]]:
    before = ";"
    for number, line in enumerate(blanked(source)):
        code = line.strip()
        if code.startswith("#define"):
            yield from ((number, change) for change in _numbers(line))
        elif code and not code.startswith(("#", "_Static_assert", "extern ")):
            yield from ((number, change) for change in _words(line))
            yield from ((number, ("error", *m.span(), "0")) for m in _ERRNO.finditer(line))
            for m in _CONDITION.finditer(line):
                if _balanced(m[1]):
                    yield number, ("condition", m.start(1), m.end(1), f"!({_same(source, number, m.span(1))})")
            whole = _STATEMENT.fullmatch(code) and not _DECLARATION.fullmatch(code) and _balanced(code)
            if whole and before.endswith((";", "{", "}", ":")) and line.startswith(" "):
                yield number, ("statement", line.index(code), len(line.rstrip()), "")
        before = code or before


def _of_assembly(source: str) -> Iterator[tuple[int, Change]]:
    for number, line in enumerate(blanked(source)):
        head = _INSTRUCTION.match(line)
        rest = line[head.end() :].rstrip() if head else ""
        if _DATA.match(line):
            yield from ((number, change) for change in _numbers(line))
        elif head and re.match(r"[a-z]\w*(?: |$)", rest) and "\\" not in rest:
            start, mnemonic = head.end(), rest.split()[0]
            yield number, ("instruction", start, start + len(rest), "")
            if mnemonic in _JUMPS:
                yield number, ("jump", start, start + len(mnemonic), _JUMPS[mnemonic])
            for operator, first, last, new in _numbers(line):
                if first > start and line[last : last + 1] not in ("f", "b"):
                    yield number, (operator, first, last, new)


def _of_python(source: str) -> Iterator[tuple[int, Change]]:
    lines = source.split("\n")
    masked = [list(line) for line in lines]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            fill = " " if token.type == tokenize.COMMENT else "\1"
            for row in range(token.start[0] - 1, token.end[0]):
                first = token.start[1] if row == token.start[0] - 1 else 0
                last = token.end[1] if row == token.end[0] - 1 else len(masked[row])
                masked[row][first:last] = fill * (last - first)
    for number, line in enumerate("".join(characters) for characters in masked):
        if not re.match(r"\s*(?:import|from|class|def|@)\b", line):
            yield from ((number, change) for change in _words(line))
        if m := re.match(r"\s*(?:if|elif|while) (.*)(?=:\s*$)", line):
            yield number, ("condition", m.start(1), m.end(1), f"not ({lines[number][m.start(1) : m.end(1)]})")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and node.lineno == node.end_lineno and _has_effect(node):
            yield node.lineno - 1, ("statement", node.col_offset, len(lines[node.lineno - 1]), "pass")


def _has_effect(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        return not isinstance(node.targets[0], ast.Name)
    return isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break)


def _same(source: str, number: int, span: tuple[int, int]) -> str:
    return source.split("\n")[number][span[0] : span[1]]


def _balanced(code: str) -> bool:
    depth = 0
    for character in code:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0 and "{" not in code


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
