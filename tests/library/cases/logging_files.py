# SPDX-License-Identifier: MIT
import logging
import logging.handlers
import os


def content(name):
    if not os.path.exists(name):
        return None
    with open(name) as f:
        return f.read().splitlines()


log = logging.getLogger("files")
log.setLevel(logging.INFO)
log.propagate = False


def use(handler, text="%(levelname)s:%(message)s"):
    handler.setFormatter(logging.Formatter(text))
    log.addHandler(handler)
    return handler


def end(handler):
    log.removeHandler(handler)
    handler.close()


h = use(logging.FileHandler("app.log"))
log.info("one %d", 1)
log.debug("not heard")
print(content("app.log"), os.path.basename(h.baseFilename))
end(h)
h = use(logging.FileHandler("app.log", mode="a", encoding="utf-8"))
log.warning("two")
end(h)
print(content("app.log"))
h = use(logging.FileHandler("late.log", mode="w", delay=True))
print(os.path.exists("late.log"), h.stream)
log.error("now")
end(h)
print(content("late.log"), h.stream)
h = use(logging.FileHandler("app.log", mode="w"))
try:
    raise KeyError("gone")
except KeyError:
    log.exception("failed")
end(h)
lines = content("app.log")
print(lines[0], lines[1], lines[-1].startswith("KeyError"))
try:
    logging.FileHandler("no/such/folder/x.log")
except OSError:
    print("OSError")
h = use(logging.handlers.RotatingFileHandler("r.log", maxBytes=40, backupCount=2), "%(message)s")
for n in range(10):
    log.info("message number %d", n)
print([content(name) for name in ("r.log", "r.log.1", "r.log.2", "r.log.3")])
end(h)
h = use(logging.handlers.RotatingFileHandler("r.log", maxBytes=40, backupCount=2), "%(message)s")
log.info("a line after it was opened again")
print([content(name) for name in ("r.log", "r.log.1")], h.maxBytes, h.backupCount)
h.doRollover()
print([content(name) for name in ("r.log", "r.log.1")])
end(h)
h = use(logging.handlers.RotatingFileHandler("one.log", maxBytes=30), "%(message)s")
for n in range(3):
    log.info("no backup of %d", n)
print(os.path.exists("one.log.1"), len(content("one.log")))
end(h)
logging.basicConfig(filename="root.log", level=logging.INFO, format="%(name)s %(message)s", force=True)
logging.getLogger("sub").info("by the root")
logging.shutdown()
print(content("root.log"))
logging.basicConfig(level=logging.WARNING, force=True)
