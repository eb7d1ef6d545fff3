# SPDX-License-Identifier: MIT
# CPython's argparse for what scripts use: positionals, options, nargs, types, choices, groups, subcommands, help.
# A wrong command line ends the script with code 2, --help with 0. Not here: parents, files of arguments.

import sys

from ucollections import OrderedDict

from ._action import (
    _ACTIONS,
    ONE_OR_MORE,
    OPTIONAL,
    PARSER,
    REMAINDER,
    SUPPRESS,
    ZERO_OR_MORE,
    Action,
    ArgumentError,
    ArgumentTypeError,
    BooleanOptionalAction,
    Namespace,
    _Subparsers,
)
from ._format import (
    ArgumentDefaultsHelpFormatter,
    HelpFormatter,
    RawDescriptionHelpFormatter,
    RawTextHelpFormatter,
)

_MANY = 1 << 30
_COUNTS = {None: (1, 1), "?": (0, 1), "*": (0, _MANY), "+": (1, _MANY), "...": (0, _MANY), "A...": (1, _MANY)}


class FileType:
    def __init__(self, mode="r", bufsize=-1, encoding=None, errors=None):
        self._mode = mode

    def __call__(self, name):
        if name == "-":
            return sys.stdin if "r" in self._mode else sys.stdout
        try:
            return open(name, self._mode)
        except OSError as e:
            raise ArgumentTypeError("can't open '%s': %s" % (name, e))


def _counts(nargs):
    return (nargs, nargs) if isinstance(nargs, int) else _COUNTS[nargs]


def _negative_number(text):
    try:
        return text[:1] == "-" and text[1:2] not in ("", "-") and "e" not in text.lower() and float(text) <= 0
    except ValueError:
        return False


class _Group:
    """Arguments that stand together in the help."""

    def __init__(self, parser, title=None, description=None):
        self._parser = parser
        self.title = title
        self.description = description
        self._group_actions = []

    def add_argument(self, *names, **how):
        action = self._parser._new_action(names, how)
        self._group_actions.append(action)
        return action

    def add_argument_group(self, title=None, description=None):
        return self._parser.add_argument_group(title, description)

    def add_mutually_exclusive_group(self, *, required=False):
        return _Exclusive(self._parser, self, required)


class _Exclusive:
    """Arguments of which one may be given."""

    def __init__(self, parser, group, required):
        self._parser = parser
        self._group = group
        self.required = required
        self._group_actions = []
        parser._exclusive.append(self)

    def add_argument(self, *names, **how):
        action = self._group.add_argument(*names, **how)
        if action.required and not (not action.option_strings and action.nargs in ("?", "*")):
            raise ValueError("mutually exclusive arguments must be optional")
        self._group_actions.append(action)
        return action


class ArgumentParser:
    def __init__(self, prog=None, usage=None, description=None, epilog=None, formatter_class=HelpFormatter,
                 argument_default=None, conflict_handler="error", add_help=True, allow_abbrev=True,
                 exit_on_error=True):  # fmt: skip
        self.prog = prog if prog is not None else (sys.argv[0] if sys.argv else "").split("/")[-1]
        self.usage = usage
        self.description = description
        self.epilog = epilog
        self.formatter_class = formatter_class
        self.argument_default = argument_default
        self.conflict_handler = conflict_handler
        self.allow_abbrev = allow_abbrev
        self.exit_on_error = exit_on_error
        self._actions = []
        self._options = OrderedDict()
        self._defaults = {}
        self._exclusive = []
        self._subparsers = None
        self._positional_group = _Group(self, "positional arguments")
        self._option_group = _Group(self, "options")
        self._groups = [self._positional_group, self._option_group]
        if add_help:
            self.add_argument("-h", "--help", action="help", default=SUPPRESS, help="show this help message and exit")

    def add_argument(self, *names, **how):
        action = self._new_action(names, how)
        (self._option_group if action.option_strings else self._positional_group)._group_actions.append(action)
        return action

    def _new_action(self, names, how):
        kind = how.pop("action", None)
        make = _ACTIONS.get(kind) if kind is None or isinstance(kind, str) else kind
        if make is None:
            raise ValueError("unknown action %r" % (kind,))
        options = [name for name in names if name.startswith("-")]
        if not options:
            action = self._new_positional(make, kind, names, how)
        elif len(options) < len(names):
            raise ValueError("invalid option string: %r: must start with a character '-'" % names[0])
        else:
            action = self._new_option(make, options, how)
        if action.type is not None and not callable(action.type):
            raise ValueError("%r is not callable" % (action.type,))
        if not isinstance(action.nargs, int) and action.nargs not in _COUNTS:
            raise ValueError("invalid nargs value: %r" % (action.nargs,))
        self._actions.append(action)
        return action

    def _with_default(self, dest, how):
        if "default" not in how:
            if dest in self._defaults:
                how["default"] = self._defaults[dest]
            elif self.argument_default is not None:
                how["default"] = self.argument_default

    def _new_positional(self, make, kind, names, how):
        dest = how.pop("dest", None)
        if names and (dest is not None or len(names) > 1):
            raise ValueError("dest supplied twice for positional argument")
        if "required" in how:
            raise TypeError("'required' is an invalid argument for positionals")
        dest = names[0] if names else dest
        self._with_default(dest, how)
        action = make([], dest, **how)
        if action.nargs == 0:
            raise ValueError("action %r is not valid for positional arguments" % (kind,))
        action.required = _counts(action.nargs)[0] > 0 or (action.nargs == "*" and "default" not in how)
        return action

    def _new_option(self, make, options, how):
        dest = how.pop("dest", None)
        if dest is None:
            long = [name for name in options if name.startswith("--")]
            dest = (long or options)[0].lstrip("-").replace("-", "_")
            if not dest:
                raise ValueError("dest= is required for options like %r" % options[0])
        self._with_default(dest, how)
        action = make(options, dest=dest, **how)
        if action.nargs == 0 and make is _ACTIONS["store"]:
            raise ValueError("nargs for store actions must be != 0; use store_true for an option without a value")
        taken = [name for name in action.option_strings if name in self._options]
        if taken and self.conflict_handler != "resolve":
            text = "conflicting option string%s: %s" % ("s" if len(taken) > 1 else "", ", ".join(taken))
            raise ArgumentError(action, text)
        for name in taken:
            self._options[name].option_strings.remove(name)
        for name in action.option_strings:
            self._options[name] = action
        return action

    def add_argument_group(self, title=None, description=None):
        group = _Group(self, title, description)
        self._groups.append(group)
        return group

    def add_mutually_exclusive_group(self, *, required=False):
        return _Exclusive(self, self, required)

    def add_subparsers(self, *, title=None, description=None, prog=None, parser_class=None, dest=SUPPRESS,
                       required=False, help=None, metavar=None):  # fmt: skip
        if self._subparsers is not None:
            raise ValueError("cannot have multiple subparser arguments")
        if prog is None:
            prog = self._usage_line(True)[7:].strip() if any(not a.option_strings for a in self._actions) else self.prog
        made = _Subparsers(prog, parser_class or type(self), dest, required, title, description, help, metavar)
        self._subparsers = made
        self._actions.append(made)
        named = title is not None or description is not None
        group = self.add_argument_group(title or "subcommands", description) if named else self._positional_group
        group._group_actions.append(made)
        return made

    def set_defaults(self, **values):
        self._defaults.update(values)
        for action in self._actions:
            if action.dest in values:
                action.default = values[action.dest]

    def get_default(self, dest):
        for action in self._actions:
            if action.dest == dest and action.default is not None:
                return action.default
        return self._defaults.get(dest)

    # ---- the command line ----

    def parse_args(self, args=None, namespace=None):
        namespace, rest = self.parse_known_args(args, namespace)
        if rest:
            text = "unrecognized arguments: " + " ".join(rest)
            if not self.exit_on_error:
                raise ArgumentError(None, text)
            self.error(text)
        return namespace

    def parse_known_args(self, args=None, namespace=None):
        from ._parse import Parse

        args = list(sys.argv[1:] if args is None else args)
        namespace = Namespace() if namespace is None else namespace
        for action in self._actions:
            if (
                action.dest not in (None, SUPPRESS)
                and not hasattr(namespace, action.dest)
                and action.default != SUPPRESS
            ):
                setattr(namespace, action.dest, action.default)
        for dest, value in self._defaults.items():
            if not hasattr(namespace, dest):
                setattr(namespace, dest, value)
        if not self.exit_on_error:
            return namespace, Parse(self, namespace).run(args)
        try:
            return namespace, Parse(self, namespace).run(args)
        except ArgumentError as e:
            self.error(str(e))

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(2, "%s: error: %s\n" % (self.prog, message))

    def exit(self, status=0, message=None):
        if message:
            sys.stderr.write(message)
        sys.exit(status)

    # ---- help ----

    def _formatter(self):
        return self.formatter_class(prog=self.prog)

    def _usage_line(self, bare=False):
        if self.usage is not None and not bare:
            return "usage: " + self.usage.replace("%(prog)s", self.prog) + "\n"
        options = []
        told = []
        for action in self._actions:
            if action in told or action.help == SUPPRESS or not action.option_strings or bare:
                continue
            group = [g for g in self._exclusive if action in g._group_actions]
            if group:
                told += group[0]._group_actions
                parts = [_usage_of(a) for a in group[0]._group_actions if a.help != SUPPRESS]
                text = " | ".join(parts)
                options.append(("(%s)" if group[0].required else "[%s]") % text)
            else:
                options.append(_usage_of(action) if action.required else "[%s]" % _usage_of(action))
        positionals = [
            a._values() for a in self._actions if not a.option_strings and a.help != SUPPRESS and a not in told
        ]
        return self._formatter().usage(self.prog, options, positionals)

    def format_usage(self):
        return self._usage_line()

    def format_help(self):
        formatter = self._formatter()
        sections = []
        for group in self._groups:
            actions = []
            for action in group._group_actions:
                if action.help != SUPPRESS:
                    actions.append((action, 2))
                    if isinstance(action, _Subparsers):
                        actions += [(listed, 4) for listed in action._listed if listed.help != SUPPRESS]
            sections.append((group.title, group.description, actions))
        formatter.measure([entry for _, _, actions in sections for entry in actions])
        text = self._usage_line()
        if self.description:
            text += "\n" + formatter._paragraph(self.description.replace("%(prog)s", self.prog)) + "\n"
        text += "".join(formatter.section(*section) for section in sections)
        if self.epilog:
            text += "\n" + formatter._paragraph(self.epilog.replace("%(prog)s", self.prog)) + "\n"
        return text

    def print_usage(self, file=None):
        (file or sys.stdout).write(self.format_usage())

    def print_help(self, file=None):
        (file or sys.stdout).write(self.format_help())


def _usage_of(action):
    """An option as usage has it, without the brackets."""
    if not action.option_strings:
        return action._values()
    if hasattr(action, "_usage"):
        return action._usage()
    name = action.option_strings[0]
    return name if action.nargs == 0 else name + " " + action._values()
