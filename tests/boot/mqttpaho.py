# SPDX-License-Identifier: MIT
"""A client of an MQTT broker for the tests, by paho-mqtt: its own thread reads, the test waits for what came."""

from __future__ import annotations

import queue
import threading
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

V4, V5 = paho.MQTTv311, paho.MQTTv5
_WAIT_S = 20.0
_END = "end-of-what-came"


def properties(kind: int, **values: Any) -> Properties:
    """Of a packet; a list of pairs for UserProperty."""
    made = Properties(kind)
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Peer:
    """A connected client. said: the properties of CONNACK. Ends without DISCONNECT by cut(), with one by leave()."""

    def __init__(
        self,
        port: int,
        name: str = "",
        version: int = V4,
        clean: bool = True,
        *,
        will: dict[str, Any] | None = None,
        keep_alive: int = 60,
        manual: bool = False,
        **said: Any,
    ) -> None:
        more: dict[str, Any] = {} if version == V5 else {"clean_session": clean}
        self.version = version
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            name,
            protocol=version,
            reconnect_on_failure=False,
            manual_ack=manual,
            **more,
        )
        check = "_filter_wildcard_len_check"  # what is no filter, the broker shall say
        setattr(self.client, check, lambda topic: paho.MQTT_ERR_SUCCESS)
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._answers: queue.Queue[list[int]] = queue.Queue()
        self._up, self._down = threading.Event(), threading.Event()
        self.ended_with = 0
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = lambda client, data, message: self.messages.put(message)
        self.client.on_subscribe = lambda client, data, mid, codes, props: self._answers.put([c.value for c in codes])
        self.client.on_unsubscribe = lambda client, data, mid, codes, props: self._answers.put([c.value for c in codes])
        if will is not None:
            self.client.will_set(**will)
        if version == V5:
            self.client.connect(
                "127.0.0.1", port, keep_alive, clean_start=clean, properties=properties(PacketTypes.CONNECT, **said)
            )
        else:
            self.client.connect("127.0.0.1", port, keep_alive)
        self.client.loop_start()
        assert self._up.wait(_WAIT_S), "no CONNACK"

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, props: Any) -> None:
        self.reason, self.there, self.said = reason.value, flags.session_present, props
        self._up.set()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, props: Any) -> None:
        self.ended_with = self.ended_with or reason.value  # the broker's word comes first, the connection's end then
        self._down.set()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    # ---- what it does ---------------------------------------------------------------------------

    def subscribe(self, topic: str, qos: int = 0, ident: int = 0, **options: Any) -> int:
        """The code of SUBACK."""
        if self.version == V5:
            props = properties(PacketTypes.SUBSCRIBE, **({"SubscriptionIdentifier": ident} if ident else {}))
            self.client.subscribe(topic, options=SubscribeOptions(qos=qos, **options), properties=props)
        else:
            self.client.subscribe(topic, qos)
        (code,) = self._answers.get(timeout=_WAIT_S)
        return code

    def unsubscribe(self, *topics: str) -> list[int]:
        self.client.unsubscribe(list(topics))
        return self._answers.get(timeout=_WAIT_S)

    def publish(self, topic: str, payload: str = "", qos: int = 0, retain: bool = False, **said: Any) -> None:
        """Waits until the broker has it, if it says so."""
        props = properties(PacketTypes.PUBLISH, **said) if self.version == V5 else None
        self.client.publish(topic, payload, qos, retain, props).wait_for_publish(_WAIT_S)

    def cut(self) -> None:
        """End the connection without a word."""
        sock = self.client.socket()
        if sock is not None:
            sock.shutdown(2)
        assert self._down.wait(_WAIT_S)
        self.client.loop_stop()

    def leave(self, **said: Any) -> None:
        if not self._down.is_set():
            self.client.disconnect(properties=properties(PacketTypes.DISCONNECT, **said) if said else None)
            assert self._down.wait(_WAIT_S)
        self.client.loop_stop()

    # ---- what came ------------------------------------------------------------------------------

    def next(self) -> paho.MQTTMessage:
        return self.messages.get(timeout=_WAIT_S)

    def texts(self, count: int) -> list[str]:
        """The payloads of the next messages."""
        return [self.next().payload.decode() for _ in range(count)]

    def nothing_more(self) -> list[str]:
        """Payloads of what came that nobody has taken: an own message behind them shows that there is no more."""
        end = f"{_END}/{id(self)}"
        assert self.subscribe(end) in (0, 1)
        self.publish(end, _END)
        found = []
        while (message := self.next()).topic != end:
            found.append(message.payload.decode())
        self.unsubscribe(end)
        return found

    def ended(self) -> int:
        """Wait until the broker ends the connection; its reason."""
        assert self._down.wait(_WAIT_S)
        return self.ended_with
