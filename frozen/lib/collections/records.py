# SPDX-License-Identifier: MIT
"""namedtuple with CPython's methods and defaults, over MicroPython's."""

import ucollections


class _Record:
    @classmethod
    def _make(cls, iterable):
        return cls(*iterable)

    def __setattr__(self, name, value):
        if name in self._fields or "_fields" in type(self).__dict__:
            raise AttributeError("can't set attribute " + name)
        object.__setattr__(self, name, value)

    def _asdict(self):
        return ucollections.OrderedDict(zip(self._fields, self))

    def _replace(self, **changes):
        values = [changes.pop(name, value) for name, value in zip(self._fields, self)]
        if changes:
            raise ValueError("Got unexpected field names: {!r}".format(list(changes)))
        return type(self)(*values)


def _identifier(name):
    plain = "".join(c for c in name if c.isalpha() or c.isdigit() or c == "_")
    return bool(name) and plain == name and not name[0].isdigit()


def _checked(names, rename):
    checked = []
    for i, name in enumerate(names):
        wrong = name in checked or name.startswith("_") or not _identifier(name)
        if wrong and not rename:
            raise ValueError("no name for a field, or one given twice: {!r}".format(name))
        checked.append("_{}".format(i) if wrong else name)
    return checked


def namedtuple(typename, field_names, *, rename=False, defaults=None, module=None):
    if isinstance(field_names, str):
        field_names = field_names.replace(",", " ").split()
    fields = tuple(_checked([str(name) for name in field_names], rename))
    defaults = tuple(defaults or ())
    if len(defaults) > len(fields):
        raise TypeError("Got more default values than field names")
    optional = dict(zip(fields[len(fields) - len(defaults) :], defaults))
    space = {"_fields": fields, "_field_defaults": optional, "__module__": module}
    base = ucollections.namedtuple(typename, fields)
    made = type(typename, (_Record, base), space)
    if optional:

        def __init__(self, *args, **keywords):
            for name in fields[len(args) :]:
                if name in optional and name not in keywords:
                    keywords[name] = optional[name]
            super(made, self).__init__(*args, **keywords)

        made.__init__ = __init__
    return made
