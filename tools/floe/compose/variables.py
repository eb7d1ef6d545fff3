# SPDX-License-Identifier: MIT
"""Variables in the strings of a stack's file: ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:?why}; $$ is a $."""

from __future__ import annotations

import re
from collections.abc import Mapping

_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?])([^}]*))?\}|)")


class VariableError(ValueError):
    """What is wrong, and what to write instead."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


def replaced(text: str, environment: Mapping[str, str]) -> str:
    """The text with its variables' values. With a colon an empty variable counts as one that is not set. Raises
    VariableError."""

    def value(match: re.Match[str]) -> str:
        dollar, name, operator, word = match.groups()
        if dollar:
            return "$"
        if name is None:
            raise VariableError(f"{text!r}: a $ that begins no variable", "${NAME}, or $$ for a $")
        found = environment.get(name)
        if found or (found is not None and not (operator or "").startswith(":")):
            return found
        if operator in (":-", "-"):
            return str(word)
        problem = f"the variable {name} is {'empty' if found is not None else 'not set'}"
        raise VariableError(
            f"{problem}: {word}" if word else problem,
            f"{name}=VALUE floe compose ..., or ${{{name}:-VALUE}} in the file",
        )

    return _VARIABLE.sub(value, text)
