# SPDX-License-Identifier: MIT
"""images/mqtt against the cases of MQTT's interoperability tests, for 3.1.1 and 5, with paho-mqtt as the client."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions

from floe.testing import Boot
from tests.boot.mqttguest import (
    CONNACK,
    DISCONNECT,
    PUBACK,
    PUBREC,
    BootMqtt,
    Client,
    Mqtt,
    connect,
    packet,
    serve,
    text,
)
from tests.boot.mqttpaho import V4, V5, Peer, properties
from tests.support.vms import until

VERSIONS = (V4, V5)
WEEK = 7 * 24 * 3600


@pytest.fixture
def boot_mqtt(boot: Boot) -> Iterator[BootMqtt]:
    yield from serve(boot)


def test_both_versions(boot_mqtt: BootMqtt) -> None:
    mqtt = boot_mqtt()
    for version in VERSIONS:
        _basic(mqtt, version)
        _retained(mqtt, version)
        _offline(mqtt, version)
        _will(mqtt, version)
        _overlapping(mqtt, version)
        _redelivery(mqtt, version)
        _dollar_topics(mqtt, version)
        _unsubscribe(mqtt, version)
        _shared(mqtt, version)
    _nameless(mqtt)
    assert mqtt.metric("mqtt_dropped_total") == 0
    mqtt.stop()


def test_version_5(boot_mqtt: BootMqtt) -> None:
    mqtt = boot_mqtt(KEEP_ALIVE="60", MAX_PACKET="2K")
    _what_connack_says(mqtt)
    _properties_are_passed_on(mqtt)
    _request_and_response(mqtt)
    _subscription_options(mqtt)
    _subscription_ids(mqtt)
    _shared_rules(mqtt)
    _aliases(mqtt)
    _flow_control(mqtt, 1)
    _flow_control(mqtt, 2)
    _flow_after_a_new_connection(mqtt)
    _largest_packet(mqtt)
    _what_expires(mqtt)
    _reason_codes(mqtt)
    mqtt.stop()


# ---- 3.1.1 and 5 ------------------------------------------------------------------------------------


def _stay(version: int) -> dict[str, int]:
    return {"SessionExpiryInterval": 1000} if version == V5 else {}


def _basic(mqtt: Mqtt, version: int) -> None:
    with Peer(mqtt.port, "basic", version) as client:
        assert client.reason == 0 and not client.there
        assert client.subscribe("t/basic", 2) == 2
        for qos in (0, 1, 2):
            client.publish("t/basic", f"qos {qos}", qos)
        came = [client.next() for _ in range(3)]
        assert sorted((m.qos, m.payload.decode(), m.retain) for m in came) == [(q, f"qos {q}", 0) for q in (0, 1, 2)]
        with Peer(mqtt.port, "basic", version) as other:  # the same name: it takes over
            assert other.reason == 0
            assert client.ended() != 0


def _retained(mqtt: Mqtt, version: int) -> None:
    with Peer(mqtt.port, "kept", version) as client:
        for qos, topic in enumerate(("kept/a", "kept/a/b", "kept/c")):
            client.publish(topic, f"{qos}", qos, True)
        client.subscribe("kept/#", 2)
        came = sorted((m.topic, m.payload.decode(), m.qos, m.retain) for m in [client.next() for _ in range(3)])
        assert came == [("kept/a", "0", 0, 1), ("kept/a/b", "1", 1, 1), ("kept/c", "2", 2, 1)]
        client.publish("kept/a", "now", 1, True)
        now = client.next()
        assert (now.payload, now.retain) == (b"now", 0)  # not kept, but new
        for topic in ("kept/a", "kept/a/b", "kept/c"):
            client.publish(topic, "", 1, True)
        assert client.texts(3) == ["", "", ""]
        client.unsubscribe("kept/#")
        client.subscribe("kept/#", 2)
        assert client.nothing_more() == []


def _offline(mqtt: Mqtt, version: int) -> None:
    with Peer(mqtt.port, "away", version, False, **_stay(version)) as client:
        assert not client.there
        client.subscribe("off/+", 2)
    with Peer(mqtt.port, "sender", version) as sender:
        for qos in (1, 2, 1):
            sender.publish(f"off/{qos}", f"{qos}", qos)
    with Peer(mqtt.port, "away", version, False, **_stay(version)) as client:
        assert client.there
        assert sorted(client.texts(3)) == ["1", "1", "2"]
        assert client.nothing_more() == []
    with Peer(mqtt.port, "away", version, True) as client:  # a clean start ends it
        assert not client.there
        client.publish("off/1", "nobody", 1)
        assert client.nothing_more() == []


def _will(mqtt: Mqtt, version: int) -> None:
    with Peer(mqtt.port, "heir", version) as heir:
        heir.subscribe("will/#", 2)
        for end, qos, retain in (("cut", 2, False), ("leave", 1, False), ("cut", 1, True)):
            client = Peer(
                mqtt.port, "dying", version, will={"topic": f"will/{qos}", "payload": end, "qos": qos, "retain": retain}
            )
            getattr(client, end)()
            until(lambda: mqtt.metric("mqtt_clients") == 1, "the end of the connection")
        first, second = heir.next(), heir.next()
        assert (first.topic, first.payload, first.qos, first.retain) == ("will/2", b"cut", 2, 0)
        assert (second.topic, second.payload, second.qos, second.retain) == ("will/1", b"cut", 1, 0)
        assert heir.nothing_more() == []
        heir.subscribe("will/1")
        assert heir.next().retain == 1
        heir.publish("will/1", "", 1, True)


def _overlapping(mqtt: Mqtt, version: int) -> None:
    with Peer(mqtt.port, "over", version) as client:
        client.subscribe("over/#", 2)
        client.subscribe("over/+", 1)
        client.publish("over/x", "once", 2)
        came = client.next()
        assert (came.payload, came.qos) == (b"once", 2)
        assert client.nothing_more() == []


def _redelivery(mqtt: Mqtt, version: int) -> None:
    client = Peer(mqtt.port, "again", version, False, manual=True, **_stay(version))
    client.subscribe("again/#", 2)
    with Peer(mqtt.port, "sender", version) as sender:
        sender.publish("again/1", "one", 1)
        sender.publish("again/2", "two", 2)
    assert sorted(client.texts(2)) == ["one", "two"]  # of which the first is not acknowledged, the second released
    client.cut()
    until(lambda: mqtt.metric("mqtt_clients") == 0, "the end of the connection")
    with Peer(mqtt.port, "again", version, False, **_stay(version)) as client:
        assert client.there
        came = client.next()
        assert (came.payload, came.qos, came.dup) == (b"one", 1, True)
        assert client.nothing_more() == []
    with Peer(mqtt.port, "again", version) as client:
        assert not client.there


def _dollar_topics(mqtt: Mqtt, version: int) -> None:
    with Peer(mqtt.port, "dollar", version) as client:
        client.subscribe("#", 1)
        client.subscribe("+/broker/version")
        client.publish("$own/x", "hidden", 1)
        client.publish("open/x", "seen", 1)
        assert client.next().payload == b"seen"
        assert client.nothing_more() == []
        client.subscribe("$SYS/broker/version")
        assert client.next().payload.startswith(b"Floe images/mqtt")


def _unsubscribe(mqtt: Mqtt, version: int) -> None:
    with Peer(mqtt.port, "un", version) as client:
        for topic in ("un/a", "un/b", "un/c/#"):
            client.subscribe(topic, 1)
        codes = client.unsubscribe("un/a", "un/none")
        assert version == V4 or codes == [0, 17]
        for topic in ("un/a", "un/b", "un/c/d"):
            client.publish(topic, topic, 1)
        assert sorted(client.texts(2)) == ["un/b", "un/c/d"]
        assert client.nothing_more() == []


def _shared(mqtt: Mqtt, version: int) -> None:
    """Each message goes to one of a group; who leaves it or goes gets none."""
    with Peer(mqtt.port, "all", version) as everything, Peer(mqtt.port, "s1", version) as one:
        everything.subscribe("s/#", 1)
        assert one.subscribe("$share/g/s/+", 1) == 1
        assert one.subscribe("$share/other/s/+", 1) == 1
        with Peer(mqtt.port, "s2", version) as two:
            assert two.subscribe("$share/g/s/x", 1) == 1
            assert two.subscribe("$share/g/s/+", 1) == 1
            two.unsubscribe("$share/g/s/x")
            for number in range(6):
                everything.publish("s/x", f"{number}", 1)
            assert everything.texts(6) == [f"{n}" for n in range(6)]
            mine, theirs = one.texts(9), two.texts(3)  # 3 of its group, 6 of the one that it is alone in
            assert sorted(mine + theirs) == sorted([f"{n}" for n in range(6)] * 2)
            assert one.nothing_more() == [] == two.nothing_more()
        until(lambda: mqtt.metric("mqtt_clients") == 2, "the end of the connection")
        one.unsubscribe("$share/other/s/+")
        everything.publish("s/x", "last", 1)
        assert one.texts(1) == ["last"] == everything.texts(1)
        one.unsubscribe("$share/g/s/+")
        everything.publish("s/x", "none", 1)
        assert one.nothing_more() == []
    until(lambda: mqtt.metric("mqtt_subscriptions") == 0, "the end of all subscriptions")


def _nameless(mqtt: Mqtt) -> None:
    with Client(mqtt.port, connect(b"", flags=0)) as client:
        assert client.expect(CONNACK)[1] == b"\0\2"
    with Client(mqtt.port, connect(b"")) as client:
        assert client.expect(CONNACK)[1] == b"\0\0"


# ---- 5 ----------------------------------------------------------------------------------------------


def _what_connack_says(mqtt: Mqtt) -> None:
    with Peer(mqtt.port, "", V5, keep_alive=120, SessionExpiryInterval=2 * WEEK) as client:
        assert client.said.AssignedClientIdentifier.startswith("auto-")
        assert (client.said.ServerKeepAlive, client.said.SessionExpiryInterval) == (60, WEEK)
        assert (client.said.ReceiveMaximum, client.said.TopicAliasMaximum, client.said.MaximumPacketSize) == (
            1000,
            20,
            2048,
        )
        for name in ("SharedSubscriptionAvailable", "SubscriptionIdentifierAvailable", "MaximumQoS", "RetainAvailable"):
            assert not hasattr(client.said, name)  # all of it is there
        name = client.said.AssignedClientIdentifier
        client.leave(SessionExpiryInterval=0)
    with Peer(mqtt.port, name, V5, False, keep_alive=30) as client:
        assert not client.there and not hasattr(client.said, "ServerKeepAlive")


def _properties_are_passed_on(mqtt: Mqtt) -> None:
    with Peer(mqtt.port, "props", V5) as client:
        client.subscribe("props", 2)
        pairs = [("a", "2"), ("c", "3"), ("a", "1")]
        client.publish("props", "x", 1, UserProperty=pairs, PayloadFormatIndicator=1, ContentType="text/x")
        said = client.next().properties
        assert (said.UserProperty, said.PayloadFormatIndicator, said.ContentType) == (pairs, 1, "text/x")
        client.publish("props", "y", 1)
        assert not hasattr(client.next().properties, "UserProperty")


def _request_and_response(mqtt: Mqtt) -> None:
    with Peer(mqtt.port, "asks", V5) as asks, Peer(mqtt.port, "answers", V5) as answers:
        asks.subscribe("answers/asks", 1)
        answers.subscribe("questions", 1)
        asks.publish("questions", "6 * 7", 1, ResponseTopic="answers/asks", CorrelationData=b"\0\x01")
        question = answers.next().properties
        answers.publish(question.ResponseTopic, "42", 1, CorrelationData=question.CorrelationData)
        answer = asks.next()
        assert (answer.payload, answer.properties.CorrelationData) == (b"42", b"\0\x01")


def _subscription_options(mqtt: Mqtt) -> None:
    with Peer(mqtt.port, "opt", V5) as client, Peer(mqtt.port, "sender", V5) as sender:
        client.subscribe("opt/own", 1, noLocal=True)
        client.publish("opt/own", "mine", 1)
        sender.publish("opt/own", "theirs", 1)
        assert client.texts(1) == ["theirs"]
        client.subscribe("opt/+", 0)  # which does not say so
        client.publish("opt/own", "mine too", 1)
        assert client.texts(1) == ["mine too"]
        client.unsubscribe("opt/own", "opt/+")
        client.subscribe("opt/r", 1, retainAsPublished=True)
        sender.publish("opt/r", "kept", 1, True)
        sender.publish("opt/r", "not kept", 1)
        assert [client.next().retain for _ in range(2)] == [1, 0]
        client.subscribe("opt/r", 1, retainHandling=2)
        client.subscribe("opt/r", 1, retainHandling=1)
        assert client.nothing_more() == []
        client.subscribe("opt/r", 1, retainHandling=0)
        assert client.texts(1) == ["kept"]
        client.unsubscribe("opt/r")
        client.subscribe("opt/r", 1, retainHandling=1)
        assert client.texts(1) == ["kept"]
        sender.publish("opt/r", "", 1, True)


def _subscription_ids(mqtt: Mqtt) -> None:
    big = 268435455
    with Peer(mqtt.port, "ids", V5, False, SessionExpiryInterval=100) as client, Peer(mqtt.port, "plain", V5) as other:
        client.subscribe("ids/a", 1, ident=456789)
        client.subscribe("ids/#", 2, ident=big)
        other.subscribe("ids/+", 0)
        client.publish("ids/a", "both", 2)
        came = client.next()
        assert sorted(came.properties.SubscriptionIdentifier) == [456789, big] and came.qos == 2
        assert not hasattr(other.next().properties, "SubscriptionIdentifier")
        client.publish("ids/b", "one", 1, True)
        assert client.next().properties.SubscriptionIdentifier == [big]
        client.subscribe("ids/#", 2, ident=7)
        assert client.next().properties.SubscriptionIdentifier == [7]  # retained
        client.subscribe("ids/a", 1)  # none any more
    with Peer(mqtt.port, "sender", V5) as sender:
        sender.publish("ids/a", "later", 1)
        sender.publish("ids/b", "", 1, True)
    with Peer(mqtt.port, "ids", V5, False) as client:
        assert client.next().properties.SubscriptionIdentifier == [7]


def _shared_rules(mqtt: Mqtt) -> None:
    with Peer(mqtt.port, "rules", V5) as client:
        for bad in ("$share/g", "$share//x", "$share/+/x", "$share/g/", "$share/g/#/x"):
            assert client.subscribe(bad) == 0x8F, bad
        client.publish("rules", "kept", 1, True)
        assert client.subscribe("$share/g/rules", 1, ident=5) == 1
        client.publish("rules", "new", 1)
        came = client.next()  # nothing that is retained
        assert (came.payload, came.properties.SubscriptionIdentifier) == (b"new", [5])
        client.publish("rules", "", 1, True)
    with Peer(mqtt.port, "rules", V5) as client:
        client.client.subscribe("$share/g/x", options=SubscribeOptions(qos=0, noLocal=True))
        assert client.ended() == 0x82


def _aliases(mqtt: Mqtt) -> None:
    with Peer(mqtt.port, "alias", V5) as client, Peer(mqtt.port, "reads", V5) as reads:
        reads.subscribe("alias/#", 1)
        client.publish("alias/1", "named", 1, TopicAlias=1)
        client.publish("", "by number", 1, TopicAlias=1)
        client.publish("alias/2", "named anew", 1, TopicAlias=1)
        client.publish("", "by number", 1, TopicAlias=1)
        assert [reads.next().topic for _ in range(4)] == ["alias/1", "alias/1", "alias/2", "alias/2"]
    for number, reason in ((1, 0x82), (0, 0x94), (21, 0x94)):  # nobody has said it on this connection; not allowed
        with Peer(mqtt.port, "alias", V5) as client:
            client.client.publish(
                "" if number == 1 else "x",
                "x",
                0,
                False,
                properties(PacketTypes.PUBLISH, TopicAlias=number) if number else _alias_0(),
            )
            assert client.ended() == reason


def _alias_0() -> object:
    made = properties(PacketTypes.PUBLISH, TopicAlias=1)
    object.__setattr__(made, "TopicAlias", 0)  # which paho does not take
    return made


def _flow_control(mqtt: Mqtt, qos: int) -> None:
    with Peer(mqtt.port, "slow", V5, manual=True, ReceiveMaximum=2) as slow, Peer(mqtt.port, "sender", V5) as sender:
        slow.subscribe("slow", 2)
        for number in range(6):
            sender.publish("slow", f"{number}", qos)
        first, second = slow.next(), slow.next()
        assert slow.nothing_more() == []  # more than two may not be on their way
        slow.client.ack(first.mid, first.qos)
        third = slow.next()
        assert third.payload == b"2" and slow.nothing_more() == []
        for message in (second, third):
            slow.client.ack(message.mid, message.qos)
        for expected in ("3", "4", "5"):
            message = slow.next()
            assert message.payload.decode() == expected
            slow.client.ack(message.mid, message.qos)


def _flow_after_a_new_connection(mqtt: Mqtt) -> None:
    """What is sent again keeps to what the new connection takes."""
    slow = Peer(mqtt.port, "slower", V5, False, manual=True, ReceiveMaximum=3, SessionExpiryInterval=100)
    slow.subscribe("slower", 1)
    with Peer(mqtt.port, "sender", V5) as sender:
        for number in range(5):
            sender.publish("slower", f"{number}", 1)
    assert slow.texts(3) == ["0", "1", "2"]
    slow.cut()
    until(lambda: mqtt.metric("mqtt_clients") == 0, "the end of the connections")
    with Peer(mqtt.port, "slower", V5, False, manual=True, ReceiveMaximum=1) as slow:
        for number in range(5):
            message = slow.next()
            assert (message.payload.decode(), message.dup) == (f"{number}", number < 3)
            assert slow.nothing_more() == []
            slow.client.ack(message.mid, message.qos)


def _largest_packet(mqtt: Mqtt) -> None:
    with Peer(
        mqtt.port, "small", V5, False, MaximumPacketSize=100, ReceiveMaximum=1, SessionExpiryInterval=100
    ) as small:
        small.subscribe("small", 2)
        for qos in (1, 2, 0, 1):
            small.publish("small", "x" * 200, qos)  # none of them is sent, and none takes the place of those that are
            small.publish("small", "y", qos)
        assert small.texts(4) == ["y"] * 4
        assert small.nothing_more() == []
        small.client.publish("small", "z" * 3000)
        assert small.ended() == 0x95
    with Peer(mqtt.port, "sender", V5) as sender:
        sender.publish("small", "x" * 200, 1)
        sender.publish("small", "y", 1)
    with Peer(mqtt.port, "small", V5, False, MaximumPacketSize=100) as small:
        assert small.texts(1) == ["y"]


def _what_expires(mqtt: Mqtt) -> None:
    """Sessions, messages, and wills, which may wait."""
    with Peer(mqtt.port, "e1", V5, False, SessionExpiryInterval=1) as client:
        client.subscribe("e/#", 1)
    with Peer(mqtt.port, "e2", V5, False, SessionExpiryInterval=1) as client:
        client.subscribe("e/#", 1)
        client.leave(SessionExpiryInterval=100)
    until(lambda: mqtt.metric("mqtt_clients") == 0, "the end of the connections")
    with Peer(mqtt.port, "sender", V5) as sender:
        sender.subscribe("e/will", 1)
        sender.publish("e/short", "short", 1, MessageExpiryInterval=1)
        sender.publish("e/long", "long", 1, MessageExpiryInterval=100)
        sender.publish("e/kept", "kept", 1, True, MessageExpiryInterval=1)
        soon = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=1, MessageExpiryInterval=50)
        will = {"topic": "e/will", "payload": "late", "qos": 1, "properties": soon}
        start = time.monotonic()
        Peer(mqtt.port, "e3", V5, will=will, SessionExpiryInterval=100).cut()
        long = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=60)
        never = {**will, "payload": "never", "properties": long}
        Peer(mqtt.port, "e4", V5, will=never, SessionExpiryInterval=100).cut()
        with Peer(mqtt.port, "e4", V5, False, SessionExpiryInterval=0) as back:  # in time: there is no will
            assert back.there
            came = sender.next()
            assert came.payload == b"late" and time.monotonic() - start > 0.9
            assert 40 <= came.properties.MessageExpiryInterval <= 50
            assert sender.nothing_more() == []
        until(lambda: mqtt.metric("mqtt_sessions") <= 3, "the end of the first session")
        time.sleep(1.1)  # the short ones have certainly expired
    with Peer(mqtt.port, "e1", V5, False) as client:
        assert not client.there
        client.subscribe("e/kept")
        assert client.nothing_more() == []
    with Peer(mqtt.port, "e2", V5, False) as client:
        assert client.there
        came = client.next()
        assert came.payload == b"long" and 50 <= came.properties.MessageExpiryInterval < 100
        assert [text for text in client.nothing_more() if text != "late"] == []


def _reason_codes(mqtt: Mqtt) -> None:
    with Peer(mqtt.port, "codes", V5) as client:
        assert [client.subscribe(topic, 2) for topic in ("c", "c/#/d", "c+")] == [2, 0x8F, 0x8F]
    with Client(mqtt.port, connect(b"codes", 5)) as raw:
        raw.expect(CONNACK)
        for first, kind in ((0x32, PUBACK), (0x34, PUBREC)):
            raw.send(packet(first, text(b"codes/none") + b"\0\x01\0x"))
            assert raw.expect(kind)[1] == b"\0\x01\x10"  # nobody has subscribed
        raw.send(packet(0x30, text(b"c/+") + b"\0x"))
        assert raw.expect(DISCONNECT)[1][:1] == b"\x90"
        assert raw.ended()
    with Client(mqtt.port, connect(b"method", 5, props=b"\x15\0\1m")) as raw:
        assert raw.expect(CONNACK)[1][1] == 0x8C
