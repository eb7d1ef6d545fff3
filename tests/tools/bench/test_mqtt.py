# SPDX-License-Identifier: MIT
"""tools/floe/bench/mqtt.py, mqttload.c: what is delivered and lost, with brokers that behave, lose, lie and hang up."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from floe.bench import linux, mqtt
from floe.bench.experiment import Options, Turn
from floe.bench.running import Endpoint
from floe.errors import NotFound, VmError


def turn(quick: bool = False) -> Turn:
    return Turn(0, quick, time.monotonic() + 200)


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (more := sock.recv(count - len(data))):
            raise ConnectionError
        data += more
    return data


def packet(sock: socket.socket) -> tuple[int, bytes, bytes]:
    """Its first byte, what follows its length, and all of it; a length has one byte here, or two."""
    begin = exactly(sock, 2)
    length = begin[1]
    if length > 127:
        begin += exactly(sock, 1)
        length = (length & 127) | begin[2] << 7
    body = exactly(sock, length)
    return begin[0], body, begin + body


class Broker:
    """A thread for each client. lose: every so manieth message goes to nobody; fault: what is done at the third."""

    def __init__(self, lose: int, fault: str) -> None:
        self.lose, self.fault = lose, fault
        self.subscribers: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = Endpoint("127.0.0.1", self.listener.getsockname()[1])
        self.acknowledged = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        messages = 0
        with sock, suppress(OSError):
            while True:
                kind, body, whole = packet(sock)
                if kind == 0x10:
                    sock.sendall(b"\x20\2\0" + (b"\5" if self.fault == "refuse" else b"\0"))
                elif kind == 0x82:
                    self.subscribers.append(sock)
                    sock.sendall(b"\x90\3\0\1" + body[-1:])
                elif kind == 0x40:
                    self.acknowledged += 1
                elif kind >> 4 == 3:
                    messages += 1
                    self._pass_on(sock, messages, kind, body, whole)

    def _pass_on(self, publisher: socket.socket, number: int, kind: int, body: bytes, whole: bytes) -> None:
        if kind & 6:
            at = 2 + int.from_bytes(body[:2], "big")
            publisher.sendall(b"\x40\2" + body[at : at + 2])
        if self.lose and number % self.lose == 0:
            return
        if self.fault and number == 3:
            whole = {"cut": whole[:1] + b"\x04\0\2ab", "twice": whole * 2}.get(self.fault, b"")
            if not whole:
                publisher.shutdown(socket.SHUT_RDWR)
                return
        for sock in self.subscribers:
            sock.sendall(whole)


@contextmanager
def brokering(lose: int = 0, fault: str = "") -> Iterator[Broker]:
    broker = Broker(lose, fault)
    try:
        yield broker
    finally:
        broker.listener.close()


def loaded(broker: Broker, *words: str) -> dict[str, float]:
    argv = [str(mqtt.program()), *words, f"{broker.endpoint.address}:{broker.endpoint.port}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    said: dict[str, float] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("qos", [0, 1])
def test_each_subscriber_s_messages_are_counted_and_acknowledged(qos: int) -> None:
    with brokering() as broker:
        said = loaded(broker, "-r", "100", "-d", "0.5", "-s", "3", "-q", str(qos), "-t", "30")
    assert (said["published"], said["expected"], said["delivered"], said["repeated"]) == (50, 150, 150, 0)
    assert said["acknowledged"] == 50 * qos
    assert 0 < said["p50_ms"] <= said["p99_ms"] <= said["max_ms"]


def test_what_is_passed_over_is_lost() -> None:
    with brokering(lose=10) as broker:
        values = mqtt.put(mqtt.Load(0, 2, 100), broker.endpoint, turn(), 0.45)  # the last one, of 45, comes
    assert values["lost"] == pytest.approx(100 * 4 / 45)


def test_with_a_window_no_more_is_on_its_way() -> None:
    with brokering(lose=1) as broker:  # nothing comes, and so nothing follows
        said = loaded(broker, "-w", "7", "-d", "0.2", "-t", "0.5")
    assert (said["published"], said["delivered"], said["per_s"]) == (7, 0, 0)


def test_without_a_rate_as_many_go_as_all_get() -> None:
    with brokering() as broker:
        values = mqtt.put(mqtt.Load(1, 2, 0), broker.endpoint, turn(), 0.5)
    assert values["per_s"] > 0 and values["lost"] == 0
    assert "late_ms" not in values


def test_a_message_that_comes_twice_counts_once() -> None:
    with brokering(fault="twice") as broker:
        said = loaded(broker, "-r", "20", "-d", "0.5", "-q", "1", "-t", "30")
    assert (said["delivered"], said["repeated"]) == (10, 1)


@pytest.mark.parametrize(("fault", "words"), [
    ("refuse", "refused by the broker"), ("cut", "a message is not as it was sent"),
    ("hang up", "publisher 0: the broker has hung up"),
])  # fmt: skip
def test_a_broker_s_faults_are_told(fault: str, words: str) -> None:
    with brokering(fault=fault) as broker, pytest.raises(VmError, match="measured nothing") as caught:
        mqtt.put(mqtt.Load(0, 1, 100), broker.endpoint, turn(), 0.5)
    assert words in caught.value.evidence


def test_a_broker_that_delivers_nothing_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_TIMEOUT_S", 0.5)
    with brokering(lose=1) as broker, pytest.raises(VmError, match=r"QoS 0, 1 subscriber, 100/s: no message"):
        mqtt.put(mqtt.Load(0, 1, 100), broker.endpoint, turn(), 0.1)


@pytest.mark.parametrize("words", [["-s", "0"], ["-q", "2"], ["-b", "8"], ["-w", "0"], ["-d", "0"], ["-x"]])
def test_what_the_load_cannot_do_is_refused(words: list[str]) -> None:
    done = subprocess.run([mqtt.program(), *words, "127.0.0.1:1"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stderr


def test_from_a_wheel_one_sentence_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_IMAGE", tmp_path / "mqtt")
    with pytest.raises(NotFound, match="images/mqtt is in a checkout of Floe only"):
        mqtt.prepare(Options(quick=True, accels=("tcg",)))


@pytest.mark.parametrize("name", ["Floe, TCG", "mosquitto, process"])
def test_a_round_of_a_contender(name: str) -> None:
    if name.startswith("mosquitto") and not linux.is_there("mosquitto"):
        pytest.skip("SKIP: mosquitto is not installed")
    experiment = mqtt.prepare(Options(quick=True, accels=("tcg",)))
    (contender,) = (one for one in experiment.contenders if one.name == name)
    found = {reading.at: reading.values for reading in contender.measure(turn(quick=True))}
    assert set(found) == {load.at for load in mqtt._QUICK_LOADS}
    assert all(values["per_s"] > 0 and values["p99_ms"] > 0 for values in found.values())
