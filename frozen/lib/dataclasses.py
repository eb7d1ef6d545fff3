# SPDX-License-Identifier: MIT
"""dataclass and what belongs to it. The fields are the names that the class body annotates, which the compiler leaves
in __annotated__ with the first name of each annotation: a field's type is that name."""


class _Missing:
    def __repr__(self):
        return "<MISSING>"


MISSING = _Missing()
_PARAMETERS = {"init": True, "repr": True, "eq": True, "order": False, "unsafe_hash": False, "frozen": False}
_IGNORED = ("match_args", "slots", "weakref_slot")


class FrozenInstanceError(AttributeError):
    pass


class KW_ONLY:
    pass


class _InitVar:
    def __getitem__(self, item):
        return self


InitVar = _InitVar()


class Field:
    def __init__(self, default, default_factory, init, repr, hash, compare, metadata, kw_only):
        if default is not MISSING and default_factory is not MISSING:
            raise ValueError("cannot specify both default and default_factory")
        self.name = self.type = None
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.hash = hash
        self.compare = compare
        self.metadata = metadata or {}
        self.kw_only = kw_only
        self._init_only = False

    def __repr__(self):
        return "Field(name={!r},type={!r},default={!r})".format(self.name, self.type, self.default)

    def _optional(self):
        return self.default is not MISSING or self.default_factory is not MISSING


def field(
    *,
    default=MISSING,
    default_factory=MISSING,
    init=True,
    repr=True,
    hash=None,
    compare=True,
    metadata=None,
    kw_only=MISSING,
):
    return Field(default, default_factory, init, repr, hash, compare, metadata, kw_only)


def _head(annotation):
    """The last part of the name that an annotation starts with."""
    return annotation.split("[")[0].strip().rpartition(".")[2]


def _own(cls, kw_only):
    """The fields that a class body defines itself."""
    annotated = cls.__dict__.get("__annotated__", ())
    for i in range(0, len(annotated), 2):
        name, annotation = annotated[i : i + 2]
        head = _head(annotation)
        if head == "KW_ONLY":
            kw_only = True
            continue
        if head == "ClassVar":
            continue
        default = cls.__dict__.get(name, MISSING)
        one = default if isinstance(default, Field) else field(default=default)
        if isinstance(one.default, (list, dict, set)):
            text = "mutable default {} for field {} is not allowed: use default_factory"
            raise ValueError(text.format(type(one.default), name))
        if default is one and one.default is MISSING:
            delattr(cls, name)
        elif default is one:
            setattr(cls, name, one.default)
        one.name = name
        one.type = annotation
        one._init_only = head == "InitVar"
        if one.kw_only is MISSING:
            one.kw_only = kw_only
        yield one


def _collected(cls, kw_only):
    """All fields in their order: those of base classes first, each in its first place."""
    names = []
    found = {}
    for base in reversed(cls.__bases__):
        for one in getattr(base, "__dataclass_fields__", ()):
            names += [one.name] * (one.name not in found)
            found[one.name] = one
    for one in _own(cls, kw_only):
        names += [one.name] * (one.name not in found)
        found[one.name] = one
    return tuple([found[name] for name in names])


def _check_order(all_fields):
    optional = None
    for one in all_fields:
        if one.init and not one.kw_only:
            if one._optional():
                optional = one.name
            elif optional is not None:
                raise TypeError("non-default argument {!r} follows default argument".format(one.name))


def _name_them(positional, args, keywords):
    """Put arguments given by position among those given by name."""
    if len(args) > len(positional):
        text = "__init__() takes {} positional arguments but {} were given"
        raise TypeError(text.format(len(positional) + 1, len(args) + 1))
    for one, value in zip(positional, args):
        if one.name in keywords:
            raise TypeError("__init__() got multiple values for argument {!r}".format(one.name))
        keywords[one.name] = value


def _make_init(cls, all_fields):
    positional = [one for one in all_fields if one.init and not one.kw_only]

    def __init__(self, *args, **keywords):
        _name_them(positional, args, keywords)
        for_init = []
        for one in all_fields:
            name = one.name
            if one.init and name in keywords:
                value = keywords.pop(name)
            elif one.default is not MISSING:
                value = one.default
            elif one.default_factory is not MISSING:
                value = one.default_factory()
            elif one.init:
                raise TypeError("__init__() missing required argument: {!r}".format(name))
            else:
                continue
            if one._init_only:
                for_init.append(value)
            else:
                object.__setattr__(self, name, value)
        for name in keywords:
            raise TypeError("__init__() got an unexpected keyword argument {!r}".format(name))
        if hasattr(self, "__post_init__"):
            self.__post_init__(*for_init)

    cls.__init__ = __init__


def _make_order(cls, values):
    def compared(function):
        def compare(self, other):
            return function(values(self), values(other)) if type(self) is type(other) else NotImplemented

        return compare

    for name, function in (
        ("__lt__", lambda a, b: a < b),
        ("__le__", lambda a, b: a <= b),
        ("__gt__", lambda a, b: a > b),
        ("__ge__", lambda a, b: a >= b),
    ):
        if name in cls.__dict__:
            raise TypeError("Cannot overwrite attribute {} in class {}".format(name, cls.__name__))
        setattr(cls, name, compared(function))


_in_repr = []  # objects that hold themselves are written once


def _make_repr(cls, stored):
    shown = [one.name for one in stored if one.repr]

    def __repr__(self):
        if id(self) in _in_repr:
            return "..."
        _in_repr.append(id(self))
        try:
            items = ["{}={!r}".format(name, getattr(self, name)) for name in shown]
        finally:
            _in_repr.pop()
        return "{}({})".format(type(self).__name__, ", ".join(items))

    cls.__repr__ = __repr__


def _freeze(cls):
    def __setattr__(self, name, value):
        raise FrozenInstanceError("cannot assign to field {!r}".format(name))

    def __delattr__(self, name):
        raise FrozenInstanceError("cannot delete field {!r}".format(name))

    cls.__setattr__ = __setattr__
    cls.__delattr__ = __delattr__


def _process(cls, options, kw_only):
    for base in cls.__bases__:
        if getattr(base, "__dataclass_params__", options)["frozen"] != options["frozen"]:
            raise TypeError("a frozen dataclass and one that is not cannot inherit from each other")
    all_fields = _collected(cls, kw_only)
    stored = [one for one in all_fields if not one._init_only]
    own = cls.__dict__
    compared = [one.name for one in stored if one.compare]
    hashed = [one.name for one in stored if (one.compare if one.hash is None else one.hash)]

    def values(self):
        return tuple([getattr(self, name) for name in compared])

    cls.__dataclass_fields__ = all_fields
    cls.__dataclass_params__ = options
    if options["init"]:
        _check_order(all_fields)
        if "__init__" not in own:
            _make_init(cls, all_fields)
    if options["repr"] and "__repr__" not in own:
        _make_repr(cls, stored)
    if options["eq"] and "__eq__" not in own:
        cls.__eq__ = lambda self, other: values(self) == values(other) if type(self) is type(other) else NotImplemented
    if options["order"]:
        if not options["eq"]:
            raise ValueError("eq must be true if order is true")
        _make_order(cls, values)
    if options["unsafe_hash"] or (options["eq"] and options["frozen"] and "__hash__" not in own):
        cls.__hash__ = lambda self: hash(tuple([getattr(self, name) for name in hashed]))
    elif options["eq"] and "__hash__" not in own:
        cls.__hash__ = _no_hash
    if options["frozen"]:
        _freeze(cls)
    return cls


def _no_hash(self):
    raise TypeError("unhashable type: {!r}".format(type(self).__name__))


def dataclass(cls=None, *, kw_only=False, **options):
    for name in options:
        if name not in _PARAMETERS and name not in _IGNORED:
            raise TypeError("dataclass() got an unexpected keyword argument {!r}".format(name))
    chosen = {name: options.get(name, value) for name, value in _PARAMETERS.items()}
    if cls is None:
        return lambda cls: _process(cls, chosen, kw_only)
    return _process(cls, chosen, kw_only)


def fields(class_or_instance):
    found = getattr(class_or_instance, "__dataclass_fields__", None)
    if found is None:
        raise TypeError("must be called with a dataclass type or instance")
    return tuple([one for one in found if not one._init_only])


def is_dataclass(obj):
    return hasattr(obj, "__dataclass_fields__")


def _converted(value, convert):
    if is_dataclass(value) and not isinstance(value, type):
        return convert(value)
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return type(value)._make([_converted(item, convert) for item in value])
    if type(value) in (list, tuple):
        return type(value)([_converted(item, convert) for item in value])
    if isinstance(value, dict):
        made = type(value)() if type(value) is not dict else {}
        for key, item in value.items():
            made[_converted(key, convert)] = _converted(item, convert)
        return made
    return value


def _instance(obj):
    if isinstance(obj, type):
        raise TypeError("should be called on dataclass instances")
    return fields(obj)


def asdict(obj, *, dict_factory=dict):
    def convert(one):
        return dict_factory([(f.name, _converted(getattr(one, f.name), convert)) for f in fields(one)])

    _instance(obj)
    return convert(obj)


def astuple(obj, *, tuple_factory=tuple):
    def convert(one):
        return tuple_factory([_converted(getattr(one, f.name), convert) for f in fields(one)])

    _instance(obj)
    return convert(obj)


def replace(obj, **changes):
    for one in _instance(obj) and obj.__dataclass_fields__:
        if not one.init:
            if one.name in changes:
                raise ValueError("field {} is declared with init=False".format(one.name))
        elif one.name not in changes:
            if one._init_only and not one._optional():
                raise ValueError("InitVar {!r} must be specified with replace()".format(one.name))
            if not one._init_only:
                changes[one.name] = getattr(obj, one.name)
    return type(obj)(**changes)


def make_dataclass(cls_name, fields, *, bases=(), namespace=None, **options):
    space = dict(namespace or {})
    annotated = []
    for item in fields:
        name, kind, *default = (item, "") if isinstance(item, str) else item
        annotated += [name, kind if isinstance(kind, str) else getattr(kind, "__name__", "")]
        if default:
            space[name] = default[0]
    space["__annotated__"] = tuple(annotated)
    return dataclass(type(cls_name, tuple(bases), space), **options)
