# SPDX-License-Identifier: MIT
"""What the engine counts, as metrics of an appliance."""

import network
import packet

_WAY_NAMES = ("received", "sent", "dropped", "full")
_WAYS = ((0, 3, 2, 5), (1, 4))  # where they stand in LAN.config("stats"): frames, bytes


def measure(app: object, gateway: object) -> None:
    """Add metrics to an appliance. gateway: a Gateway with a plan in force."""

    def packets() -> list:
        return [((name,), value) for name, value in packet.counters().items() if name != "forwarded_bytes"]

    def rules(which: int) -> object:
        return lambda: [((name,), pair[which]) for name, pair in packet.rule_counters().items()]

    def cards(first: int) -> object:
        """first: 0 for frames, 1 for bytes."""

        def found() -> list:
            out = []
            for name, number in gateway.plan.cards.items():
                stats = network.LAN(number).config("stats")
                for at, way in zip(_WAYS[first], _WAY_NAMES):
                    out.append(((name, way), stats[at]))
            return out

        return found

    app.counter("packet_packets_total", "Packets by what became of them.", ("result",), packets)
    app.counter("packet_forwarded_bytes_total", "Bytes.", function=lambda: packet.counters()["forwarded_bytes"])
    app.counter("packet_rule_packets_total", "Packets that a rule counted.", ("rule",), rules(0))
    app.counter("packet_rule_bytes_total", "Bytes that a rule counted.", ("rule",), rules(1))
    app.counter("packet_log_lost_total", "Records of rules without room.", function=packet.rule_log_lost)
    app.counter("packet_card_frames_total", "Frames of a card.", ("card", "what"), cards(0))
    app.counter("packet_card_bytes_total", "Bytes of a card.", ("card", "what"), cards(1))
    app.gauge("packet_flows", "Flows now.", function=packet.flow_count)
