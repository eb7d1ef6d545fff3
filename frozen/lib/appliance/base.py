# SPDX-License-Identifier: MIT
"""What every appliance has: its settings, log, metrics and checks."""

import sys
import time

import floe

from .log import LEVELS, Log
from .metrics import Metrics
from .settings import Port, Settings, SettingsError

_MEMORY = (
    ("ram", "RAM of the VM."),
    ("ram_free", "RAM, free."),
    ("c_used", "Memory of network, TLS and drivers, used."),
    ("gc_total", "The script's memory."),
    ("gc_used", "The script's memory, used."),
)


class BaseApp:
    """An appliance of a name. `defaults` are its settings (settings.py says which types); more: a dict of them. tables:
    names of its file's tables, which it checks itself, also where they are none.

    A setting that cannot be is printed and ends the script with exit code 2."""

    is_ready = False
    is_stopping = False

    def __init__(self, name: str, more: dict | None = None, tables: tuple = (), **defaults: object) -> None:
        self.name = name
        self.metrics = Metrics()
        self.counter = self.metrics.counter
        self.gauge = self.metrics.gauge
        self.histogram = self.metrics.histogram
        self._checks: dict = {}  # name -> function
        try:
            self.settings = Settings(
                name, dict({"metrics_port": Port(9100), "log_level": "info"}, **(more or {}), **defaults), tables
            )
            if self.settings.log_level not in LEVELS:
                raise SettingsError("LOG_LEVEL=%s: one of %s" % (self.settings.log_level, ", ".join(LEVELS)))
        except SettingsError as exc:
            self.fail(str(exc))
        self.log = Log(name, self.settings.log_level)
        self._start = time.time()

    def fail(self, problem: str) -> None:
        """Print what is wrong with the settings and end."""
        print("error %s: %s" % (self.name, problem))
        sys.exit(2)

    def check(self, name: str, function: object) -> None:
        """Health asks function(): True, or what is wrong as text (False: no more to say)."""
        self._checks[name] = function

    def ready(self) -> None:
        """The appliance serves: /ready says so from here on."""
        self.is_ready = True

    def problems(self) -> list:
        """What the checks say."""
        found = []
        for name in sorted(self._checks):
            try:
                said = self._checks[name]()
            except Exception as exc:
                said = "%s: %s" % (type(exc).__name__, exc)
            if said is not True:
                found.append("%s: %s" % (name, said) if said else name)
        return found

    def page(self) -> str:
        """All metrics as text. Those that every appliance has are made when somebody asks first."""
        if self._start is not None:
            self.gauge("floe_info", "Which image this is.", ("name", "version")).labels(*floe.app()).set(1)
            self.gauge("process_start_time_seconds", "Seconds since 1970.").set(self._start)
            for key, text in _MEMORY:
                self.gauge("floe_%s_bytes" % key, text, function=lambda key=key: floe.mem_info()[key])
            self.gauge("floe_log_dropped_lines", "Lines without room.", function=lambda: self.log.dropped)
            self._start = None
        return self.metrics.text()
