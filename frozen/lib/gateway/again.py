# SPDX-License-Identifier: MIT
"""A file read again while packets flow, and what the console of a router or firewall takes."""

import time

from appliance import Settings, SettingsError

from .views import counters, flows, routes, rules


def told(exc: Exception) -> str:
    """What was raised, for a line: what is wrong in a file needs no name of an exception."""
    return str(exc) if isinstance(exc, SettingsError) else "%s: %s" % (type(exc).__name__, exc)


def reload(app: object, use: object) -> bool:
    """Read the settings again and have them in force by use(settings). If that raises, those before stay, for it has
    changed nothing; the log says what came of it."""
    start = time.ticks_ms()
    try:
        settings = Settings(app.name, app.settings.defaults, app.settings.known)
        use(settings)
    except Exception as exc:  # MemoryError, for one; of a file in Python anything
        app.log.error("the configuration stays as it was: %s", told(exc))
        return False
    app.settings = settings
    app.log.info("read again (%d ms)", time.ticks_diff(time.ticks_ms(), start))
    return True


def commands(**more: object) -> dict:
    """Commands for appliance.console.Console: tables of the engine, and more."""
    return dict({"routes": routes, "flows": flows, "counters": counters, "rules": rules}, **more)
