# SPDX-License-Identifier: MIT
# What logging's messages are before a handler has them: levels, records, formatters, filters.

import io
import sys
import time

import _strftime

CRITICAL = FATAL = 50
ERROR = 40
WARNING = WARN = 30
INFO = 20
DEBUG = 10
NOTSET = 0

BASIC_FORMAT = "%(levelname)s:%(name)s:%(message)s"
_names = {50: "CRITICAL", 40: "ERROR", 30: "WARNING", 20: "INFO", 10: "DEBUG", 0: "NOTSET"}
_start_ns = time.time_ns()


def addLevelName(level, name):
    _names[level] = name


def getLevelName(level):
    if level in _names:
        return _names[level]
    for number, name in _names.items():
        if name == level:
            return number
    return {"FATAL": 50, "WARN": 30}.get(level, "Level %s" % level)


def getLevelNamesMapping():
    levels = {name: number for number, name in _names.items()}
    levels["FATAL"] = CRITICAL
    levels["WARN"] = WARNING
    return levels


def _level(level):
    if isinstance(level, int):
        return level
    if not isinstance(level, str):
        raise TypeError("Level not an integer or a valid string: %r" % (level,))
    number = getLevelName(level)
    if not isinstance(number, int):
        raise ValueError("Unknown level: %r" % (level,))
    return number


class LogRecord:
    def __init__(self, name, level, pathname, lineno, msg, args, exc_info, func=None, sinfo=None):
        now = time.time_ns()
        self.name = name
        self.msg = msg
        if args and len(args) == 1 and isinstance(args[0], dict) and args[0]:
            args = args[0]
        self.args = args
        self.levelno = level
        self.levelname = getLevelName(level)
        self.pathname = self.filename = pathname
        self.module = "(unknown file)"
        self.lineno = lineno
        self.funcName = func
        self.exc_info = exc_info
        self.exc_text = None
        self.stack_info = sinfo
        self.created = now / 1000000000
        self.msecs = float(now // 1000000 % 1000)
        self.relativeCreated = (now - _start_ns) / 1000000
        self.thread = self.process = None
        self.threadName = "MainThread"
        self.processName = "MainProcess"
        self.taskName = None

    def getMessage(self):
        text = str(self.msg)
        return text % self.args if self.args else text

    def __repr__(self):
        return '<LogRecord: %s, %s, %s, %s, "%s">' % (self.name, self.levelno, self.pathname, self.lineno, self.msg)


def makeLogRecord(attributes):
    record = LogRecord(None, 0, "", 0, "", (), None)
    for name, value in attributes.items():
        setattr(record, name, value)
    return record


class Formatter:
    default_time_format = "%Y-%m-%d %H:%M:%S"
    default_msec_format = "%s,%03d"
    converter = time.gmtime  # a VM's local time is UTC

    def __init__(self, fmt=None, datefmt=None, style="%", validate=True, *, defaults=None):
        if style not in ("%", "{"):
            raise ValueError("Style must be one of: %, {")
        self._fmt = fmt or ("{message}" if style == "{" else "%(message)s")
        self._style = style
        self._defaults = defaults
        self.datefmt = datefmt
        if validate and ("{" if style == "{" else "%(") not in self._fmt:
            raise ValueError("Invalid format %r for %r style" % (self._fmt, style))

    def usesTime(self):
        return "asctime" in self._fmt

    def formatTime(self, record, datefmt=None):
        convert = self.__dict__.get("converter") or type(self).converter  # a C function would be bound as a method
        when = convert(int(record.created))
        if datefmt:
            return _strftime.strftime(datefmt, when, 0, ("+0000", "UTC"))
        text = _strftime.strftime(self.default_time_format, when)
        return self.default_msec_format % (text, record.msecs) if self.default_msec_format else text

    def formatException(self, exc_info):
        out = io.StringIO()
        sys.print_exception(exc_info[1], out)
        return out.getvalue().rstrip("\n")

    def formatStack(self, stack_info):
        return stack_info

    def formatMessage(self, record):
        values = dict(self._defaults) if self._defaults else {}
        values.update(record.__dict__)
        return self._fmt.format(**values) if self._style == "{" else self._fmt % values

    def format(self, record):
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        text = self.formatMessage(record)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        for more in (record.exc_text, record.stack_info and self.formatStack(record.stack_info)):
            if more:
                text += ("" if text.endswith("\n") else "\n") + more
        return text


_plain = Formatter()


class Filter:
    """Lets through what comes from a logger or from below it."""

    def __init__(self, name=""):
        self.name = name

    def filter(self, record):
        return not self.name or (record.name + ".").startswith(self.name + ".")


class Filterer:
    def __init__(self):
        self.filters = []

    def addFilter(self, filter):
        if filter not in self.filters:
            self.filters.append(filter)

    def removeFilter(self, filter):
        if filter in self.filters:
            self.filters.remove(filter)

    def filter(self, record):
        """The record, or another in its place, or what is false."""
        for f in self.filters:
            said = f.filter(record) if hasattr(f, "filter") else f(record)
            if not said:
                return False
            if isinstance(said, LogRecord):
                record = said
        return record
