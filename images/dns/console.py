# SPDX-License-Identifier: MIT
"""Commands from the console, a line each."""

import sys

from appliance.loop import IN


class Console:
    """commands: name -> function without arguments."""

    def __init__(self, loop: object, commands: dict) -> None:
        self._commands = commands
        self._line = ""
        self._loop = loop
        self._input = sys.stdin.buffer
        loop.watch(self._input, self, IN)

    def ready(self, events: int) -> None:
        char = self._input.read(1) if events & IN else b""
        if not char:  # a console without input
            self._loop.unwatch(self._input)
        elif char in b"\r\n":
            word, self._line = self._line.strip(), ""
            if word in self._commands:
                self._commands[word]()
            elif word:
                print("dns: %s is no command; there are: %s" % (word, ", ".join(sorted(self._commands))))
        elif len(self._line) < 80:
            self._line += chr(char[0])

    def failed(self, exc: Exception) -> None:
        self._loop.unwatch(self._input)
        print("dns: no commands from now on: %s" % exc)
