# SPDX-License-Identifier: MIT
"""Settings, start, $SYS, saving, end."""

import asyncio
import os
import time

import appliance
from broker import Broker
from controlpacket import SHUTTING_DOWN, PacketError
from session import Message
from store import Store
from users import Users, UsersError

import floe

_DEFAULTS = {
    "clients": 200,
    "max_packet": appliance.Size(262144),
    "inflight": 20,
    "keep_alive": appliance.Seconds(0),
    "queued": 1000,
    "queued_bytes": appliance.Size(4194304),
    "retained": 5000,
    "subscriptions": 100,
    "kept": appliance.Size(0),
    "session_expiry": appliance.Seconds(604800),
    "sys": appliance.Seconds(10),
    "store": "/mqtt.db",
    "save": appliance.Seconds(10),
}


class Service:
    """Owns the broker and its file."""

    def __init__(self, port: int, context: object) -> None:
        self.app = appliance.App("mqtt", dict(_DEFAULTS, port=appliance.Port(port)))
        for name, least in (("clients", 1), ("inflight", 1), ("queued", 0), ("retained", 0), ("subscriptions", 0)):
            value = getattr(self.app.settings, name)
            if value < least:
                self.app.fail("%s=%d: %d or more" % (name.upper(), value, least))
        self._context = context
        self._store: Store | None = None
        self._unsaved = ""  # why not, the last time
        self._began = time.time()
        try:
            self.broker = Broker(self.app.settings, self.app.log, Users())
        except UsersError as exc:
            self.app.fail(str(exc))
        self._describe()

    def _describe(self) -> None:
        for name, text, function in (
            ("mqtt_clients", "Clients that are connected.", self._connected),
            ("mqtt_sessions", "Sessions, with clients or without.", lambda: len(self.broker.sessions)),
            ("mqtt_subscriptions", "Subscriptions.", lambda: self.broker.tree.count),
            ("mqtt_retained", "Retained messages.", lambda: len(self.broker.retained)),
            (
                "mqtt_kept_bytes",
                "Of lasting sessions, subscriptions, retained messages.",
                lambda: self.broker.kept_bytes,
            ),
            ("mqtt_waiting_bytes", "Of messages that wait for their clients.", lambda: self.broker.waiting_bytes),
            ("mqtt_published_total", "Messages that came.", lambda: self.broker.published),
            ("mqtt_sent_total", "Messages that went.", lambda: self.broker.sent),
            ("mqtt_dropped_total", "Messages for which there was no room.", lambda: self.broker.dropped),
        ):
            self.app.gauge(name, text, function=function)

    def _connected(self) -> int:
        return sum([link.session is not None for link in self.broker.links])

    # ---- the file -----------------------------------------------------------------------------

    def _load(self) -> None:
        """What was saved, if there is a disk that can be written. A broken file is put aside."""
        path = self.app.settings.store
        try:
            with open(path + ".new", "wb"):
                pass
            os.remove(path + ".new")
        except OSError:
            self.app.log.info("no disk for %s: sessions end with the VM", path)
            return
        self._store = Store(path)
        try:
            if self._store.load(self.broker):
                counts = (len(self.broker.sessions), len(self.broker.retained))
                self.app.log.info("%s: %d sessions, %d retained messages", path, *counts)
        except MemoryError:
            self.app.fail("%s: what it holds needs a VM with more memory" % path)
        except (OSError, ValueError, IndexError, KeyError, PacketError) as exc:
            self.app.log.error("%s is not whole (%s): kept as %s.bad, beginning anew", path, type(exc).__name__, path)
            self.broker = Broker(self.app.settings, self.app.log, Users())
            os.rename(path, path + ".bad")
        self.broker.changed = False

    def _save(self) -> None:
        if self._store is not None and self.broker.changed:
            try:
                self._store.save(self.broker)
                self._unsaved = ""
            except (OSError, MemoryError) as exc:
                cause = "error %d" % exc.errno if isinstance(exc, OSError) else "no memory"
                if cause != self._unsaved:
                    self.app.log.error("%s: cannot be written (%s); tried again", self._store.path, cause)
                self._unsaved = cause

    # ---- running ------------------------------------------------------------------------------

    async def _tick(self) -> None:
        settings = self.app.settings
        every_sys, every_save = int(settings.sys), max(1, int(settings.save))
        seconds = 0
        while True:
            try:
                if every_sys and seconds % every_sys == 0:
                    self._publish_sys()
                self.broker.tick()
            except MemoryError:
                self.app.log.warning("no memory for a message to somebody")
            if seconds and seconds % every_save == 0:
                self._save()
            await asyncio.sleep(1)
            seconds += 1

    def _publish_sys(self) -> None:
        broker = self.broker
        for name, value in (
            ("version", "Floe images/mqtt %s" % floe.app()[1]),
            ("uptime", "%d seconds" % (time.time() - self._began)),
            ("clients/connected", self._connected()),
            ("clients/total", len(broker.sessions)),
            ("messages/received", broker.received),
            ("messages/sent", broker.sent),
            ("publish/messages/received", broker.published),
            ("publish/messages/dropped", broker.dropped),
            ("subscriptions/count", broker.tree.count),
            ("retained messages/count", len([topic for topic in broker.retained if topic[:1] != b"$"])),
        ):
            topic = b"$SYS/broker/" + name.encode()
            before = broker.retained.get(topic)
            said = str(value).encode()
            if before is None or before.payload != said:
                changed = broker.changed
                broker.publish(Message(topic, said, 0, {}, None), True, None)
                broker.published -= 1
                broker.changed = changed

    async def _main(self) -> None:
        self._load()
        settings = self.app.settings
        server = await asyncio.start_server(self.broker.serve, "::", settings.port, 100, self._context)
        ticker = asyncio.create_task(self._tick())
        self.app.ready()
        self.app.log.info("serving on port %d", settings.port)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            ticker.cancel()
            for link in list(self.broker.links):
                link.will = None
                link.say_goodbye(SHUTTING_DOWN, "the broker ends")
                link.kill()
            await asyncio.sleep_ms(50)
            self.broker.changed = True
            self._save()

    def run(self) -> None:
        self.app.run(self._main())


def run(port: int = 1883, context: object = None) -> None:
    Service(port, context).run()
