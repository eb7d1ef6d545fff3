# SPDX-License-Identifier: MIT
"""handler.py of an image on images/function: each path is a case of tests/boot/test_function.py."""

import asyncio
import socket
import sys
import time

STARTS = []
STARTS.append(time.ticks_ms())
seen = {"calls": 0, "together": 0, "most": 0, "ended": 0}
circle = []
circle.append(circle)
doubled = []
for _ in range(31):
    doubled = [doubled, doubled]


class Endless(dict):
    def items(self):
        while True:
            pass


class Mute(Exception):
    def __str__(self):
        while seen:
            pass
        return ""


def health():
    if seen.get("ill") == "for ever":
        while True:
            pass
    if seen.get("ill") == "to death":
        raise SystemExit
    return True if "ill" not in seen else "ill since a call"


RETURNS = {
    "/text": "grüß dich",
    "/bytes": b"\0\xff",
    "/none": None,
    "/list": [1, "two", None, True, 2.5],
    "/dict": {"a": {"b": []}},
    "/number": 7,
    "/tuple": ("made", 201, {"X-A": "b", "Content-Type": "text/x-own"}),
    "/lambda": {
        "statusCode": 202,
        "headers": {"x-one": 1, "Content-Length": "99", "Connection": "close", "X-List": ["a", "b"]},
        "cookies": ["a=1", "b=2"],
        "body": "AP8=",
        "isBase64Encoded": True,
    },
    "/json-body": {"statusCode": 200, "body": {"x": 1}},
    "/empty": {"statusCode": 204, "body": "left out"},
    "/bad/status": {"statusCode": 42},
    "/bad/text": {"statusCode": "200"},
    "/bad/header": {"statusCode": 200, "headers": {"X-A": "b\r\nX-B: c"}},
    "/bad/name": {"statusCode": 200, "headers": {"a b": "c"}},
    "/bad/headers": {"statusCode": 200, "headers": 7},
    "/bad/base64": {"statusCode": 200, "body": "abc", "isBase64Encoded": True},
    "/bad/json": {"a": object()},
    "/bad/key": {1: 2},
    "/bad/nan": [float("nan")],
    "/bad/circle": circle,
    "/bad/tuple": (1, 2, 3, 4),
    "/bad/class": time,
    "/bad/socket": socket.socket(),
    "/endless/items": Endless(),
    "/endless/values": doubled,
}


class Own(Exception):
    pass


def fails(path, event):
    if path == "/fail/own":
        raise Own("of my own: %s" % event.text)
    if path == "/fail/mute":
        raise Mute
    if path == "/fail/name":
        raise type("A\r\nX-B: c", (Exception,), {})("named")
    if path == "/fail/exit":
        sys.exit(9)
    if path == "/fail/interrupt":
        raise KeyboardInterrupt
    if path == "/fail/memory":
        return bytearray(1 << 40)
    if path == "/fail/deep":
        return fails(path, event)
    return 1 // 0


def stays(path):
    print("stays", path)
    if path == "/stay/loop":
        while True:
            pass
    if path == "/stay/sleep":
        time.sleep(1000)
    while True:
        try:
            while True:
                pass
        except Exception:
            seen["caught"] = True  # a limit is no Exception


async def rests(ms):
    await asyncio.sleep_ms(ms)


async def waits(path, context):
    if path == "/async/last":
        print("waits", path)
    seen["together"] += 1
    seen["most"] = max(seen["most"], seen["together"])
    try:
        if path == "/async/endless":
            await asyncio.sleep_ms(1)
            return Endless()
        if path == "/async/gather":
            await asyncio.gather(rests(0), rests(1))  # each way to wait that asyncio has
            await asyncio.wait_for(asyncio.create_task(rests(1)), 1)
            async with asyncio.Lock():
                return await asyncio.wait_for_ms(rests(0), 200)
        if path == "/async/fail":
            await asyncio.sleep_ms(1)
            raise ValueError("later")
        if path == "/async/loop":
            await asyncio.sleep_ms(1)
            while True:
                pass
        if path == "/async/stay":
            await asyncio.sleep(1000)
        while path == "/async/never":
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                pass
        if path == "/async/stubborn":
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.sleep_ms(1000)
        await asyncio.sleep_ms(150)
        return {"left": context.get_remaining_time_in_millis()}
    finally:
        seen["together"] -= 1
        seen["ended"] += 1


def makes(path):
    try:
        yield 1 if path == "/yield/value" else None
    finally:
        seen["closed"] = seen.get("closed", 0) + 1


def tells(path, event, context):
    if path == "/json":
        return {"got": event.json()}
    if path == "/cloud":
        found = event.cloud_event()
        if found is not None and isinstance(found["data"], bytes):
            found["data"] = list(found["data"])
        return found
    if path == "/keys":
        return {key: event[key] for key in event}
    if path == "/event":
        told = {"method": event.method, "path": path, "query": event.query, "headers": event.headers}
        told["body"], told["text"] = list(event.body), event.text
        return told
    if path == "/context":
        context.log.info("asked by %s", context.request_id)
        return {
            "id": context.request_id,
            "aws": context.aws_request_id,
            "name": context.function_name,
            "version": context.function_version,
            "memory": context.memory_limit_in_mb,
            "left": context.get_remaining_time_in_millis(),
            "deadline": context.deadline_ms,
            "cold": context.cold_start,
            "starts": len(STARTS),
        }
    return None


def handle(event, context):
    path = event.path
    seen["calls"] += 1
    if path in RETURNS:
        return RETURNS[path]
    if path.startswith("/fail/"):
        return fails(path, event)
    if path.startswith("/stay/"):
        return stays(path)
    if path.startswith("/yield/"):
        return makes(path)
    if path.startswith("/async/"):
        return waits(path, context)
    if path in ("/json", "/cloud", "/keys", "/event", "/context"):
        return tells(path, event, context)
    if path == "/ill":
        seen["ill"] = event.query.get("how")
    return dict(seen)
