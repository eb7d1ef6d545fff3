# SPDX-License-Identifier: MIT
# The text of argparse's usage and help: 78 columns, help texts behind the longest argument, at most in column 24.

from ._action import SUPPRESS

_WIDTH = 78
_COLUMN = 24


class HelpFormatter:
    def __init__(self, prog="", indent_increment=2, max_help_position=_COLUMN, width=_WIDTH):
        self.prog = prog
        self.width = width
        self.column = max_help_position

    def _paragraph(self, text):
        """A description."""
        return "\n".join(self._lines(text, self.width))

    def _lines(self, text, width):
        """A help text."""
        lines = [""]
        for word in text.split():
            if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
                lines.append(word)
            else:
                lines[-1] += (" " if lines[-1] else "") + word
        return lines

    def _help_of(self, action):
        return action.help

    def _expanded(self, action):
        help = self._help_of(action)
        if not help or "%" not in help:
            return help
        values = dict(action.__dict__)
        values["prog"] = self.prog
        values["type"] = getattr(action.type, "__name__", None)
        if action.choices is not None:
            values["choices"] = ", ".join(str(c) for c in action.choices)
        return help % values

    def _heading(self, action):
        """-f, --foo FOO; or the name of a positional."""
        if not action.option_strings:
            return action._value()
        names = ", ".join(action.option_strings)
        return names if action.nargs == 0 else names + " " + action._values()

    def section(self, title, description, actions):
        """A group of arguments in the help; "" if there is nothing to say."""
        out = ["  " + line + "\n" for line in self._lines(description, self.width - 2)] if description else []
        if out and actions:
            out.append("\n")
        for action, indent in actions:
            out.append(self._entry(action, indent))
        return "\n%s:\n%s" % (title, "".join(out)) if out else ""

    def measure(self, actions):
        """Where the help texts begin."""
        longest = max([len(self._heading(action)) + indent for action, indent in actions], default=0)
        self.column = min(longest + 2, self.column)

    def _entry(self, action, indent):
        heading = " " * indent + self._heading(action)
        help = self._expanded(action)
        if not help:
            return heading + "\n"
        lines = self._lines(help, max(self.width - self.column, 11))
        pad = " " * self.column
        if len(heading) > self.column - 2:
            lines.insert(0, heading)
        else:
            lines[0] = heading + pad[len(heading) :] + lines[0]
        return lines[0] + "\n" + "".join(pad + line + "\n" for line in lines[1:])

    def usage(self, prog, options, positionals):
        """usage: PROG [-h] x; broken into lines where it is long, options and positionals apart."""
        text = "usage: " + " ".join([prog] + options + positionals)
        if len(text) <= self.width:
            return text + "\n"
        prefix = "usage: " + prog
        if len(prefix) <= 0.75 * self.width:
            indent = " " * (len(prefix) + 1)
            first, *rest = [part for part in (options, positionals) if part]
            lines = self._broken(first, indent)
            lines[0] = prefix + " " + lines[0].lstrip()
        else:
            indent = " " * 7
            lines = [prefix]
            rest = [options, positionals]
        for parts in rest:
            lines += self._broken(parts, indent)
        return "\n".join(lines) + "\n"

    def _broken(self, parts, indent):
        lines = []
        for part in parts:
            if lines and len(lines[-1]) + 1 + len(part) <= self.width:
                lines[-1] += " " + part
            else:
                lines.append(indent + part)
        return lines


class RawDescriptionHelpFormatter(HelpFormatter):
    def _paragraph(self, text):
        return text


class RawTextHelpFormatter(RawDescriptionHelpFormatter):
    def _lines(self, text, width):
        return text.split("\n")


class ArgumentDefaultsHelpFormatter(HelpFormatter):
    def _help_of(self, action):
        help = action.help
        if not help or "%(default)" in help or action.default == SUPPRESS:
            return help
        optional = action.option_strings or action.nargs in ("?", "*")
        return help + " (default: %(default)s)" if optional else help
