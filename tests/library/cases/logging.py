# SPDX-License-Identifier: MIT
import io
import logging
import sys
import time
from logging.handlers import BufferingHandler, MemoryHandler


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print(type(e).__name__)


class Said(logging.Handler):
    """Keeps what was said."""

    def __init__(self, level=logging.NOTSET):
        super().__init__(level)
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))

    def show(self):
        print(self.lines)
        self.lines = []


root = logging.getLogger()
root_said = Said()
logging.basicConfig(format="%(levelname)-8s|%(name)s|%(message)s", handlers=[root_said])
logging.debug("no %d", 1)
logging.info("no")
logging.warning("yes %d %s", 1, "x")
logging.error("100%")
logging.critical("by name %(a)s %(b)r", {"a": 1, "b": "c"})
logging.log(35, "of a level without a name")
root_said.show()
print(root.name, root.level, logging.getLogger("root") is root, logging.root is root, root.hasHandlers())

a = logging.getLogger("a")
abc = logging.getLogger("a.b.c")
print(
    abc.parent is a,
    logging.getLogger("a.b").parent is a,
    abc.parent.name,
    a.getChild("x.y").name,
    root.getChild("z").name,
)
print(logging.getLogger("a") is a, repr(a), a.getEffectiveLevel(), abc.isEnabledFor(logging.INFO))
a.setLevel("DEBUG")
abc.debug("seen")
a.info("too")
logging.getLogger("ab").info("not")
root_said.show()
a_said = Said(logging.ERROR)
a.addHandler(a_said)
a.addHandler(a_said)
abc.error("twice")
abc.info("once")
a_said.show()
root_said.show()
a.propagate = False
abc.error("here only")
a_said.show()
root_said.show()
a.removeHandler(a_said)
a.propagate = True
a.disabled = True
a.error("mute")
abc.error("through a still")
a.disabled = False
root_said.show()
logging.disable(logging.ERROR)
abc.error("no")
abc.critical("yes")
logging.disable(logging.NOTSET)
root_said.show()

try:
    1 / 0
except ZeroDivisionError as e:
    a.exception("failed %s", "so")
    a.error("plain", exc_info=True)
    a.warning("given", exc_info=e)
    for line in root_said.lines:
        lines = line.split("\n")
        print(lines[0], len(lines) > 2, lines[-1].split(":")[0])
    root_said.lines = []
a.error("none", exc_info=None)
root_said.show()

f = logging.Formatter("%(asctime)s %(levelno)d %(x)s: %(message)s")
f.converter = time.gmtime
print(isinstance(logging.makeLogRecord({}), logging.LogRecord))
r = logging.makeLogRecord(
    {
        "name": "n",
        "msg": "m %d",
        "args": (5,),
        "levelno": 20,
        "levelname": "INFO",
        "x": 1,
        "created": 1e9 + 0.25,
        "msecs": 250,
    }
)
print(
    f.format(r),
    f.formatTime(r),
    f.formatTime(r, "%d.%m.%y %H:%M"),
    f.usesTime(),
    logging.Formatter("%(message)s").usesTime(),
)
print(logging.Formatter("{levelname}: {message}", style="{").format(r), logging.Formatter().format(r), r.getMessage())
print(
    logging.Formatter("%(message)s %(more)s", defaults={"more": "M"}).format(r),
    r.levelname,
    r.name,
    logging.BASIC_FORMAT,
)
f = logging.Formatter("%(asctime)s", "%Y")
f.converter = time.gmtime
print(f.format(r))
tried(logging.Formatter, "no fields")
tried(logging.Formatter, "{a}", style="?")

print(logging.getLevelName(10), logging.getLevelName("ERROR"), logging.getLevelName(33), logging.getLevelName("x"))
logging.addLevelName(5, "TRACE")
a.setLevel("TRACE")
a.log(5, "fine")
root_said.show()
print(
    a.level,
    logging.WARN,
    logging.FATAL,
    logging.NOTSET,
    logging.CRITICAL,
    sorted(logging.getLevelNamesMapping().items()),
)
tried(a.setLevel, "LOUD")
tried(a.setLevel, 1.5)
tried(a.log, "INFO", "x")

a.addFilter(lambda record: "secret" not in record.getMessage())
a.info("secret")
a.info("open")
root_said.addFilter(logging.Filter("a.b"))
a.info("not below")
abc.info("below")
root_said.filters.clear()
root_said.show()
a.filters.clear()
a.info("with more", extra={"user": "u"})
tried(a.info, "x", extra={"message": 1})
tried(a.info, "x", extra={"name": 1})
root_said.setFormatter(logging.Formatter("%(user)s %(message)s"))
logging.LoggerAdapter(a, {"user": "me"}).warning("adapted %d", 1)
root_said.show()

stream = io.StringIO()
h = logging.StreamHandler(stream)
h.setFormatter(logging.Formatter("<%(message)s>"))
m = MemoryHandler(3, target=h)
a.propagate = False
a.addHandler(m)
a.info("1")
print(repr(stream.getvalue()))
a.error("2")
print(repr(stream.getvalue()))
a.info("3")
m.close()
print(repr(stream.getvalue()), h.name, h.level, h.terminator == "\n")
b = BufferingHandler(2)
b.emit(r)
print(len(b.buffer))
b.emit(r)
print(len(b.buffer))
a.removeHandler(m)
a.addHandler(logging.NullHandler())
a.error("to nobody")

for handler in list(root.handlers):
    root.removeHandler(handler)
print(logging.lastResort.level)
last = logging.lastResort = Said(logging.WARNING)
lone = logging.getLogger("lone")
lone.warning("by the last resort")
lone.info("not at all")
last.show()
logging.basicConfig(stream=sys.stdout, level=logging.INFO)
logging.info("as the default has it")
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(message)s")
logging.debug("changes nothing")
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(message)s", force=True)
logging.debug("by force")
tried(logging.basicConfig, stream=sys.stdout, filename="x", force=True)


class Mine(logging.Logger):
    pass


logging.setLoggerClass(Mine)
print(type(logging.getLogger("mine")).__name__, logging.getLoggerClass() is Mine)
logging.setLoggerClass(logging.Logger)
tried(logging.setLoggerClass, int)
logging.shutdown()
tried(logging.basicConfig, foo=1)
