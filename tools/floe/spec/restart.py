# SPDX-License-Identifier: MIT
"""Whether and when a detached VM is started again by itself: what --restart means. Docker's words, and its back-off."""

from __future__ import annotations

import re
from dataclasses import dataclass

from floe.errors import UsageError

FIRST_S = 0.1  # before the first restart; each further one waits twice as long
LONGEST_S = 60.0
LASTING_S = 10.0  # a VM that ran for so long begins with FIRST_S again
_POLICY = re.compile(r"(no|on-failure|always)(?::([1-9][0-9]{0,8}))?")
_HINT = "--restart no, on-failure or always; :N behind the last two for N restarts at most, as on-failure:5"


@dataclass(frozen=True)
class Policy:
    """`most`: restarts in all; None: without end. What `floe stop` has ended stays ended under each policy."""

    when: str = "no"  # no, on-failure, always
    most: int | None = None

    def __str__(self) -> str:
        return self.when if self.most is None else f"{self.when}:{self.most}"

    @property
    def ever(self) -> bool:
        """Whether there may be a restart at all."""
        return self.when != "no"

    def wants(self, code: int | None) -> bool:
        """Whether a VM that ended so is to be started again. code: its exit code, None for one that has none."""
        return self.when == "always" or (self.when == "on-failure" and code != 0)

    def allows(self, done: int) -> bool:
        """Whether there may be one more after so many restarts."""
        return self.most is None or done < self.most


def parse_restart(text: str) -> Policy:
    """--restart's value. Raises UsageError."""
    match = _POLICY.fullmatch(text)
    if match is None or (match[1] == "no" and match[2]):
        raise UsageError(f"--restart {text}: no such policy", hint=_HINT)
    return Policy(match[1], int(match[2]) if match[2] else None)


def delay_s(before_s: float, ran_s: float) -> float:
    """Seconds to wait for the next start. before_s: what the last one waited, 0 for none; ran_s: how long it ran."""
    if ran_s >= LASTING_S or before_s <= 0:
        return FIRST_S
    return min(2 * before_s, LONGEST_S)
