# SPDX-License-Identifier: MIT
"""Packets that go from card to card, without Python in between; the engine is in C. A part is in an image only if its
names are used."""

_attrs = {
    "RuleError": "rules",
    "RuleSet": "rules",
    "Chain": "rules",
    "Set": "rules",
    "Map": "rules",
    "rule": "rules",
    "not_": "rules",
    "accept": "rules",
    "drop": "rules",
    "reject": "rules",
    "masquerade": "rules",
    "ret": "rules",
    "log": "rules",
    "count": "rules",
    "mark": "rules",
    "jump": "rules",
    "dnat": "rules",
    "snat": "rules",
    "limit": "rules",
    "load": "inuse",
    "unload": "inuse",
    "rule_counters": "inuse",
    "rule_log": "inuse",
    "rule_log_lost": "inuse",
    "bridge": "router",
    "counters": "router",
    "flow_count": "router",
    "flows": "router",
    "forward": "router",
    "route": "router",
    "routes": "router",
    "track": "router",
    "vlan": "router",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value
