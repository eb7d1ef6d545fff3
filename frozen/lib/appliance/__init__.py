# SPDX-License-Identifier: MIT
"""What a service that is deployed needs beside its work: settings, a log, metrics, health, an orderly end.

Floe's own; docs/appliances.md has a page of it. A part is in an image only if its names are used.
"""

_attrs = {
    "App": "app",
    "PolledApp": "polled",
    "Settings": "settings",
    "SettingsError": "settings",
    "Size": "settings",
    "Seconds": "settings",
    "Port": "settings",
    "Log": "log",
    "Metrics": "metrics",
    "tls_context": "tlscontext",
}


def __getattr__(name):
    if name not in _attrs:
        raise AttributeError(name)
    globals()[name] = value = getattr(__import__(_attrs[name], globals(), None, (name,), 1), name)
    return value
