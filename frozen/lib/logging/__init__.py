# SPDX-License-Identifier: MIT
# CPython's logging: a tree of loggers, their levels and handlers. What asks the interpreter for a caller's place
# (%(lineno)d and its kind) says 0 and "(unknown ...)": MicroPython keeps no frames. An image runs one thread: no locks.

import sys

from ._record import (
    BASIC_FORMAT,
    CRITICAL,
    DEBUG,
    ERROR,
    FATAL,
    INFO,
    NOTSET,
    WARN,
    WARNING,
    Filter,
    Filterer,
    Formatter,
    LogRecord,
    _level,
    _plain,
    addLevelName,
    getLevelName,
    getLevelNamesMapping,
    makeLogRecord,
)

raiseExceptions = True


class Handler(Filterer):
    def __init__(self, level=NOTSET):
        super().__init__()
        self.level = _level(level)
        self.formatter = None
        self.name = None
        _handlers.append(self)

    def get_name(self):
        return self.name

    def set_name(self, name):
        self.name = name

    def setLevel(self, level):
        self.level = _level(level)

    def setFormatter(self, formatter):
        self.formatter = formatter

    def format(self, record):
        return (self.formatter or _plain).format(record)

    def handle(self, record):
        said = self.filter(record)
        if said:
            self.emit(said)
        return said

    def emit(self, record):
        raise NotImplementedError("emit must be implemented by Handler subclasses")

    def acquire(self):
        pass

    def release(self):
        pass

    def flush(self):
        pass

    def close(self):
        if self in _handlers:
            _handlers.remove(self)

    def handleError(self, record):
        """A handler that fails does not end the script: what went wrong is printed."""
        if raiseExceptions:
            print("--- Logging error ---", file=sys.stderr)
            sys.print_exception(sys.exc_info()[1], sys.stderr)
            print("Message: %r\nArguments: %s" % (record.msg, record.args), file=sys.stderr)


_handlers = []


class NullHandler(Handler):
    def handle(self, record):
        pass

    def emit(self, record):
        pass


class StreamHandler(Handler):
    terminator = "\n"

    def __init__(self, stream=None):
        super().__init__()
        self.stream = sys.stderr if stream is None else stream

    def setStream(self, stream):
        if stream is self.stream:
            return None
        old, self.stream = self.stream, stream
        return old

    def flush(self):
        if self.stream is not None and hasattr(self.stream, "flush"):
            self.stream.flush()

    def emit(self, record):
        try:
            self.stream.write(self.format(record) + self.terminator)
            self.flush()
        except Exception:
            self.handleError(record)


class FileHandler(StreamHandler):
    """Writes to a file of a disk of the VM."""

    def __init__(self, filename, mode="a", encoding=None, delay=False, errors=None):
        self.baseFilename = filename
        self.mode = mode
        super().__init__(None)
        self.stream = None if delay else self._open()

    def _open(self):
        return open(self.baseFilename, self.mode)

    def emit(self, record):
        if self.stream is None:
            self.stream = self._open()
        super().emit(record)

    def close(self):
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        super().close()


class Logger(Filterer):
    manager = None

    def __init__(self, name, level=NOTSET):
        super().__init__()
        self.name = name
        self.level = _level(level)
        self.parent = None
        self.propagate = True
        self.handlers = []
        self.disabled = False

    def __repr__(self):
        return "<%s %s (%s)>" % (type(self).__name__, self.name, getLevelName(self.getEffectiveLevel()))

    def setLevel(self, level):
        self.level = _level(level)

    def getEffectiveLevel(self):
        logger = self
        while logger:
            if logger.level:
                return logger.level
            logger = logger.parent
        return NOTSET

    def isEnabledFor(self, level):
        return not self.disabled and level > _disabled[0] and level >= self.getEffectiveLevel()

    def getChild(self, suffix):
        return getLogger(suffix if self is root else self.name + "." + suffix)

    def getChildren(self):
        return {logger for logger in _loggers.values() if logger.parent is self}

    def addHandler(self, handler):
        if handler not in self.handlers:
            self.handlers.append(handler)

    def removeHandler(self, handler):
        if handler in self.handlers:
            self.handlers.remove(handler)

    def hasHandlers(self):
        logger = self
        while logger:
            if logger.handlers:
                return True
            logger = logger.parent if logger.propagate else None
        return False

    def debug(self, msg, *args, **how):
        self._log(DEBUG, msg, args, **how)

    def info(self, msg, *args, **how):
        self._log(INFO, msg, args, **how)

    def warning(self, msg, *args, **how):
        self._log(WARNING, msg, args, **how)

    warn = warning

    def error(self, msg, *args, **how):
        self._log(ERROR, msg, args, **how)

    def critical(self, msg, *args, **how):
        self._log(CRITICAL, msg, args, **how)

    fatal = critical

    def exception(self, msg, *args, exc_info=True, **how):
        self._log(ERROR, msg, args, exc_info=exc_info, **how)

    def log(self, level, msg, *args, **how):
        if not isinstance(level, int):
            raise TypeError("level must be an integer")
        self._log(level, msg, args, **how)

    def _log(self, level, msg, args, exc_info=None, extra=None, stack_info=False, stacklevel=1):
        if not self.isEnabledFor(level):
            return
        if isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, None)
        elif exc_info and not isinstance(exc_info, tuple):
            exc_info = sys.exc_info()
        if exc_info and exc_info[1] is None:
            exc_info = None
        place = ("(unknown file)", 0)
        self.handle(self.makeRecord(self.name, level, *place, msg, args, exc_info, "(unknown function)", extra))

    def makeRecord(self, name, level, fn, lno, msg, args, exc_info, func=None, extra=None, sinfo=None):
        record = LogRecord(name, level, fn, lno, msg, args, exc_info, func, sinfo)
        for key in extra or ():
            if key in ("message", "asctime") or hasattr(record, key):
                raise KeyError("Attempt to overwrite %r in LogRecord" % key)
            setattr(record, key, extra[key])
        return record

    def handle(self, record):
        if self.disabled:
            return
        record = self.filter(record)
        if record:
            self.callHandlers(record)

    def callHandlers(self, record):
        logger = self
        found = False
        while logger:
            for handler in logger.handlers:
                found = True
                if record.levelno >= handler.level:
                    handler.handle(record)
            logger = logger.parent if logger.propagate else None
        if not found and lastResort is not None and record.levelno >= lastResort.level:
            lastResort.handle(record)


class RootLogger(Logger):
    def __init__(self, level):
        super().__init__("root", level)


class LoggerAdapter:
    """A logger whose messages carry more."""

    def __init__(self, logger, extra=None):
        self.logger = logger
        self.extra = extra

    def process(self, msg, kwargs):
        kwargs["extra"] = self.extra
        return msg, kwargs

    def log(self, level, msg, *args, **kwargs):
        msg, kwargs = self.process(msg, kwargs)
        self.logger.log(level, msg, *args, **kwargs)

    def debug(self, msg, *args, **kwargs):
        self.log(DEBUG, msg, *args, **kwargs)

    def info(self, msg, *args, **kwargs):
        self.log(INFO, msg, *args, **kwargs)

    def warning(self, msg, *args, **kwargs):
        self.log(WARNING, msg, *args, **kwargs)

    def error(self, msg, *args, **kwargs):
        self.log(ERROR, msg, *args, **kwargs)

    def critical(self, msg, *args, **kwargs):
        self.log(CRITICAL, msg, *args, **kwargs)

    def exception(self, msg, *args, exc_info=True, **kwargs):
        self.log(ERROR, msg, *args, exc_info=exc_info, **kwargs)

    def setLevel(self, level):
        self.logger.setLevel(level)

    def isEnabledFor(self, level):
        return self.logger.isEnabledFor(level)

    def getEffectiveLevel(self):
        return self.logger.getEffectiveLevel()


class _Stderr(StreamHandler):
    """Whatever sys.stderr is when it is written to."""

    def emit(self, record):
        self.stream = sys.stderr
        super().emit(record)


lastResort = _Stderr()
lastResort.setLevel(WARNING)
root = RootLogger(WARNING)
Logger.root = root
_loggers = {}
_disabled = [NOTSET]
_logger_class = [Logger]


def getLogger(name=None):
    if not name or name == "root":
        return root
    logger = _loggers.get(name)
    if logger is None:
        logger = _loggers[name] = _logger_class[0](name)
        logger.parent = _above(name)
        for other, child in _loggers.items():
            if other.startswith(name + ".") and len(child.parent.name if child.parent is not root else "") < len(name):
                child.parent = logger
    return logger


def _above(name):
    while "." in name:
        name = name[: name.rfind(".")]
        if name in _loggers:
            return _loggers[name]
    return root


def getLoggerClass():
    return _logger_class[0]


def setLoggerClass(cls):
    if not issubclass(cls, Logger):
        raise TypeError("logger not derived from logging.Logger: " + cls.__name__)
    _logger_class[0] = cls


def disable(level=CRITICAL):
    _disabled[0] = _level(level)


def basicConfig(*, filename=None, filemode="a", format=None, datefmt=None, style="%", level=None, stream=None,
                handlers=None, force=False, encoding=None, errors=None, **unknown):  # fmt: skip
    if unknown:
        raise ValueError("Unrecognised argument(s): " + ", ".join(unknown))
    if force:
        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()
    if root.handlers:
        return
    if (filename is not None) + (stream is not None) + (handlers is not None) > 1:
        raise ValueError("'stream', 'filename' and 'handlers' should not be specified together")
    if handlers is None:
        handlers = [FileHandler(filename, filemode) if filename is not None else StreamHandler(stream)]
    default = "{levelname}:{name}:{message}" if style == "{" else BASIC_FORMAT
    formatter = Formatter(format or default, datefmt, style)
    for handler in handlers:
        if handler.formatter is None:
            handler.setFormatter(formatter)
        root.addHandler(handler)
    if level is not None:
        root.setLevel(level)


def _root():
    if not root.handlers:
        basicConfig()
    return root


def debug(msg, *args, **how):
    _root().debug(msg, *args, **how)


def info(msg, *args, **how):
    _root().info(msg, *args, **how)


def warning(msg, *args, **how):
    _root().warning(msg, *args, **how)


warn = warning


def error(msg, *args, **how):
    _root().error(msg, *args, **how)


def critical(msg, *args, **how):
    _root().critical(msg, *args, **how)


fatal = critical


def exception(msg, *args, exc_info=True, **how):
    _root().error(msg, *args, exc_info=exc_info, **how)


def log(level, msg, *args, **how):
    _root().log(level, msg, *args, **how)


def shutdown():
    """Flush and close all handlers, the youngest first."""
    for handler in list(reversed(_handlers)):
        handler.flush()
        handler.close()
