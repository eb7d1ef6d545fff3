# SPDX-License-Identifier: MIT
"""chrome.py and summary.py: a time line as a file for Perfetto, and as text."""

from __future__ import annotations

import io
import json

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from floe.profile import chrome, summary
from floe.profile.samples import Frame
from floe.profile.timeline import Packet, Sample, Span, Timeline

MAIN, WORK = Frame("a.py", 9, "main"), Frame("a.py", 4, "work")
QUERY = bytes(Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=9, dport=53) / b"?")
ANSWER = bytes(Ether() / IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=53, dport=9) / b"!!")


def line() -> Timeline:
    return Timeline(
        seconds=2.0,
        waits=[Span(0.0, 0.5), Span(0.75, 2.0)],
        collections=[Span(0.51, 0.512), Span(0.6, 0.605)],
        packets=[Packet(0.5, 0, True, len(QUERY), QUERY), Packet(0.7, 0, False, len(ANSWER), ANSWER)],
        samples=[Sample(0.1, (MAIN,)), Sample(0.55, (MAIN, WORK)), Sample(0.65, (MAIN, WORK)), Sample(0.8, None)],
        errors=(0.0001, 0.0002),
        notes=["no packets of net1: it is a tap"],
    )


def test_the_file_is_json_with_each_track_in_the_order_of_time() -> None:
    file = io.StringIO()
    chrome.write(file, "web", line())
    told = json.loads(file.getvalue())
    assert told["otherData"]["inexact by at most, us"] == {"waits and collections": 100.0, "packets": 200.0}
    events = told["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert sorted(names.values()) == ["Python (sampled)", "garbage collection", "net0 in", "net0 out", "processor"]
    tracks: dict[str, list[tuple[str, float, float | None]]] = {}
    for event in events:
        if event["ph"] != "M":
            assert event["pid"] == 1
            tracks.setdefault(names[event["tid"]], []).append((event["name"], event["ts"], event.get("dur")))
    assert tracks["processor"] == [("runs", 500000.0, 250000.0)]
    assert tracks["Python (sampled)"] == [
        ("a.py:9 main", 100000.0, 450000.0),
        ("a.py:4 work", 550000.0, 250000.0),
        ("(not known)", 800000.0, 1200000.0),
    ]
    assert tracks["garbage collection"] == [("collects", 510000.0, 2000.0), ("collects", 600000.0, 5000.0)]
    assert tracks["net0 in"] == [("UDP 10.0.0.1:9 > 10.0.0.2:53 1 bytes", 500000.0, None)]
    assert tracks["net0 out"] == [("UDP 10.0.0.2:53 > 10.0.0.1:9 2 bytes", 700000.0, None)]


def test_the_summary_has_the_longest_of_each() -> None:
    assert list(summary.lines("web", line())) == [
        "web: 2.0 s",
        "processor: woken 1 times, 0/s; waited 88 %; ran for 250.0 ms at most, at 0.500 s",
        "garbage: collected 2 times, 7.0 ms in all; the longest pause is of 5.0 ms, at 0.600 s, by a.py:4 work",
        f"net0: 1 packets in, {len(QUERY)} bytes; 1 packets out, {len(ANSWER)} bytes",
        "answers: 1, after 200.0 ms in the median; the longest wait is of 200.0 ms, at 0.500 s: "
        "UDP 10.0.0.1:9 > 10.0.0.2:53 1 bytes",
        "no packets of net1: it is a tap",
    ]


def test_a_processor_that_never_waits_runs_all_the_time() -> None:
    busy = Timeline(seconds=1.0)
    assert chrome.running(busy) == [Span(0.0, 1.0)]
    assert list(summary.lines("busy", busy))[1:] == [
        "processor: woken 0 times, 0/s; waited 0 %; ran for 1.00 s at most, at 0.000 s",
        "garbage: never collected",
    ]


def test_what_was_too_fast_is_told() -> None:
    fast = Timeline(seconds=1.0, lost_spans=3, lost_packets=2)
    assert chrome.running(fast) == [], "nobody knows when it waited"
    assert list(summary.lines("fast", fast))[-1] == (
        "too fast to be read: 3 waits or collections, 2 packets: --rate 1000"
    )


def test_a_second_question_waits_for_the_answer_as_long_as_the_first() -> None:
    asked = [Packet(at, 0, True, len(QUERY), QUERY) for at in (0.1, 0.2)]
    other_card = Packet(0.25, 1, False, len(ANSWER), ANSWER)
    answered = Packet(0.4, 0, False, len(ANSWER), ANSWER)
    found = summary.answers(Timeline(seconds=1.0, packets=[*asked, other_card, answered, answered]))
    assert [(answer.begin, round(answer.seconds, 6)) for answer in found] == [(0.1, 0.3)]
