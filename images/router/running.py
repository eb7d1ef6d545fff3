# SPDX-License-Identifier: MIT
"""Start, running and end of the router."""

import socket
import time

import appliance
import gateway
import measures
import network
import vfs  # noqa: F401 - a disk is mounted where this is imported
from appliance.console import Console
from config import DEFAULTS, TABLES, Config
from lanside import LanSide
from nameside import NameSide
from packet import Chain, RuleError, accept, count, drop, not_, rule
from packet.values import shown
from views import show_leases, show_status

_SECOND_MS = 1000


def clock() -> int:
    return int(time.time())


class Router:
    """Owns the cards, and what is done on them."""

    running: object = None
    to_reload = False

    def __init__(self, app: appliance.PolledApp, config: Config) -> None:
        self.app = app
        self.config = config
        self.gateway = gateway.Gateway(app.settings.flows)
        self.lan = LanSide(app, clock)
        self.names = NameSide(app, self.lan, clock)

    def start(self) -> None:
        """Raises SettingsError, OSError."""
        self.use(self.config)
        self._second()
        self.app.loop.call_later(_SECOND_MS, self._second, _SECOND_MS)

    def use(self, config: Config) -> None:
        """Raises SettingsError, OSError; then those before stay in force."""
        served = self.lan.checked(config)
        try:
            self.gateway.use(config.plan, rules(config))
        except RuleError as exc:  # says which rule
            raise appliance.SettingsError("%s: %s" % (config.plan.file, exc))
        self.lan.start(config, served)
        self.names.start(config)
        self.config = config

    def _second(self) -> None:
        if self.to_reload:
            self.to_reload = False
            self.reload()
        self.gateway.refresh()
        self.names.refresh()

    def reload(self) -> None:
        """Read the file again; if it is wrong, all stays as it was."""
        gateway.reload(self.app, lambda settings: self.use(Config(settings)))


def rules(config: Config) -> object:
    """From a card of `masquerade` only answers, forwarded ports and static addresses pass; from others, everything."""
    plan = config.plan
    plan.prerouting[:0] = spoofed(plan.cards)
    outside = config.values.tables.get("nat", {}).get("masquerade", [])
    if not outside:
        return plan.rule_set()
    static = [each["inside"] for each in config.values.tables["nat"].get("static", [])]
    within = [rule(state=["established", "related"]) >> accept]
    forward = list(within)
    if static:
        forward.append(rule(in_=outside, dst=static) >> accept)
    forward.append(rule(in_=outside) >> drop)
    own = [
        within[0],
        rule(in_=outside, proto=["icmp", "icmpv6"]) >> accept,
        rule(in_=outside, proto="udp", sport=67, dport=68) >> accept,  # of the server that this machine is a client of
        rule(in_=outside) >> drop,
    ]
    return plan.rule_set(Chain("forward", accept, forward), Chain("input", accept, own))


def spoofed(cards: dict) -> list:
    """Rules that drop sources of another card's network, which could inject into flows of others. Networks of cards
    whose address DHCP may change have no such rule."""
    found = []
    for name, number in sorted(cards.items()):
        card = network.LAN(number)
        own, mask = (int.from_bytes(socket.inet_pton(socket.AF_INET, each), "big") for each in card.ipconfig("addr4"))
        if own and not card.ipconfig("dhcp4"):
            theirs = "%s/%d" % (shown(4, own & mask), bin(mask).count("1"))
            found.append(rule(in_=not_([name]), src=theirs) >> count("spoofed " + name) >> drop)
    return found


def reload() -> None:
    """At a REPL, whose code runs in the midst of other things: within a second; the log says what came of it."""
    Router.running.to_reload = True


def leases() -> None:
    """Addresses that are given away."""
    show_leases(Router.running.lan, clock())


def status() -> None:
    """Numbers of DHCP and of names."""
    show_status(Router.running)


def run(more: dict | None = None) -> None:
    """Until the VM is asked for its end. more: commands beside."""
    app = appliance.PolledApp("router", DEFAULTS, gateway.TABLES + TABLES)
    try:
        router = Router.running = Router(app, Config(app.settings))
        router.start()
    except appliance.SettingsError as exc:
        app.fail(gateway.told(exc))
    measures.add(app, router)
    known = gateway.commands(leases=leases, status=status, reload=router.reload, **(more or {}))
    Console(app.loop, "router", known)
    app.ready()
    app.log.info("routing between %d cards", len(router.config.plan.cards))
    if app.settings.file is None:
        app.log.warning("there is no router.toml: nobody is given an address or a name server")
    try:
        app.run()
    finally:
        router.lan.stop()
        time.sleep_ms(50)  # what was sent leaves with the next turn of the network
    app.log.info("stopped")
