# SPDX-License-Identifier: MIT
"""CPython's typing. Annotations are not evaluated, so that its names need only be there; what would have to know at run
time what was annotated raises NotImplementedError."""

TYPE_CHECKING = False
Text = str
_attrs = {"NamedTuple": "records", "TypedDict": "records"}
_NAMES = (
    "Any Union Optional Callable Literal Annotated Final ClassVar Concatenate Unpack Required NotRequired ReadOnly "
    "TypeAlias TypeGuard TypeIs Self Never NoReturn LiteralString Type AnyStr "
    "List Dict Set FrozenSet Tuple DefaultDict OrderedDict Counter ChainMap Deque Pattern Match IO TextIO BinaryIO "
    "Container Hashable Iterable Iterator Reversible Generator Sized Collection Sequence MutableSequence ByteString "
    "AbstractSet MutableSet Mapping MutableMapping MappingView ItemsView KeysView ValuesView Awaitable Coroutine "
    "AsyncIterable AsyncIterator AsyncGenerator ContextManager AsyncContextManager "
    "SupportsInt SupportsFloat SupportsIndex SupportsAbs SupportsBytes SupportsRound"
)


class _Form:
    """A name for annotations. isinstance() refuses it, and as a base of a class it is left out."""

    def __init__(self, name):
        self.__name__ = name

    def __getitem__(self, item):
        return self

    def __or__(self, other):
        return self

    __ror__ = __or__

    def __repr__(self):
        return "typing." + self.__name__


class _Empty:
    pass


class _Base(_Form):
    """Generic and Protocol: with what stands in brackets, an empty class."""

    def __new__(cls, name, bases=None, namespace=None):
        if bases is None:
            return object.__new__(cls)
        bases = tuple([base for base in bases if not isinstance(base, _Form)])
        return type(name, bases, namespace)

    def __getitem__(self, item):
        return _Empty


class _Variable(_Form):
    def __init__(self, name, *constraints, **keywords):
        self.__name__ = name

    def __repr__(self):
        return "~" + self.__name__


class TypeVar(_Variable):
    pass


class TypeVarTuple(_Variable):
    pass


class ParamSpec(_Variable):
    args = kwargs = None


Generic = _Base("Generic")
Protocol = _Base("Protocol")


def __getattr__(name):
    if name in _attrs:
        value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    elif name in _NAMES.split():
        value = _Form(name)
    else:
        raise AttributeError(name)
    globals()[name] = value
    return value


def _same(x):
    return x


final = overload = no_type_check = override = _same


def cast(typ, val):
    return val


def NewType(name, tp):
    return _same


def assert_type(val, typ):
    return val


def assert_never(arg):
    raise AssertionError("Expected code to be unreachable, but got: {!r}".format(arg))


def dataclass_transform(**keywords):
    return _same


def _unknown(*args, **keywords):
    raise NotImplementedError("annotations are not kept at run time")


get_type_hints = get_origin = get_args = runtime_checkable = is_typeddict = _unknown
