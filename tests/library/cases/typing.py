# SPDX-License-Identifier: MIT
import typing
from collections.abc import Callable as Called
from collections.abc import Iterable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Final,
    Generic,
    List,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
    cast,
    final,
    overload,
)  # fmt: skip

if TYPE_CHECKING:
    from nowhere import Nothing


def tried(function, *args, **keywords):
    try:
        return function(*args, **keywords)
    except Exception as e:
        return type(e).__name__


T = TypeVar("T")
K = TypeVar("K", int, str)
Pair = Dict[str, List[Optional[int]]]
Handler = Callable[[int, str], Union[None, "Later"]]
Modes = Literal["r", "w"]
MAX: Final = 3
Number = Union[int, float]


def annotated(x: int, *, y: "Nothing" = None, **rest: Any) -> Optional[Pair]:
    z: List[int] = [x]
    return z


print(annotated(1), TYPE_CHECKING, MAX, cast(int, "s"), cast("Later", 5))


class Stack(Generic[T]):
    def __init__(self) -> None:
        self.items: List[T] = []

    def push(self, item: T) -> None:
        self.items.append(item)


class Base:
    def hello(self):
        return "hello"


class Both(Base, Generic[T, K]):
    pass


class Speaks(Protocol):
    def speak(self) -> str: ...


class Dog(Speaks):
    def speak(self):
        return "woof"


class Box(Protocol[T]):
    pass


s = Stack()
s.push(3)
print(s.items, Both().hello(), Dog().speak(), isinstance(Both(), Base), Box.__name__)


class Point(NamedTuple):
    x: int
    y: int = 2

    def total(self):
        return self.x + self.y


p = Point(1)
print(p, p.total(), Point(3, 4)._replace(x=5), p == (1, 2), Point._fields, tried(Point), isinstance(p, tuple))
print(NamedTuple("Old", [("a", int), ("b", str)])(1, "x"))


class Movie(TypedDict):
    title: str
    year: int


m = Movie(title="x", year=1)
m2: Movie = {"title": "y", "year": 2}
print(sorted(m.items()), m["title"], m == {"title": "x", "year": 1}, type(m) is dict, m2["year"])
print(TypedDict("Other", {"a": int})(a=1))
UserId = NewType("UserId", int)
print(UserId(5), UserId(5) + 1)


@overload
def double(x: int) -> int: ...


@overload
def double(x: str) -> str: ...


@final
def double(x):
    return x * 2


print(double(2), double("a"))
print(Optional[int] == Optional[int], Any, tried(typing.assert_never, 3), typing.Text is str)
names = "AnyStr AsyncIterator Awaitable ClassVar Concatenate ContextManager Coroutine Deque FrozenSet Generator IO Iterator "
names += (
    "Mapping MutableMapping NoReturn ParamSpec Sequence Set Self SupportsInt Tuple Type TypeAlias TypeGuard Annotated"
)
print([name for name in names.split() if not hasattr(typing, name)], hasattr(typing, "Nonsense"))


def keys(of: Mapping[str, int], call: Called[[int], int], many: Iterable[int] = ()) -> "Iterable":
    return sorted(of)


print(keys({"b": 1, "a": 2}, abs))
print(tried(isinstance, 3, Optional))
hints = tried(lambda: type(typing.get_type_hints(double)).__name__)
print("at run time", hints, tried(lambda: typing.runtime_checkable(Speaks) is Speaks))
