# SPDX-License-Identifier: MIT
"""What a client's test came to, in iperf3's JSON form and as lines."""


def summary(client: object) -> dict:
    """Of a Client3 or a Client2 that has run."""
    plan, report = client.plan, client.report
    sent, received = _both_sides(client)
    end = {"sum_sent": sent, "sum_received": received}
    if plan.udp:
        end["sum"] = dict(received, **_datagrams(client))
    start = {
        "version": "Floe images/iperf",
        "connecting_to": {"host": plan.host, "port": plan.port},
        "test_start": {
            "protocol": "UDP" if plan.udp else "TCP",
            "num_streams": plan.parallel,
            "blksize": plan.length,
            "duration": 0 if plan.bytes else plan.seconds,
            "bytes": plan.bytes,
            "reverse": int(plan.reverse),
        },
    }
    return {"start": start, "intervals": report.intervals, "end": end}


def _both_sides(client: object) -> tuple:
    """What was sent and what was received, one of them as the server says."""
    ours = client.report.total(not client.plan.reverse)
    theirs = dict(ours, sender=client.plan.reverse)
    said = client.theirs
    if isinstance(said, dict):
        theirs["bytes"] = sum([int(each.get("bytes", 0)) for each in said.get("streams", ())])
    elif said:
        theirs["bytes"] = sum([each.bytes for each in said])
    theirs["bits_per_second"] = theirs["bytes"] * 8 / theirs["seconds"] if theirs["seconds"] else 0.0
    return (theirs, ours) if client.plan.reverse else (ours, theirs)


def _datagrams(client: object) -> dict:
    """Loss and jitter, as the receiver counted them."""
    said = client.theirs
    if client.plan.reverse:
        told = [(flow.form.jitter_s, flow.form.lost, flow.form.packets) for flow in client.flows]
    elif isinstance(said, dict):
        told = [
            (each.get("jitter", 0), each.get("errors", 0), each.get("packets", 0)) for each in said.get("streams", ())
        ]
    else:
        told = [(each.jitter_s, each.lost, each.packets) for each in said]
    lost, packets = sum([each[1] for each in told]), sum([each[2] for each in told])
    jitter = sum([each[0] for each in told]) / len(told) if told else 0.0
    return {
        "jitter_ms": jitter * 1000,
        "lost_packets": lost,
        "packets": packets,
        "lost_percent": lost * 100 / packets if packets else 0.0,
    }


def lines(said: dict) -> list:
    end = said["end"]
    text = [
        "%s %d bytes in %.2f s, %.1f Mbit/s"
        % (name, end[key]["bytes"], end[key]["seconds"], end[key]["bits_per_second"] / 1e6)
        for name, key in (("sent", "sum_sent"), ("received", "sum_received"))
    ]
    if "sum" in end:
        figures = end["sum"]
        what = (figures["jitter_ms"], figures["lost_packets"], figures["packets"], figures["lost_percent"])
        text.append("jitter %.3f ms, %d of %d datagrams lost (%.2f %%)" % what)
    return text
