# SPDX-License-Identifier: MIT
"""What the file says of zones, as rules: whose packets may come from where, who may go where, what is told of it."""

from appliance import SettingsError
from gateway import Plan, Table
from packet import Chain, accept, count, drop, limit, log, not_, reject, rule
from packet.rules import Rule
from packet.values import ICMP_TYPES, ICMPV6_TYPES, number_range

TABLES = ("zones", "sources", "policy", "allow", "deny", "syslog")
_RULE = ("name", "from", "to", "proto", "port", "icmp", "source", "destination", "limit", "burst", "log")
_AUTO = ["auto"]  # of the setting autoconf6
_OUTSIDE = "outside"
_ACTIONS = {"accept": accept, "drop": drop, "reject": reject}
_UNITS = {"s": "per_s", "min": "per_min", "h": "per_h"}
_FAMILIES = {"icmp": (4,), "icmpv6": (6,)}
_TOLD_PER_S = 20  # records of the log that one kind of refused packets makes
_ECHO_PER_S = 100  # that this machine answers
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_LONGEST = 15
_GROUPS = (["255.255.255.255", "224.0.0.0/4"], "ff00::/8")
# Sources that are of no network: of who asks DHCP for an address, and of a link itself.
_OF_NO_NETWORK = {4: ["0.0.0.0"], 6: ["::", "fe80::/10"]}


def _with(names: object, *more: str) -> tuple:
    return tuple(sorted(names)) + more


def _by_family(networks: list) -> dict:
    """{4: networks, 6: networks}, without families that have none. They are checked already."""
    found: dict = {}
    for each in networks:
        found.setdefault(6 if ":" in each else 4, []).append(each)
    return found


class Zones:
    """A file's zones. plan: a gateway.Plan of the same file. Raises SettingsError.

    names: {zone: its cards}; prerouting, input, forward: lists of rules, without those for flows that are known;
    believing: numbers of cards whose addresses and routers are what routers there advertise."""

    def __init__(self, settings: object, plan: Plan, dhcp: list, fixed: list) -> None:
        """Numbers of cards. dhcp: those that ask DHCP for their address; fixed: that were given one of IPv6."""
        self._file = plan.file
        self._plan = plan
        self._is_echo_dropped = settings.drop_echo
        self._is_told = settings.log_denied
        self.names = self._zones(settings.tables.get("zones"))
        self.believing = self._believing(settings.autoconf6, fixed)
        self._from = _with(self.names, "any")
        self._to = _with(self.names, "any", "this")
        self.prerouting: list = []
        self.input: list = [rule(proto="udp", in_=dhcp, sport=67, dport=68) >> accept] if dhcp else []
        self.forward: list = []
        self._spoofed(settings.tables.get("sources", {}))
        self._echo()
        for kind in ("deny", "allow"):
            for number, table in enumerate(Table.each(self._where(kind), settings.tables.get(kind, []), _RULE)):
                self._rule(table, kind, "%s %d" % (kind, number + 1))
        self._policies(settings.tables.get("policy", {}))

    def _where(self, name: str) -> str:
        return "%s: %s" % (self._file, name)

    def _zones(self, content: object) -> dict:
        if content is None:
            raise SettingsError('%s: [zones] is missing; right is inside = ["lan"]' % self._file)
        table = Table(self._where("zones"), content, tuple(content) if isinstance(content, dict) else ())
        found: dict = {}
        of: dict = {}
        for name in sorted(table.content):
            if name in ("this", "any", "default"):
                table.fail(name, "is a word of its own; give this zone another name")
            if len(name) > _LONGEST or not name or not all(char in _NAME for char in name):
                table.fail(name, "a zone's name has 1 to %d letters, digits, - and _" % _LONGEST)
            found[name] = table.names(name, self._plan.cards)
            for card in found[name]:
                if card in of:
                    where = "in zone %s, too" % of[card] if of[card] != name else "there twice"
                    table.fail(name, "%s is %s" % (card, where))
                of[card] = name
        return found

    def _believing(self, cards: list, fixed: list) -> list:
        numbers = self._plan.cards
        if cards == _AUTO:
            return [numbers[card] for card in self.names.get(_OUTSIDE, ()) if numbers[card] not in fixed]
        for card in cards:
            if card not in numbers:
                known = ", ".join(sorted(numbers))
                raise SettingsError("%s: there is no %s; there are: %s" % (self._where("autoconf6"), card, known))
        return [numbers[card] for card in cards]

    # ---- sources --------------------------------------------------------------------------------

    def _spoofed(self, content: object) -> None:
        """Rules about whose packets may come from a zone: of its own networks, or of none of the others'."""
        table = Table(self._where("sources"), content, tuple(sorted(self.names)))
        networks = {name: table.networks(name) for name in sorted(table.content)}
        of_others = [each for name in sorted(networks) for each in networks[name] if not each.endswith("/0")]
        for name in sorted(self.names):
            what = {"in_": self.names[name]}
            if name not in networks:
                for _, theirs in sorted(_by_family(of_others).items()):
                    self._refuse(self.prerouting, "spoofed %s" % name, drop, dict(what, src=theirs))
                continue
            own = _by_family(networks[name])
            for family in (4, 6):
                right = own.get(family, []) + _OF_NO_NETWORK[family]
                self._refuse(self.prerouting, "spoofed %s" % name, drop, dict(what, src=not_(right)))

    # ---- what is refused ------------------------------------------------------------------------

    def _refuse(self, rules: list, text: str, action: object, what: dict) -> None:
        """Rules that drop or reject packets, count them, and tell of some."""
        if self._is_told:
            rules.append(rule(**what) >> limit(per_s=_TOLD_PER_S) >> log(text))
        rules.append(rule(**what) >> count(text) >> action)

    def _echo(self) -> None:
        """Ping to this machine: answered by itself; DROP_ECHO: neither that nor one through it."""
        for proto in ("icmp", "icmpv6"):
            what = rule(proto=proto, icmp="echo-request")
            if self._is_echo_dropped:
                self.input.append(what >> count("echo") >> drop)
                self.forward.append(what >> count("echo") >> drop)
            else:
                self.input.append(what >> limit(per_s=_ECHO_PER_S, burst=_ECHO_PER_S) >> accept)

    # ---- rules ----------------------------------------------------------------------------------

    def _rule(self, table: Table, kind: str, number: str) -> None:
        """Rules of an [[allow]] or [[deny]]."""
        name = table.text("name", number)
        raw = name.encode()
        if not 1 <= len(raw) <= 40 or min(raw) < 32 or max(raw) > 126:
            table.fail("name", "%r: expected 1 to 40 letters of ASCII" % name)
        sources = table.names("from", self._from)
        targets = table.names("to", self._to)
        cards = self._of_zones(targets)
        what: dict = {}
        if "any" not in sources:
            what["in_"] = self._of_zones(sources)
        protocols = table.names("proto", ("tcp", "udp", "icmp", "icmpv6", "gre", "esp", "ah", "sctp", "igmp"), None)
        ports = table.ports("port", None)
        if ports is not None:
            if not protocols or any(each not in ("tcp", "udp") for each in protocols):
                table.fail("port", 'needs proto = "tcp", "udp" or both')
            what["dport"] = ports
        actions = [count(name)]
        rate = self._limit(table)
        if rate is not None:
            actions.insert(0, rate)
        if table.flag("log", False):
            actions.append(log(name))
        actions.append(accept if kind == "allow" else drop)
        done = tuple(actions)
        for found in self._ends(table, self._protocols(table, protocols, what)):
            made = Rule(found, done)
            if "this" in targets or "any" in targets:
                self.input.append(made)
            if "any" in targets:
                self.forward.append(made)
            elif cards:
                self.forward.append(Rule(dict(found, out=cards), done))

    def _protocols(self, table: Table, protocols: list | None, what: dict) -> list:
        """Conditions: (families, those of protocols), once for each family that types of ICMP need."""
        types = table.items("icmp", None, (str, int), "a type of ICMP")
        if types is None:
            families = _FAMILIES.get(protocols[0], (4, 6)) if protocols and len(protocols) == 1 else (4, 6)
            return [(families, dict(what, proto=protocols) if protocols else what)]
        if not protocols or any(each not in _FAMILIES for each in protocols):
            table.fail("icmp", 'needs proto = "icmp", "icmpv6" or both')
        for proto in protocols:
            for each in types:
                names = ICMP_TYPES if proto == "icmp" else ICMPV6_TYPES
                table.checked("icmp", number_range, each, 255, "type of %s" % proto, names)
        return [(_FAMILIES[each], dict(what, proto=each, icmp=types)) for each in protocols]

    def _ends(self, table: Table, found: list) -> list:
        """Conditions with source and destination, once for each family that has both."""
        ends = {}
        for key, word in (("src", "source"), ("dst", "destination")):
            networks = table.networks(word, None)
            if networks is not None:
                ends[key] = _by_family(networks)
        if not ends:
            return [what for _, what in found]
        out = []
        for families, what in found:
            for family in families:
                if all(family in each for each in ends.values()):
                    made = dict(what)
                    for key, each in ends.items():
                        made[key] = each[family]
                    out.append(made)
        if not out:
            table.fail(None, "source, destination and protocol are of different families")
        return out

    def _limit(self, table: Table) -> object:
        text = table.text("limit", None, "a rate, as '20/s', '100/min' or '5/h'")
        burst = table.number("burst", None, 1, 65536)
        if text is None:
            if burst is not None:
                table.fail("burst", "needs limit")
            return None
        number, _, unit = text.partition("/")
        if not number.isdigit() or unit not in _UNITS or not 1 <= int(number) <= 1000000000:
            table.fail("limit", "%r: right are '20/s', '100/min', '5/h'" % text)
        return limit(burst=burst or 5, **{_UNITS[unit]: int(number)})

    def _of_zones(self, zones: list) -> list:
        return [card for zone in zones for card in self.names.get(zone, ())]

    # ---- policies -------------------------------------------------------------------------------

    def _policies(self, content: object) -> None:
        """Rules for what no other rule is about."""
        table = Table(self._where("policy"), content, _with(self.names, "default"))
        default = self._action(table, "default", "drop")
        for name in sorted(table.content):
            if name != "default" and not isinstance(table.content[name], dict):
                table.fail(name, "%r: right is %s.TO = %r" % (table.content[name], name, "accept"))
        given = {
            name: Table(self._where("policy.%s" % name), table.content.get(name, {}), _with(self.names, "this"))
            for name in sorted(self.names)
        }
        for dst in _GROUPS:  # noise of every link: not told of
            self.input.append(rule(dst=dst) >> count("groups") >> drop)
        for name in sorted(self.names):
            for to in _with(self.names, "this"):
                action = self._action(given[name], to, None) or default
                what: dict = {"in_": self.names[name]}
                if to != "this":
                    what["out"] = self.names[to]
                rules = self.input if to == "this" else self.forward
                text = "%s to %s" % (name, to)
                if action is accept:
                    rules.append(rule(**what) >> count(text) >> accept)
                else:
                    self._refuse(rules, "denied " + text, action, what)
        for rules in (self.input, self.forward):  # cards of no zone
            self._refuse(rules, "denied", drop, {})

    @staticmethod
    def _action(table: Table, key: str, default: object) -> object:
        word = table.text(key, default)
        if word is None:
            return None
        if word not in _ACTIONS:
            table.fail(key, "%r: expected accept, drop or reject" % word)
        return _ACTIONS[word]


def rule_set(plan: Plan, zones: Zones, more: object) -> object:
    """All rules; the plan's lists are changed. more: what ruleset.py has, or a file in its place."""
    if more.rules is not None:
        more.rules.cards = more.rules.cards or plan.cards
        return more.rules
    known = [rule(state=["established", "related"]) >> accept, rule(state="invalid") >> count("invalid") >> drop]
    plan.prerouting[:0] = zones.prerouting + list(more.prerouting)
    plan.forward[:0] = known + list(more.forward)
    plan.postrouting[:0] = list(more.postrouting)
    ours = Chain("input", drop, known + list(more.input) + zones.input)
    return plan.rule_set(Chain("forward", drop, zones.forward), ours, dict(more.chains))
