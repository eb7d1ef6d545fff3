# SPDX-License-Identifier: MIT
"""A plan put in force: rules and routes of the engine, all at once or not at all; flows go on."""

import packet
from appliance import SettingsError

from .plan import addresses_of

_EHOSTUNREACH = 113
_WHY = {17: "is an address of this machine", 19: "there is no such card", 28: "there are too many routes"}


class Gateway:
    """plan: the one in force, or None. flows: how many the engine keeps track of; 0: as memory allows."""

    def __init__(self, flows: int = 0) -> None:
        self.plan = None
        self.pending: dict = {}  # routes whose gateway no card's network has yet: refresh() tries again
        self._flows = flows
        self._routes: dict = {}  # those that the engine has of us

    def use(self, plan: object, rules: object) -> None:
        """Have a plan and its rule set in force, in place of those before, which stay if it raises: RuleError,
        SettingsError, MemoryError. Forwarding begins with the first one."""
        if self.plan is None and self._flows:
            try:
                packet.track(self._flows)
            except (ValueError, OSError):
                raise SettingsError("flows = %d: there is no memory for so many" % self._flows)
        program = rules.compile()  # the rules themselves are not kept: a thousand take 1 MB
        before = dict(self._routes)
        before.update(self.pending)
        try:
            self._change(plan.routes)
            packet.load(program)
        except Exception:  # MemoryError, too
            self._change(before)
            raise
        if self.plan is None:
            packet.forward()
        self.plan = plan
        self.refresh()

    def refresh(self) -> None:
        """To be called every second or so: addresses that DHCP changed, and gateways that are there now."""
        for number, known in self.plan.addresses.items():
            found = addresses_of(number)
            if found != list(known):
                known.replace(found)
        if self.pending:
            wanted = dict(self._routes)
            wanted.update(self.pending)
            self._change(wanted)

    def problems(self) -> object:
        """For app.check(): True, or which routes cannot be in force yet."""
        if not self.pending:
            return True
        return "no card's network has the gateway of: " + ", ".join(sorted(self.pending))

    def _change(self, wanted: dict) -> None:
        """Have the engine's routes be these. Raises SettingsError."""
        for prefix in list(self._routes):
            if prefix not in wanted:
                self._remove(prefix)
        self.pending = {}
        for prefix in sorted(wanted):
            if self._routes.get(prefix) == wanted[prefix]:
                continue
            try:
                packet.route.add(prefix, *wanted[prefix])
                self._routes[prefix] = wanted[prefix]
            except OSError as exc:
                if exc.errno != _EHOSTUNREACH:
                    raise SettingsError("route %s: %s" % (prefix, _WHY.get(exc.errno, "error %d" % exc.errno)))
                self.pending[prefix] = wanted[prefix]
                self._remove(prefix)  # one of that prefix leads elsewhere

    def _remove(self, prefix: str) -> None:
        if self._routes.pop(prefix, None) is not None:
            try:
                packet.route.remove(prefix)
            except OSError:
                pass  # it went with its card's network
