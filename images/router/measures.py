# SPDX-License-Identifier: MIT
"""What /metrics and /health have of the router."""

import gateway


def add(app: object, router: object) -> None:
    lan, names = router.lan, router.names
    gateway.measure(app, router.gateway)

    def scopes(number: object) -> object:
        return lambda: [((scope.name,), number(scope)) for scope in lan.scopes]

    def cards(number: object) -> object:
        return lambda: [((card.name,), number(card)) for card in lan.cards.values()]

    def advertisements() -> list:
        found = []
        for number, each in lan.advertisers.items():
            found += [((lan.cards[number].name, what), count) for what, count in each.counts.items()]
        return found

    def forwarded(what: str) -> object:
        return lambda: getattr(names.names.forwarder, what) if names.names.forwarder is not None else 0

    app.gauge("dhcp_leases", "Leases that run.", ("network",), scopes(lambda one: one.book.taken(lan.clock())))
    app.gauge("dhcp_addresses", "Addresses to give away.", ("network",), scopes(lambda one: one.book.size))
    app.gauge("dhcp_offers", "Offers that wait.", ("network",), scopes(lambda one: len(one.book.offers)))
    app.counter(
        "dhcp_messages_total",
        "Messages, and what became of them.",
        ("kind",),
        lambda: [((name,), count) for name, count in lan.server.counts.items()],
    )
    app.counter("link_frames_lost_total", "Frames without room.", ("card",), cards(lambda card: card.lost()))
    app.counter("link_frames_malformed_total", "Frames that are none.", ("card",), cards(lambda card: card.malformed))
    app.counter("ra_total", "Router advertisements.", ("card", "what"), advertisements)
    app.counter("dns_local_total", "Answers about machines of here.", function=lambda: names.names.hits)
    app.counter("dns_forwarded_total", "Questions to other servers.", function=forwarded("asked"))
    app.counter("dns_cached_total", "Answers from the cache.", function=forwarded("hits"))
    app.check("leases", lan.problems)
    app.check("routes", router.gateway.problems)
