# SPDX-License-Identifier: MIT
"""Enumerations. The name of one is an object that stands for its members' class: isinstance() takes it for that, and
type() of a member shows the class itself."""

from ucollections import OrderedDict

_attrs = {"Flag": "flags", "IntFlag": "flags"}
_NATIVE = (int, str, float, bytes, complex)
_CODE = ("function", "closure", "generator", "property", "staticmethod", "classmethod", "type")


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value


class auto:
    """The value after the one before, or later computed from such."""

    value = None

    def __init__(self, compute=None):
        self._compute = compute

    def __or__(self, other):
        return auto(lambda: _value(self) | _value(other))

    def __and__(self, other):
        return auto(lambda: _value(self) & _value(other))

    def __xor__(self, other):
        return auto(lambda: _value(self) ^ _value(other))

    __ror__ = __or__


def _value(x):
    if not isinstance(x, auto):
        return x
    if x.value is None and x._compute is not None:
        x.value = x._compute()
    return x.value


class _Member:
    @classmethod
    def _itself(cls):
        return cls

    @property
    def name(self):
        return self._name_

    @property
    def value(self):
        return self._value_

    def __repr__(self):
        return "<{}.{}: {!r}>".format(type(self).__name__, self._name_, self._value_)

    def __str__(self):
        return "{}.{}".format(type(self).__name__, self._name_)

    def __hash__(self):
        try:
            return hash(self._value_)
        except TypeError:
            return hash(self._name_)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    @staticmethod
    def _generate_next_value_(name, start, count, last_values):
        return last_values[-1] + 1 if last_values else start

    @classmethod
    def _missing_(cls, value):
        return None

    @staticmethod
    def _is_listed(value):
        return True


def _is_member(name, value):
    if name.startswith("__") or (name.startswith("_") and name.endswith("_")):
        return False
    return type(value).__name__ not in _CODE and not hasattr(value, "__get__")


class EnumType(type):
    def __init__(self, name, bases, namespace):
        real = []
        for base in bases:
            if isinstance(base, EnumType):
                if base._member_map_:
                    raise TypeError("<enum {!r}> cannot extend <enum {!r}>".format(name, base.__name__))
                base = base._itself()
            real.append(base)
        # repr() is the enumeration's, what a number or a string can do is theirs.
        real.sort(key=lambda base: base in _NATIVE)
        members = [item for item in namespace.items() if _is_member(item[0], item[1])]
        super().__init__(name, tuple(real), {k: v for k, v in namespace.items() if not _is_member(k, v)})
        self._member_map_ = OrderedDict()
        self._members = []
        self._combined = {}
        made = self._itself()
        made._enum_ = self
        values = []
        for key, value in members:
            if isinstance(value, auto):
                if _value(value) is None:
                    value.value = made._generate_next_value_(key, 1, len(values), values)
                value = value.value
            values.append(self._add(made, key, value)._value_)
        self._listed = [member for member in self._members if made._is_listed(member._value_)]

    def _add(self, made, key, value):
        member = made(*(value if isinstance(value, tuple) else (value,)))
        if not hasattr(member, "_value_"):
            member._value_ = value
        known = self._find(member._value_)
        if known is None:
            member._name_ = key
            self._members.append(member)
            known = member
        self._member_map_[key] = known
        setattr(made, key, known)
        return known

    def _find(self, value):
        for member in self._members:
            if member._value_ == value:
                return member
        return None

    @property
    def __members__(self):
        return OrderedDict(self._member_map_)

    def __setattr__(self, name, value):
        if name in self.__dict__.get("_member_map_", ()):
            raise AttributeError("cannot reassign member {!r}".format(name))
        object.__setattr__(self, name, value)

    def __call__(self, value, names=None, start=1):
        if names is not None:
            return _functional(self, value, names, start)
        if isinstance(value, self):
            return value
        member = self._find(value)
        if member is None:
            member = self._missing_(value)
        if member is None:
            raise ValueError("{!r} is not a valid {}".format(value, self.__name__))
        return member

    def __getitem__(self, name):
        return self._member_map_[name]

    def __iter__(self):
        return iter(self._listed)

    def __reversed__(self):
        return iter(self._listed[::-1])

    def __len__(self):
        return len(self._listed)

    def __bool__(self):
        return True

    def __contains__(self, value):
        return isinstance(value, self) or self._find(value) is not None

    def __repr__(self):
        return "<enum {!r}>".format(self.__name__)

    __str__ = __repr__


def _functional(base, name, names, start):
    if isinstance(names, str):
        names = names.replace(",", " ").split()
    pairs = names.items() if isinstance(names, dict) else names
    namespace = OrderedDict()
    for pair in pairs:
        key, value = (pair, auto()) if isinstance(pair, str) else pair
        if not namespace and isinstance(pair, str) and start != 1:
            value = start
        namespace[key] = value
    return type(base)(name, (base,), namespace)


EnumMeta = EnumType
Enum = EnumType("Enum", (_Member,), {})


class IntEnum(int, Enum):
    def __str__(self):
        return str(self._value_)


class StrEnum(str, Enum):
    def __str__(self):
        return self._value_

    @staticmethod
    def _generate_next_value_(name, start, count, last_values):
        return name.lower()


def unique(enumeration):
    aliases = [
        "{} -> {}".format(name, member._name_)
        for name, member in enumeration.__members__.items()
        if name != member._name_
    ]
    if aliases:
        raise ValueError("duplicate values found in {!r}: {}".format(enumeration, ", ".join(aliases)))
    return enumeration
