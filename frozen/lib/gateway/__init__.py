# SPDX-License-Identifier: MIT
"""What routers and firewalls have in common: cards by names, routes, translated addresses and forwarded ports from a
TOML file, put in force while packets flow; tables of it for people, numbers for Prometheus. docs/gateway.md has the
keys. A part is in an image only if its names are used."""

_attrs = {
    "Plan": "plan",
    "Table": "table",
    "TABLES": "plan",
    "Gateway": "inforce",
    "measure": "measure",
    "commands": "again",
    "reload": "again",
    "told": "again",
    "counters": "views",
    "flows": "views",
    "routes": "views",
    "rules": "views",
    "show": "views",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value
