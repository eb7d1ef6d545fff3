# SPDX-License-Identifier: MIT
"""What the router knows, as tables for people: at a REPL, or as commands of the console."""

from ether import ip4_text, mac_text
from gateway import show


def show_leases(lan: object, now: int) -> None:
    """Addresses that are given away."""
    rows = []
    for scope in lan.scopes:
        for lease in sorted(scope.book.leases.values(), key=lambda lease: lease.address):
            left = lease.until - now
            state = "%d s" % left if left > 0 else "over"
            rows.append((ip4_text(lease.address), mac_text(lease.hardware), lease.name or "-", scope.name, state))
    show(("address", "hardware", "name", "network", "left"), rows)


def show_status(router: object) -> None:
    """Numbers of DHCP, advertisements and names."""
    rows = []
    for scope in router.lan.scopes:
        book = scope.book
        rows.append((scope.name, book.size, book.taken(router.lan.clock()), len(book.offers), len(book.declined)))
    show(("network", "addresses", "leases", "offers", "in use by others"), rows)
    counts = router.lan.server.counts
    show(("dhcp", "messages"), [(name, counts[name]) for name in sorted(counts)])
    names = router.names.names
    forwarder = names.forwarder
    if forwarder is not None:
        print(
            "dns: %d of here, forwarded %d, from the cache %d, %d kept"
            % (names.hits, forwarder.asked, forwarder.hits, len(forwarder))
        )
