# SPDX-License-Identifier: MIT
"""What /metrics and /health tell of the server."""

import dnsname


def add(app: object, service: object) -> None:
    """To an appliance.PolledApp."""
    authority = service.authority
    zones = authority.zones

    def serials() -> list:
        return [((dnsname.to_text(name),), zone.zone.serial()) for name, zone in zones.items() if zone is not None]

    app.counter(
        "dns_queries_total", "Queries answered.", ("transport", "type", "rcode"), function=authority.counts.values
    )
    app.gauge("dns_zone_serial", "Of each zone that is served.", ("zone",), function=serials)
    app.gauge("dns_zones", "Zones, those too that have no data.", function=lambda: len(zones))
    app.gauge("dns_tcp_connections", "Open ones.", function=lambda: len(service.tcp.connections))
    app.gauge("dns_known_answers", "Answers that wait for the same query.", function=authority.kept)
    app.check("zones", lambda: not zones or any(zone is not None for zone in zones.values()) or "none has data")
    forwarder = authority.forwarder
    if forwarder is not None:
        app.counter("dns_forwarded_total", "Questions asked of others.", function=lambda: forwarder.asked)
        app.counter("dns_cache_hits_total", "Queries answered from the cache.", function=lambda: forwarder.hits)
        app.gauge("dns_cache_entries", "Answers of others.", function=lambda: len(forwarder))
    limiter = service.limiter
    if limiter is not None:
        app.counter("dns_rate_dropped_total", "Answers over the rate.", function=lambda: limiter.dropped)
        app.counter("dns_rate_cut_total", "Answers over the rate that were cut off.", function=lambda: limiter.cut)
