# SPDX-License-Identifier: MIT
"""images/mqtt serves mosquitto's clients and one that writes its packets by hand: QoS, retained messages, wills, sessions
that outlive connections and VMs, users, TLS, limits, packets that are none."""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.boot.mqttguest import (
    CONNACK,
    DISCONNECT,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    UNSUBACK,
    BootMqtt,
    Client,
    connect,
    packet,
    run,
    serve,
    text,
)
from tests.support.certs import Certificates
from tests.support.command import floe
from tests.support.vms import until

PING = b"\xc0\0"
NEVER = b"\x11\xff\xff\xff\xff"  # a property: the session stays
V5 = 5


@pytest.fixture
def boot_mqtt(boot: Boot) -> Iterator[BootMqtt]:
    yield from serve(boot)


def test_mosquitto_publishes_and_subscribes(boot_mqtt: BootMqtt) -> None:
    mqtt = boot_mqtt()
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("SKIP: mosquitto_sub is not installed")
    for version in ("mqttv311", "mqttv5"):
        before = mqtt.metric("mqtt_subscriptions")
        words = ["-V", version, "-p", mqtt.port]
        argv = [str(word) for word in ["mosquitto_sub", *words, "-t", "a/+/c", "-t", "a/#", "-q", "2", "-C", "3", "-v"]]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as subscriber:
            try:
                until(lambda before=before: mqtt.metric("mqtt_subscriptions") == before + 2, "the subscription")
                for qos in (0, 1, 2):
                    run("mosquitto_pub", *words, "-t", f"a/b{qos}/c", "-m", f"hello {qos}", "-q", qos)
                assert subscriber.communicate(timeout=30)[0].split("\n")[:3] == [
                    f"a/b{qos}/c hello {qos}" for qos in (0, 1, 2)
                ]
            finally:
                subscriber.kill()
        until(lambda before=before: mqtt.metric("mqtt_subscriptions") == before, "the end of it")
        run("mosquitto_pub", *words, "-t", "kept/x", "-m", version, "-r", "-q", "1")
        assert run("mosquitto_sub", *words, "-t", "kept/#", "-C", "1", "-v") == f"kept/x {version}\n"
        run("mosquitto_sub", *words, "-c", "-i", "away", "-q", "1", "-t", "late", "-E", *_stay(version))
        run("mosquitto_pub", *words, "-t", "late", "-m", "waits", "-q", "1")
        assert run("mosquitto_sub", *words, "-c", "-i", "away", "-q", "1", "-t", "late", "-C", "1") == "waits\n"
    said = run("mosquitto_sub", "-p", mqtt.port, "-t", "$SYS/broker/version", "-C", "1")
    assert said.startswith("Floe images/mqtt ")
    assert mqtt.metric("mqtt_dropped_total") == 0
    mqtt.stop()


def _stay(version: str) -> list[str]:
    return ["-x", "100"] if version == "mqttv5" else []


def test_quality_of_service(boot_mqtt: BootMqtt) -> None:
    mqtt = boot_mqtt()
    with Client(mqtt.port, connect(b"pub")) as pub:
        pub.expect(CONNACK)
        sub = Client(mqtt.port, connect(b"sub", flags=0))
        assert sub.expect(CONNACK)[1] == b"\0\0"
        assert sub.subscribe(b"t/+", 2) == b"\2"
        for _ in range(2):  # the second one is a duplicate
            pub.publish(b"t/x", b"two", 2, 9)
            assert pub.expect(PUBREC)[1] == b"\0\x09"
        flags, topic, number, payload = sub.message()
        assert (flags, topic, payload) == (4, b"t/x", b"two")
        pub.send(packet(0x62, b"\0\x09"))
        assert pub.expect(PUBCOMP)[1] == b"\0\x09"
        pub.publish(b"t/y", b"one", 1, 10)
        assert pub.expect(PUBACK)[1] == b"\0\x0a"
        assert sub.message()[1:2] == (b"t/y",)
        sub.send(packet(0x50, struct.pack(">H", number)))
        assert sub.expect(PUBREL) == (2, struct.pack(">H", number))
        sub.sock.close()
        until(lambda: mqtt.metric("mqtt_clients") == 1, "the end of the connection")
        pub.publish(b"t/z", b"later", 1, 11)
        pub.expect(PUBACK)
        with Client(mqtt.port, connect(b"sub", flags=0)) as sub:
            assert sub.expect(CONNACK)[1] == b"\1\0"
            assert sub.expect(PUBREL) == (2, struct.pack(">H", number))
            flags, topic, again, payload = sub.message()
            assert (flags, topic, payload) == (10, b"t/y", b"one")
            flags, topic, number, payload = sub.message()
            assert (flags, topic, payload) == (2, b"t/z", b"later") and number != again
            sub.send(packet(0xA2, b"\0\1" + text(b"t/+") + text(b"none")) + PING)
            assert sub.expect(UNSUBACK)[1] == b"\0\1"
            sub.expect(PINGRESP)
            pub.publish(b"t/x", b"nobody")
            pub.send(PING)
            pub.expect(PINGRESP)
            sub.send(PING)
            sub.expect(PINGRESP)
    mqtt.stop()


@pytest.mark.any_accel
def test_wills_keep_alive_and_one_name(boot_mqtt: BootMqtt) -> None:
    mqtt = boot_mqtt()
    with Client(mqtt.port, connect(b"watch")) as watch:
        watch.expect(CONNACK)
        assert watch.subscribe(b"will/#") == b"\0"
        will = [text(b"will/" + name) + text(b"gone") for name in (b"cut", b"silent", b"good", b"twice")]
        with Client(mqtt.port, connect(b"cut", flags=0x26, rest=will[0])) as client:
            client.expect(CONNACK)
        assert watch.message() == (0, b"will/cut", 0, b"gone")
        with Client(mqtt.port, connect(b"silent", flags=6, keep_alive=1, rest=will[1])) as client:
            client.expect(CONNACK)
            assert client.ended()  # after a second and a half without a word
        assert watch.message()[1] == b"will/silent"
        with Client(mqtt.port, connect(b"good", flags=6, rest=will[2])) as client:
            client.expect(CONNACK)
            client.send(b"\xe0\0")
            assert client.ended()
        with Client(mqtt.port, connect(b"twice", V5, 6, rest=b"\0" + will[3])) as client:
            assert client.expect(CONNACK)[1][:2] == b"\0\0"
            with Client(mqtt.port, connect(b"twice", V5)) as other:
                other.expect(CONNACK)
                assert client.expect(DISCONNECT)[1][:1] == b"\x8e"
                assert client.ended()
        assert watch.message()[1] == b"will/twice"  # and none of the good one
        assert watch.subscribe(b"will/cut") == b"\0"
        assert watch.message() == (1, b"will/cut", 0, b"gone")  # retained
    mqtt.stop()


@pytest.mark.any_accel
def test_version_5(boot_mqtt: BootMqtt) -> None:
    mqtt = boot_mqtt(SUBSCRIPTIONS="2")
    with Client(mqtt.port, connect(b"", V5)) as client:
        said = client.expect(CONNACK)[1]
        assert said[:2] == b"\0\0" and b"\x12\0\x15auto-" in said
    with Client(mqtt.port, connect(b"five", V5, props=NEVER)) as client:
        assert b"\x11" in client.expect(CONNACK)[1]  # a week, not for ever
        assert client.subscribe(b"n", 4, V5) == b"\0"
        assert client.subscribe(b"r/#", 8, V5) == b"\0"
        assert client.subscribe(b"$share/g", 0, V5) == b"\x8f"
        assert client.subscribe(b"a/#/b", 0, V5) == b"\x8f"
        assert client.subscribe(b"more", 0, V5) == b"\x97"
        client.send(packet(0x30, text(b"n") + b"\0own"))  # not back to us
        kind, user = b"\x03\0\x01t", b"\x26\0\x01k\0\x01v"
        props = kind + user
        client.send(packet(0x31, text(b"r/1") + bytes([len(props)]) + props + b"x"))
        flags, body = client.expect(3)
        assert flags == 1 and body[-1:] == b"x" and kind in body and user in body
        client.send(packet(0xA2, b"\0\1\0" + text(b"n") + text(b"none")))
        assert client.expect(UNSUBACK)[1] == b"\0\1\0\0\x11"
        client.send(packet(0x10, b""))
        assert client.expect(DISCONNECT)[1][:1] == b"\x82"
        assert client.ended()
    with Client(mqtt.port, connect(b"five", V5, 0)) as client:
        assert client.expect(CONNACK)[1][:2] == b"\1\0"
    with Client(mqtt.port, connect(b"old", 3)) as client:
        assert client.expect(CONNACK)[1] == b"\0\1"
        assert client.ended()
    mqtt.stop()


def test_sessions_on_a_disk(boot_mqtt: BootMqtt, tmp_path: Path) -> None:
    disk = tmp_path / "mqtt.img"
    assert floe("disk", "create", disk, "--size", "4M").returncode == 0
    first = boot_mqtt(disks=[str(disk)])
    with Client(first.port, connect(b"away", flags=0)) as client:
        client.expect(CONNACK)
        assert client.subscribe(b"x", 1) == b"\1"
    until(lambda: first.metric("mqtt_clients") == 0, "the end of the connection")
    with Client(first.port, connect(b"pub")) as client:
        client.expect(CONNACK)
        client.publish(b"x", b"kept \xff\0", 1, 1, 1)
        client.expect(PUBACK)
    assert "no disk" not in first.stop()
    second = boot_mqtt(disks=[str(disk)])
    assert "info mqtt: /mqtt.db: 1 sessions, 1 retained messages" in second.vm.console_text
    with Client(second.port, connect(b"away", flags=0)) as client:
        assert client.expect(CONNACK)[1] == b"\1\0"
        assert client.message()[1:] == (b"x", 1, b"kept \xff\0")
    second.stop()
    (tmp_path / "mqtt.db").write_bytes(b"floe-mqtt 1\nxxxxxxx")
    assert floe("disk", "cp", disk, tmp_path / "mqtt.db", ":/mqtt.db").returncode == 0
    assert "/mqtt.db is not whole" in boot_mqtt(disks=[str(disk)]).stop()


@pytest.mark.any_accel
def test_users(boot_mqtt: BootMqtt, boot: Boot, tmp_path: Path) -> None:
    users = tmp_path / "users"
    digest = hashlib.sha256(b"salt" + b"pass word").hexdigest()
    users.write_text(f"# who may\nann:secret\nbob:sha256:salt:{digest}\n")
    mqtt = boot_mqtt(secrets={"users": users})
    words = ["mosquitto_pub", "-p", mqtt.port, "-t", "t", "-m", "m", "-q", "1"]
    run(*words, "-u", "ann", "-P", "secret")
    run(*words, "-u", "bob", "-P", "pass word")
    run(*words, "-u", "ann", "-P", "Secret", code=4)
    run(*words, code=4)
    with Client(mqtt.port, connect(b"x", V5, 0x82, rest=text(b"eve"))) as client:
        assert client.expect(CONNACK)[1][:2] == b"\0\x86"
        assert client.ended()
    assert "refused, reason 134" in mqtt.stop()
    users.write_text("ann\n")
    vm = boot("mqtt", deadline_s=60, secrets={"users": users}, ports=[])
    assert vm.wait() == 2
    assert "error mqtt: secret users, line 1: expected NAME:PASSWORD" in vm.console_text


def test_tls(boot_mqtt: BootMqtt, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    mqtt = boot_mqtt({"cert": certificates.pem("good"), "key": certificates.key("good")}, variant="tls")
    words = ["-h", "127.0.0.1", "-p", mqtt.port, "--cafile", certificates.pem("ca"), "-t", "t", "-q", "1"]
    run("mosquitto_pub", *words, "-m", "sealed", "-r")
    assert run("mosquitto_sub", *words, "-C", "1") == "sealed\n"
    mqtt.stop()


HEAD = text(b"MQTT") + b"\4\2\0\0"
HOSTILE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x10\xff\xff\xff\xff\x7f",
    b"\x10\xff\xff\xff\x7f",
    b"\x11\x0c" + HEAD[:12],
    PING,
    b"\x10\0",
    packet(0x10, HEAD),
    packet(0x10, HEAD + text(b"x") + b"more"),
    packet(0x10, HEAD + text(b"\xff\xfe")),
    packet(0x10, HEAD + b"\0\x09short"),
    packet(0x10, text(b"MQTT") + b"\4\3\0\0" + text(b"x")),
    packet(0x10, text(b"MQTT") + b"\5\2\0\0" + b"\x7f" + text(b"x")),
    packet(0x10, text(b"MQTT") + b"\5\2\0\0" + b"\2\x7f\0" + text(b"x")),
    *(
        connect(b"h") + each
        for each in (
            connect(b"h"),
            b"\xf0\0",
            b"\0\0",
            packet(0x30, b""),
            packet(0x30, text(b"a/#")),
            packet(0x30, text(b"")),
            packet(0x36, text(b"a") + b"\0\1"),
            packet(0x32, text(b"a") + b"\0\0"),
            packet(0x32, text(b"a")),
            packet(0x80, b"\0\1" + text(b"a") + b"\0"),
            packet(0x82, b"\0\1"),
            packet(0x82, b"\0\1" + text(b"a") + b"\3"),
            packet(0x82, b"\0\1" + text(b"a")),
            packet(0xA2, b"\0\1"),
            packet(0x40, b"\1"),
            packet(0x60, b"\0\1"),
        )
    ),
]


def test_hostile_packets_and_limits(boot_mqtt: BootMqtt) -> None:
    mqtt = boot_mqtt(CLIENTS="2", MAX_PACKET="2K", QUEUED="3")
    for data in HOSTILE:
        began = time.monotonic()
        with Client(mqtt.port, data) as client:
            assert client.ended(), data
        assert time.monotonic() - began < 9, data  # and not only when the time for CONNECT was over, after 10 s
    for number in range(30):  # they end while they are answered
        with Client(mqtt.port, connect(b"r%d" % number)) as client:
            client.expect(CONNACK)
            client.send(PING * 1000 * (number % 7 + 1))
            client.reset()
    until(lambda: mqtt.metric("mqtt_clients") == 0, "the end of all")
    with Client(mqtt.port, connect(b"one", flags=0)) as one, Client(mqtt.port) as slow:
        one.expect(CONNACK)
        assert one.subscribe(b"q", 1) == b"\1"
        for byte in connect(b"slow"):
            slow.send(bytes([byte]))
        slow.expect(CONNACK)
        with Client(mqtt.port, connect(b"three")) as three:
            assert three.expect(CONNACK)[1] == b"\0\3"
            assert three.ended()
        one.sock.close()
        until(lambda: mqtt.metric("mqtt_clients") == 1, "the end of a connection")
        for number in range(1, 6):
            slow.publish(b"q", b"%d" % number, 1, number)
            slow.expect(PUBACK)
        assert mqtt.metric("mqtt_dropped_total") == 2
        slow.publish(b"$SYS/broker/version", b"mine", 0, 0, 1)
        slow.publish(b"big", bytes(2100))
        assert slow.ended()
    with Client(mqtt.port, connect(b"one", flags=0)) as one:
        one.expect(CONNACK)
        assert [one.message()[3] for _ in range(3)] == [b"1", b"2", b"3"]
        assert one.subscribe(b"$SYS/broker/version") == b"\0"
        assert one.message()[3].startswith(b"Floe ")
    mqtt.stop()


@pytest.mark.any_accel
def test_what_clients_leave_has_an_end(boot_mqtt: BootMqtt) -> None:
    """Sessions, subscriptions and retained messages of strangers leave room for others, and are given back."""
    mqtt = boot_mqtt(KEPT="40K", SYS="0")
    with Client(mqtt.port, connect(b"one")) as one:
        one.expect(CONNACK)
        for number in range(12):  # of which half of it takes nine
            one.publish(b"r%d" % number, bytes(1700), 1, 1, 1)
            one.expect(PUBACK)
        mqtt.vm.expect_exact("no room to retain a message of b'r9'")
        assert mqtt.metric("mqtt_retained") == 9 and mqtt.metric("mqtt_kept_bytes") == 9 * 2102
        with Client(mqtt.port, connect(b"lasting" * 100, flags=0)) as lasting:
            lasting.expect(CONNACK)
        with Client(mqtt.port, connect(b"late", flags=0)) as late:
            assert late.expect(CONNACK)[1] == b"\0\3" and late.ended()
        mqtt.vm.expect_exact("no room for the session of another client (KEPT)")
        with Client(mqtt.port, connect(b"two", version=5)) as two:
            two.expect(CONNACK)
            codes = [two.subscribe(b"%d" % number + bytes([120]) * 2000, 0, 5) for number in range(6)]
            assert codes == [b"\0"] * 4 + [b"\x97"] * 2
        until(lambda: mqtt.metric("mqtt_subscriptions") == 0, "the end of the second client")
        one.publish(b"r0", bytes(1900), 0, 0, 1)  # there is no room for the larger one, and the old one is not true
        mqtt.vm.expect_exact("no room to retain a message of b'r0'")
        for number in range(1, 12):
            one.publish(b"r%d" % number, b"", 0, 0, 1)
        with Client(mqtt.port, connect(b"lasting" * 100)) as lasting:
            lasting.expect(CONNACK)
        until(lambda: mqtt.metric("mqtt_kept_bytes") == 0, "nothing that is kept")
    mqtt.stop()


def test_packets_for_which_there_is_no_memory(boot_mqtt: BootMqtt) -> None:
    mqtt = boot_mqtt(memory="16M")
    with Client(mqtt.port, connect(b"watch")) as watch, ExitStack() as crowd:
        watch.expect(CONNACK)
        for number in range(60):
            one = crowd.enter_context(Client(mqtt.port, connect(b"c%d" % number)))
            one.expect(CONNACK)
            with suppress(ConnectionError):
                one.send(b"\x30\xff\xff\x0f" + text(b"t") + bytes(200_000))
        mqtt.vm.expect_exact("closed: no memory for what it sends")
        watch.send(PING)
        watch.expect(PINGRESP)
    with Client(mqtt.port, connect(b"next")) as client:
        client.expect(CONNACK)
        assert client.subscribe(b"x") == b"\0"
        client.publish(b"x", b"still here")
        assert client.message()[3] == b"still here"
    assert "Traceback" not in mqtt.stop()


def test_a_full_disk(boot_mqtt: BootMqtt, tmp_path: Path) -> None:
    """What was saved stays while there is no room for more, and what is new is saved as soon as there is."""
    disk = tmp_path / "mqtt.img"
    assert floe("disk", "create", disk, "--size", "256K").returncode == 0
    first = boot_mqtt(disks=[str(disk)], SAVE="1")
    with Client(first.port, connect(b"pub")) as client:
        client.expect(CONNACK)
        client.publish(b"small", b"1", 1, 1, 1)
        client.expect(PUBACK)
        for topic in (b"large", b"larger"):
            client.publish(topic, bytes(130_000), 1, 1, 1)
            client.expect(PUBACK)
        first.vm.expect_exact("/mqtt.db: cannot be written (error 28); tried again")
        client.publish(b"small", b"2", 1, 1, 1)
        client.expect(PUBACK)
        for topic in (b"large", b"larger"):
            client.publish(topic, b"", 1, 1, 1)
            client.expect(PUBACK)
    first.stop()
    second = boot_mqtt(disks=[str(disk)])
    with Client(second.port, connect(b"sub")) as client:
        client.expect(CONNACK)
        assert client.subscribe(b"#") == b"\0"
        assert client.message()[1:] == (b"small", 0, b"2")
    second.stop()


@pytest.mark.any_accel
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("PORT=65536", "PORT=65536: expected a port, 0 to 65535"),
        ("METRICS_PORT=-1", "METRICS_PORT=-1: expected a port, 0 to 65535"),
        ("INFLIGHT=0", "INFLIGHT=0: 1 or more"),
        ("RETAINED=-1", "RETAINED=-1: 0 or more"),
    ],
)
def test_settings_that_cannot_be(boot: Boot, setting: str, said: str) -> None:
    name, _, value = setting.partition("=")
    vm = boot("mqtt", deadline_s=60, env={name: value})
    assert vm.wait() == 2
    assert vm.console_text == f"error mqtt: {said}\n"
