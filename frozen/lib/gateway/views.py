# SPDX-License-Identifier: MIT
"""What the engine does, as tables for people: at a REPL, or as commands of a console."""

import packet

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_FLOWS = 40


def show(head: tuple, rows: list) -> None:
    """Print rows of texts or numbers below a head; numbers stand at the right."""
    rows = [tuple(map(str, row)) for row in rows]
    widths = [max([len(row[i]) for row in [head] + rows]) for i in range(len(head))]
    for row in [head] + rows:
        cells = [_cell(text, width) for text, width in zip(row, widths)]
        print("  ".join(cells).rstrip())


def _cell(text: str, width: int) -> str:
    space = " " * (width - len(text))
    return space + text if text.isdigit() else text + space


def routes() -> None:
    """All routes."""
    show(("to", "via", "card", "kind"), [
        (each["prefix"], each["via"] or "-", each["card"], each["kind"]) for each in packet.routes()
    ])  # fmt: skip


def _end(pair: tuple) -> str:
    return "[%s]:%d" % pair if ":" in pair[0] else "%s:%d" % pair


def flows(most: int = _FLOWS) -> None:
    """Flows, at most so many, and how many there are."""
    rows = []
    for each in packet.flows():
        if len(rows) == most:
            break
        proto = _PROTOCOLS.get(each["proto"], each["proto"])
        translated = (each["reply_src"], each["reply_dst"]) != (each["dst"], each["src"])
        as_ = "%s -> %s" % (_end(each["reply_dst"]), _end(each["reply_src"])) if translated else "-"
        rows.append((proto, _end(each["src"]), _end(each["dst"]), as_, each["packets"], each["reply_packets"],
                     each["bytes"] + each["reply_bytes"]))  # fmt: skip
    show(("proto", "from", "to", "translated", "sent", "back", "bytes"), rows)
    print("%d of %d flows" % (len(rows), packet.flow_count()))


def counters() -> None:
    """What became of packets, as far as there were any."""
    found = packet.counters()
    show(("packets", "count"), [(name, found[name]) for name in sorted(found) if found[name]])


def rules() -> None:
    """Counters of rules."""
    found = packet.rule_counters()
    show(("rule", "packets", "bytes"), [(name, found[name][0], found[name][1]) for name in sorted(found)])
    lost = packet.rule_log_lost()
    if lost:
        print("%d records of the log were lost" % lost)
