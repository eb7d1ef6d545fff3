# SPDX-License-Identifier: MIT
# One command line on its way through an argparse parser.

from . import _counts, _negative_number
from ._action import PARSER, REMAINDER, SUPPRESS, ArgumentError, ArgumentTypeError

_WANTED = {None: "expected one argument", "?": "expected at most one argument", "+": "expected at least one argument"}


class Parse:
    def __init__(self, parser, namespace):
        self.parser = parser
        self.namespace = namespace
        self.seen = []  # actions that were given
        self.rest = []
        self.positionals = [a for a in parser._actions if not a.option_strings]
        self.numbers_are_options = any(_negative_number(name) for name in parser._options)

    def run(self, args):
        """What nobody wants of it."""
        self.args = args
        self.kinds = self._kinds()
        at = 0
        while at < len(args):
            if self.kinds[at] == "O":
                at = self._option(at)
            else:
                at = self._positional_run(at)
        self._positional_run(at)
        self._finish()
        more = getattr(self.namespace, "_rest", None)  # what a subcommand did not want, it left there
        if more is not None:
            del self.namespace._rest
            self.rest += more
        return self.rest

    def _kinds(self):
        """For each argument: O an option, A a value, - the two dashes behind which all are values."""
        kinds = []
        for i, arg in enumerate(self.args):
            if arg == "--":
                return kinds + ["-"] + ["A"] * (len(self.args) - i - 1)
            kinds.append("O" if self._is_option(arg) else "A")
        return kinds

    def _is_option(self, arg):
        if not arg.startswith("-") or arg == "-":
            return False
        if arg in self.parser._options or self._known(arg):
            return True
        if _negative_number(arg) and not self.numbers_are_options:
            return False
        return " " not in arg

    def _known(self, arg):
        """[(action, option string, value that came with it or None)] of all that an argument can mean."""
        options = self.parser._options
        if arg in options:
            return [(options[arg], arg, None)]
        name, equals, value = arg.partition("=")
        if equals and name in options:
            return [(options[name], name, value)]
        if arg.startswith("--"):
            if not self.parser.allow_abbrev:
                return []
            return [(options[o], o, value if equals else None) for o in options if o.startswith(name)]
        found = [(options[o], o, None) for o in options if o.startswith(arg) and self.parser.allow_abbrev]
        short = arg[:2]
        if short in options:
            found.append((options[short], short, arg[2:]))
        return found

    def _run_length(self, at):
        """Values from here on."""
        n = 0
        while at + n < len(self.kinds) and self.kinds[at + n] != "O":
            n += 1
        return n

    def _take(self, at, n):
        """n values, with the two dashes among them counted out: (values, where they end)."""
        values = []
        while at < len(self.args) and (len(values) < n or self.kinds[at] == "-"):
            if self.kinds[at] == "-":
                if len(values) >= n:
                    break
                self.kinds[at] = "gone"
            else:
                values.append(self.args[at])
            at += 1
        return values, at

    def _option(self, at):
        arg = self.args[at]
        found = self._known(arg)
        if len(found) > 1:
            names = ", ".join(name for _, name, _ in found)
            raise ArgumentError(None, "ambiguous option: %s could match %s" % (arg, names))
        if not found:
            self.rest.append(arg)
            return at + 1
        action, name, value = found[0]
        while value is not None:
            if action.nargs != 0:
                low, high = _counts(action.nargs)
                if low > 1 or high < 1:
                    self._wrong_number(action)
                self._call(action, [value], name)
                return at + 1
            if name.startswith("--") or not value:
                raise ArgumentError(action, "ignored explicit argument %r" % value)
            self._call(action, [], name)  # -abc: flags in one word
            name = "-" + value[0]
            if name not in self.parser._options:
                raise ArgumentError(action, "ignored explicit argument %r" % value)
            action = self.parser._options[name]
            value = value[1:] or None
            if value and value[0] == "=" and action.nargs != 0:
                value = value[1:]
        return self._option_values(action, name, at + 1)

    def _option_values(self, action, name, at):
        low, high = _counts(action.nargs)
        if action.nargs in (REMAINDER, PARSER):
            self._call(action, self.args[at:], name)
            return len(self.args)
        n = 0
        while n < high and at + n < len(self.kinds) and self.kinds[at + n] == "A":
            n += 1
        if n < low:
            self._wrong_number(action)
        self._call(action, self.args[at : at + n], name)
        return at + n

    def _wrong_number(self, action):
        n = action.nargs
        text = "expected %d argument%s" % (n, "" if n == 1 else "s") if isinstance(n, int) else _WANTED[n]
        raise ArgumentError(action, text)

    def _positional_run(self, at):
        """Give the values from here to as many positionals as they are enough for. Where they end."""
        run = self._run_length(at)
        n = sum(kind == "A" for kind in self.kinds[at : at + run])
        more = any(kind == "A" for kind in self.kinds[at + run :])
        lows = []
        for action in self.positionals:
            if sum(lows) + _counts(action.nargs)[0] > n:
                break
            lows.append(_counts(action.nargs)[0])
        left = n
        for i in range(len(lows)):
            action = self.positionals[0]
            high = _counts(action.nargs)[1]
            take = min(high, left - sum(lows[i + 1 :]))
            if take == 0 and more and action.nargs != REMAINDER:
                break  # its values may come behind the next option
            self.positionals.pop(0)
            if action.nargs in (REMAINDER, PARSER):
                self._call(action, self.args[at:], None)
                return len(self.args)
            values, at = self._take(at, take)
            left -= take
            self._call(action, values, None)
        if left or run:
            unwanted, at = self._take(at, left)
            self.rest += unwanted
            while at < len(self.kinds) and self.kinds[at] == "-":
                at += 1
        return at

    def _call(self, action, strings, name):
        values = self._values(action, strings)
        if strings or action.option_strings or values is not action.default:
            self._exclude(action)
        if values != SUPPRESS:
            action(self.parser, self.namespace, values, name)

    def _exclude(self, action):
        for group in self.parser._exclusive:
            if action in group._group_actions:
                for other in group._group_actions:
                    if other is not action and other in self.seen:
                        raise ArgumentError(action, "not allowed with argument " + other._shown())
        self.seen.append(action)

    def _values(self, action, strings):
        nargs = action.nargs
        if nargs == "?":
            if strings:
                return self._checked(action, strings[0])
            value = action.const if action.option_strings else action.default
            return self._converted(action, value) if isinstance(value, str) else value
        if nargs == "*" and not strings and not action.option_strings:
            return [] if action.default is None else action.default
        if nargs is None:
            return self._checked(action, strings[0])
        if nargs == REMAINDER:
            return [self._converted(action, s) for s in strings]
        if nargs == PARSER:
            return [self._checked(action, strings[0])] + [self._converted(action, s) for s in strings[1:]]
        return [self._checked(action, s) for s in strings]

    def _checked(self, action, text):
        value = self._converted(action, text)
        if action.choices is not None and value not in action.choices:
            known = ", ".join(repr(c) for c in action.choices)
            raise ArgumentError(action, "invalid choice: %r (choose from %s)" % (value, known))
        return value

    def _converted(self, action, text):
        if action.type is None:
            return text
        try:
            return action.type(text)
        except ArgumentTypeError as e:
            raise ArgumentError(action, str(e))
        except (TypeError, ValueError):
            name = getattr(action.type, "__name__", None) or repr(action.type)
            raise ArgumentError(action, "invalid %s value: %r" % (name, text))

    def _finish(self):
        missing = []
        for action in self.parser._actions:
            if action in self.seen:
                continue
            if action.required and (action.option_strings or action in self.positionals):
                missing.append(action._shown())
            elif (
                isinstance(action.default, str)
                and action.dest
                and getattr(self.namespace, action.dest, None) is action.default
            ):
                setattr(self.namespace, action.dest, self._converted(action, action.default))
        if missing:
            raise ArgumentError(None, "the following arguments are required: " + ", ".join(missing))
        for group in self.parser._exclusive:
            if group.required and not any(action in self.seen for action in group._group_actions):
                names = " ".join(a._shown() for a in group._group_actions if a.help != SUPPRESS)
                raise ArgumentError(None, "one of the arguments %s is required" % names)
