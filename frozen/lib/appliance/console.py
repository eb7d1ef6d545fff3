# SPDX-License-Identifier: MIT
"""Commands from the console, a line each."""

import sys
from select import POLLIN


class Console:
    """commands: name -> function without arguments. loop: has watch() and unwatch(), as loop.Loop."""

    def __init__(self, loop: object, name: str, commands: dict) -> None:
        self._name = name
        self._commands = commands
        self._line = ""
        self._loop = loop
        self._input = sys.stdin.buffer
        loop.watch(self._input, self, POLLIN)

    def ready(self, events: int) -> None:
        char = self._input.read(1) if events & POLLIN else b""
        if not char:  # a console without input
            self._loop.unwatch(self._input)
        elif char in b"\r\n":
            word, self._line = self._line.strip(), ""
            if word in self._commands:
                try:
                    self._commands[word]()
                except Exception as exc:  # MemoryError, for one: the next command may work
                    print("%s: %s: %s: %s" % (self._name, word, type(exc).__name__, exc))
            elif word:
                known = ", ".join(sorted(self._commands))
                print("%s: %s is no command; there are: %s" % (self._name, word, known))
        elif len(self._line) < 80:
            self._line += chr(char[0])

    def failed(self, exc: Exception) -> None:
        self._loop.unwatch(self._input)
        print("%s: no commands from now on: %s" % (self._name, exc))
