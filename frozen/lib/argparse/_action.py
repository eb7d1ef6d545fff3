# SPDX-License-Identifier: MIT
# What argparse's arguments do with their values.

from ucollections import OrderedDict

SUPPRESS = "==SUPPRESS=="
OPTIONAL = "?"
ZERO_OR_MORE = "*"
ONE_OR_MORE = "+"
REMAINDER = "..."
PARSER = "A..."


class ArgumentError(Exception):
    def __init__(self, argument, message):
        super().__init__(argument, message)
        self.argument_name = argument._shown() if argument is not None else None
        self.message = message

    def __str__(self):
        return "argument %s: %s" % (self.argument_name, self.message) if self.argument_name else self.message


class ArgumentTypeError(Exception):
    pass


class Namespace:
    def __init__(self, **values):
        for name, value in values.items():
            setattr(self, name, value)

    def __eq__(self, other):
        return isinstance(other, Namespace) and vars(self) == vars(other)

    def __contains__(self, name):
        return hasattr(self, name)

    def __repr__(self):
        return "Namespace(%s)" % ", ".join("%s=%r" % item for item in sorted(vars(self).items()))


def vars(namespace):
    return dict(namespace.__dict__)


class Action:
    """One argument: where its value goes and what is done with it. To be subclassed, with __call__."""

    def __init__(self, option_strings=(), dest=None, nargs=None, const=None, default=None, type=None, choices=None,
                 required=False, help=None, metavar=None):  # fmt: skip
        self.option_strings = list(option_strings)
        self.dest = dest
        self.nargs = nargs
        self.const = const
        self.default = default
        self.type = type
        self.choices = choices
        self.required = required
        self.help = help
        self.metavar = metavar

    def __call__(self, parser, namespace, values, option_string=None):
        raise NotImplementedError(".__call__() not defined")

    def _shown(self):
        """How a message names it."""
        return "/".join(self.option_strings) or self.metavar or self.dest

    def _value(self, position=0):
        """The name of its value in help."""
        if isinstance(self.metavar, tuple):
            return self.metavar[position]
        if self.metavar is not None:
            return self.metavar
        if self.choices is not None:
            return "{%s}" % ",".join(str(c) for c in self.choices)
        return self.dest.upper() if self.option_strings else self.dest

    def _values(self):
        """Its values as usage has them: [X], X [X ...]."""
        x = self._value
        if isinstance(self.nargs, int):
            return " ".join(x(i) for i in range(self.nargs))
        several = 1 if isinstance(self.metavar, tuple) and len(self.metavar) > 1 else 0
        return {
            None: "%s" % x(), "?": "[%s]" % x(), "*": "[%s ...]" % x(), "+": "%s [%s ...]" % (x(), x(several)),
            "...": "...", "A...": "%s ..." % x(),
        }[self.nargs]  # fmt: skip


class _Store(Action):
    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values)


class _StoreConst(Action):
    def __init__(self, option_strings, dest, const=None, default=None, required=False, help=None, metavar=None):
        super().__init__(option_strings, dest, 0, const, default, None, None, required, help, metavar)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, self.const)


class _StoreTrue(_StoreConst):
    def __init__(self, option_strings, dest, default=False, required=False, help=None):
        super().__init__(option_strings, dest, True, default, required, help)


class _StoreFalse(_StoreConst):
    def __init__(self, option_strings, dest, default=True, required=False, help=None):
        super().__init__(option_strings, dest, False, default, required, help)


def _grown(namespace, dest, more):
    setattr(namespace, dest, list(getattr(namespace, dest, None) or ()) + more)


class _Append(Action):
    def __call__(self, parser, namespace, values, option_string=None):
        _grown(namespace, self.dest, [values])


class _Extend(Action):
    def __call__(self, parser, namespace, values, option_string=None):
        _grown(namespace, self.dest, list(values))


class _AppendConst(_StoreConst):
    def __call__(self, parser, namespace, values, option_string=None):
        _grown(namespace, self.dest, [self.const])


class _Count(_StoreConst):
    def __init__(self, option_strings, dest, default=None, required=False, help=None):
        super().__init__(option_strings, dest, None, default, required, help)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, (getattr(namespace, self.dest, None) or 0) + 1)


class _Help(Action):
    def __init__(self, option_strings, dest=SUPPRESS, default=SUPPRESS, help=None):
        super().__init__(option_strings, dest, 0, None, default, help=help)

    def __call__(self, parser, namespace, values, option_string=None):
        parser.print_help()
        parser.exit()


class _Version(Action):
    def __init__(
        self,
        option_strings,
        version=None,
        dest=SUPPRESS,
        default=SUPPRESS,
        help="show program's version number and exit",
    ):
        super().__init__(option_strings, dest, 0, None, default, help=help)
        self.version = version

    def __call__(self, parser, namespace, values, option_string=None):
        print(self.version.replace("%(prog)s", parser.prog))
        parser.exit()


class BooleanOptionalAction(Action):
    def __init__(self, option_strings, dest, default=None, required=False, help=None, **more):
        names = []
        for name in option_strings:
            names += [name, "--no-" + name[2:]] if name.startswith("--") else [name]
        super().__init__(names, dest, 0, None, default, None, None, required, help)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, not option_string.startswith("--no-"))

    def _usage(self):
        return " | ".join(self.option_strings)


class _Subparsers(Action):
    """The argument whose value chooses a parser for the rest."""

    def __init__(self, prog, parser_class, dest, required, title, description, help, metavar):
        super().__init__((), dest, PARSER, None, None, None, OrderedDict(), required, help, metavar)
        self._prog = prog
        self._parser_class = parser_class
        self.title = title
        self.description = description
        self._listed = []  # actions that only stand in help

    def add_parser(self, name, *, aliases=(), help=None, **how):
        how.setdefault("prog", self._prog + " " + name)
        parser = self._parser_class(**how)
        if help is not None:
            shown = name + (" (%s)" % ", ".join(aliases) if aliases else "")
            self._listed.append(Action((), shown, help=help))
        for one in (name,) + tuple(aliases):
            if one in self.choices:
                raise ArgumentError(self, "conflicting subparser: " + one)
            self.choices[one] = parser
        return parser

    def _value(self, position=0):
        return self.metavar if self.metavar is not None else "{%s}" % ",".join(self.choices)

    def _shown(self):
        return self.metavar or (self.dest if self.dest != SUPPRESS else "{%s}" % ",".join(self.choices))

    def __call__(self, parser, namespace, values, option_string=None):
        name = values[0]
        if self.dest != SUPPRESS:
            setattr(namespace, self.dest, name)
        inner, rest = self.choices[name].parse_known_args(values[1:])
        for key, value in inner.__dict__.items():
            setattr(namespace, key, value)
        if rest:
            namespace._rest = getattr(namespace, "_rest", []) + rest


_ACTIONS = {
    None: _Store, "store": _Store, "store_const": _StoreConst, "store_true": _StoreTrue, "store_false": _StoreFalse,
    "append": _Append, "append_const": _AppendConst, "extend": _Extend, "count": _Count, "help": _Help,
    "version": _Version,
}  # fmt: skip
