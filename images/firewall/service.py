# SPDX-License-Identifier: MIT
"""Start, running and end of the firewall: rules in force, read again on wish, and what they tell passed on."""

import asyncio
import gc
import sys
import time
from syslog import NOTICE, WARNING, Syslog
from syslog import told as line_of

import network
import packet
import ruleset
from appliance import App, SettingsError
from gateway import TABLES as SHARED
from gateway import Gateway, Plan, commands, measure, told
from gateway import reload as read_again
from zones import TABLES, Zones, rule_set

DEFAULTS = {
    "flows": 0,
    "drop_echo": False,
    "log_denied": True,
    "log_console": False,
    "autoconf6": ["auto"],
    "rules": "",
    "reload_s": 5,
}
_TICK_MS = 200
_TICKS = 5  # from one look at addresses and files to the next


class Service:
    """files: reload.Files in an image with disks, or None."""

    running: object = None

    def __init__(self, files: object) -> None:
        self.app = App("firewall", DEFAULTS, SHARED + TABLES)
        self.files = files
        self._syslog = None
        self._zones = 0
        self._syslogs_before = (0, 0)  # sent and lost by those before
        self._more = None  # what of ruleset is in force
        settings = self.app.settings
        for key in ("flows", "reload_s"):
            if getattr(settings, key) < 0:
                self.app.fail("%s: %s: %d is less than 0" % (settings.file or "settings", key, getattr(settings, key)))
        self.gateway = Gateway(settings.flows)
        # Cards that believe advertisements of routers, as boot arguments have it. None does until the file is read.
        self._automatic = [i for i, card in enumerate(network.route()) if card.ipconfig("autoconf6")]
        self._believe([])
        if files is not None:
            files.have_changed(settings)  # since now
        try:
            self._use(settings)
        except (ValueError, OSError, MemoryError) as exc:
            self.app.fail(told(exc))
        self._measure()

    # ---- rules ----------------------------------------------------------------------------------

    def reload(self) -> bool:
        """Read the settings again. If something is wrong with them, or with rules, those before stay in force."""
        return read_again(self.app, self._use)

    def _use(self, settings: object) -> None:
        """Have settings in force, or raise with all as it was."""
        where = settings.rules or "%s, ruleset.py" % settings.file
        try:
            self._take(settings)
        except packet.RuleError as exc:  # says which rule
            raise SettingsError("%s: %s" % (where, exc))

    def _take(self, settings: object) -> None:
        plan = Plan(settings, TABLES)
        cards = network.route()
        dhcp = [i for i, card in enumerate(cards) if card.ipconfig("dhcp4")]
        zones = Zones(settings, plan, dhcp, [i for i, card in enumerate(cards) if _has_fixed6(card)])
        table = settings.tables.get("syslog")
        log = self._syslog
        if table is None:
            log = None
        elif log is None or log.made_of != table:
            log = Syslog("%s: syslog" % plan.file, table, network.hostname(), self.app.name)
        rules = rule_set(plan, zones, self._python(settings))
        count, believing = len(zones.names), zones.believing
        settings.tables = zones = None  # large, and all is taken
        gc.collect()
        self.gateway.use(plan, rules)
        self._believe(believing)
        self._more = _names_of(ruleset)
        if log is not self._syslog and self._syslog is not None:
            self._syslogs_before = self.syslog_counts()
            self._syslog.close()
        self._syslog = log
        self._zones = count

    def _believe(self, cards: list) -> None:
        """Routers that advertise themselves at these cards, and no others."""
        for number in self._automatic:
            card, is_on = network.LAN(number), number in cards
            if card.ipconfig("autoconf6") != is_on:
                card.ipconfig(autoconf6=is_on)

    def _python(self, settings: object) -> object:
        """Rules in Python: of a file, or of the module."""
        if not settings.rules:
            return ruleset
        if self.files is None:
            raise SettingsError("%s: rules: this image has no disk; `--variant disk` has" % (settings.file or "RULES"))
        return self.files.rules(settings.rules)

    # ---- telling --------------------------------------------------------------------------------

    def syslog_counts(self) -> tuple:
        sent, lost = self._syslogs_before
        log = self._syslog
        return (sent, lost) if log is None else (sent + log.sent, lost + log.lost)

    def _measure(self) -> None:
        app = self.app
        measure(app, self.gateway)
        app.check("routes", self.gateway.problems)
        app.counter("firewall_syslog_sent_total", "Lines sent.", function=lambda: self.syslog_counts()[0])
        app.counter("firewall_syslog_lost_total", "Lines lost.", function=lambda: self.syslog_counts()[1])

    def _tell(self) -> None:
        """Pass on what rules have told since the last time."""
        log, app = self._syslog, self.app
        if log is None and not app.settings.log_console:
            return
        found = packet.rule_log()
        if found:
            cards = {number: name for name, number in self.gateway.plan.cards.items()}
            offset = time.time_ns() - time.ticks_us() * 1000
            for record in found:
                text = line_of(record, cards)
                if log is not None:
                    refused = record.text.startswith(("denied", "spoofed"))
                    log.put(WARNING if refused else NOTICE, offset + record.time_ns, text)
                if app.settings.log_console:
                    app.log.line(text)
        if log is not None:
            log.send()

    # ---- running --------------------------------------------------------------------------------

    async def serve(self) -> None:
        app = self.app
        app.ready()
        app.log.info("%d zones in force, %d cards", self._zones, len(self.gateway.plan.cards))
        turn = 0
        try:
            while True:
                turn += 1
                try:
                    self._tell()
                    if turn % _TICKS == 0:
                        self.gateway.refresh()
                        self._look()
                except Exception as exc:  # no memory, or an address that cannot be
                    app.log.exception(exc)
                await asyncio.sleep_ms(_TICK_MS)
        finally:
            self._tell()
            if self._syslog is not None:
                self._syslog.close()

    def _look(self) -> None:
        """Whether something has changed: a file, or the module by `floe swap`."""
        if self.files is not None and self.files.have_changed(self.app.settings):
            self.reload()
        elif _names_of(ruleset) != self._more:
            self._more = _names_of(ruleset)
            self.reload()


def _has_fixed6(card: object) -> bool:
    """Whether it was given an IPv6 address. Those have no lifetime."""
    return any(not life and not address.startswith("fe80:") for address, _, _, life in card.ipconfig("addr6"))


def _names_of(module: object) -> tuple:
    return tuple(
        [id(getattr(module, name)) for name in ("rules", "prerouting", "input", "forward", "postrouting", "chains")]
    )


def reload() -> None:
    """For `floe exec NAME 'import service; service.reload()'` of a dev image."""
    Service.running.reload()


async def _commands(names: dict) -> None:
    """Lines of the console, each a command."""
    from appliance.console import Console

    class Loop:  # one stream, waited for by this task
        stream = None

        def watch(self, stream: object, target: object, events: int) -> None:
            self.stream = stream

        def unwatch(self, stream: object) -> None:
            self.stream = None

    loop = Loop()
    console = Console(loop, "firewall", names)
    while loop.stream is not None:
        yield asyncio.core._io_queue.queue_read(loop.stream)
        try:
            console.ready(1)
        except Exception as exc:
            sys.print_exception(exc)


def run(files: object = None) -> None:
    """files: of an image with disks."""
    service = Service.running = Service(files)

    async def main() -> None:
        task = asyncio.create_task(_commands(commands(reload=service.reload)))
        try:
            await service.serve()
        finally:
            task.cancel()

    service.app.run(main())
