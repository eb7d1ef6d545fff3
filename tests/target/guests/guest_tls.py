# SPDX-License-Identifier: MIT
"""Module ssl as a client of the servers in tls_host.py, and as client and server of itself."""

import asyncio
import gc
import os
import select
import socket
import ssl
import time

import tls
from guest_base import Silent
from guest_kit import HOST, PORTS, read_all, run

NAME = "floe.test"


def pem(name):
    return os.getenv(name).replace("|", "\n").encode()


def client(**settings):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.load_verify_locations(cadata=pem("CA_PEM"))
    for key, value in settings.items():
        setattr(c, key, value)
    return c


def reached(service):
    s = socket.socket()
    s.settimeout(10)
    s.connect((HOST, PORTS[service]))
    return s


def connect(service, context=None, hostname=NAME, **keywords):
    s = reached(service)
    try:
        return (context or client()).wrap_socket(s, server_hostname=hostname, **keywords)
    except Exception:
        s.close()
        raise


def why(service, *args, **keywords):
    """The words of the OSError that connecting ends with."""
    try:
        t = connect(service, *args, **keywords)
        t.write(b"x")  # TLS 1.3: a server may refuse after the client is done
        t.read(1)
        t.close()
    except OSError as e:
        return e.args[1]
    return ""


def test_versions():
    v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    for service in ("good", "rsa"):
        for top, version in ((v12, "TLSv1.2"), (v13, "TLSv1.3")):
            t = connect(service, client(maximum_version=top))
            assert t.version() == version and t.cipher()[1] == version
            t.write(b"hello")
            assert t.read(5) == b"hello"
            assert t.getpeercert(True)[:1] == b"\x30"
            t.close()
    assert why("v12", client(minimum_version=v13)) == "the peer refused: alert 70, protocol version not accepted"
    assert why("v13", client(maximum_version=v12)) == "the peer refused: alert 70, protocol version not accepted"


def test_a_server_of_version_1_2_that_signs_with_pss():
    for service in ("v12rsa", "v12first"):
        t = connect(service)
        assert t.version() == "TLSv1.2"
        t.write(b"hello")
        assert t.read(5) == b"hello"
        t.close()


def test_refused():
    failed = "certificate verify failed: "
    assert why("wrong") == failed + "it is not for this host name"
    assert why("good", hostname="other.test") == failed + "it is not for this host name"
    assert why("expired") == failed + "it has expired"
    assert why("future") == failed + "it is not valid yet"
    assert why("selfsigned") == failed + "it is self-signed and not trusted"
    assert why("unknown") == failed + "it was signed by an unknown CA"
    assert why("plain") == "the peer does not speak TLS (invalid record)"
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert why("good", bare).startswith("no CA certificates to check the peer's with")


def test_allowed():
    for settings in ({"verify_mode": ssl.CERT_NONE}, {"check_hostname": False}):
        assert why("wrong", client(**settings)) == ""
    assert why("expired", client(verify_mode=ssl.CERT_NONE)) == ""
    try:
        connect("good", hostname=None)
        raise AssertionError
    except ValueError as e:
        assert "requires server_hostname" in str(e)


def test_alpn():
    c = client()
    c.set_alpn_protocols(["http/1.1"])
    t = connect("good", c)
    assert t.selected_alpn_protocol() == "http/1.1"
    t.close()
    t = connect("good")
    assert t.selected_alpn_protocol() is None
    t.close()
    for bad in ([""], ["x" * 256], ["x"] * 17):
        try:
            c.set_alpn_protocols(bad)
            raise AssertionError
        except ValueError:
            pass


def test_client_certificate():
    assert why("mutual") != ""
    c = client()
    c.load_cert_chain(pem("CLIENT_PEM"), pem("CLIENT_KEY"))
    assert why("mutual", c) == ""


def test_resumption():
    for top in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = client(maximum_version=top)
        t = connect("good", c)
        assert not t.session_reused
        t.write(b"x")
        assert t.read(1) == b"x"  # with TLS 1.3 the ticket comes before this
        session = t.session
        t.close()
        t = connect("good", c, session=session)
        assert t.session_reused
        t.write(b"y")
        assert t.read(1) == b"y"
        t.close()
    try:
        connect("good", session=b"rubbish")
        raise AssertionError
    except ValueError as e:
        assert str(e) == "invalid session"


def test_a_session_does_not_vouch_for_what_was_not_verified():
    for top in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for service, settings in (("selfsigned", {"verify_mode": ssl.CERT_NONE}), ("wrong", {"check_hostname": False})):
            t = connect(service, client(maximum_version=top, **settings))
            t.write(b"x")
            assert t.read(1) == b"x"
            session = t.session
            t.close()
            try:
                t = connect(service, client(maximum_version=top), session=session)
                raise AssertionError(service, t.session_reused)
            except ValueError as e:
                assert str(e) == "session of a connection that verified less"
            t = connect(service, client(maximum_version=top, **settings), session=session)
            assert t.session_reused
            t.close()


def test_half_close():
    t = connect("upper")
    t.write(b"half ")
    t.write(b"close")
    t.shutdown(1)
    assert read_all(t) == b"HALF CLOSE"
    assert t.read(1) == b""
    t.close()


def test_cut_off():
    t = connect("cut")
    t.write(b"x")
    assert t.read(3) == b"bye"
    for _ in range(2):
        try:
            t.read(1)
            raise AssertionError
        except OSError as e:
            assert e.args[1] == "the connection was cut off: it ended without close_notify"
    t.close()


CUT = "the connection was cut off: it ended without close_notify"


def arrived(service, context=None, **keywords):
    """A connection on which "bye" and the end have both arrived."""
    t = connect(service, context, **keywords)
    t.write(b"x")
    time.sleep_ms(300)
    return t


def raises_cut(verb):
    try:
        verb()
    except OSError as e:
        return e.args[1] == CUT
    return False


def test_what_comes_with_a_cut_is_not_lost():
    buf = bytearray(100)
    for verb, expected in (
        (lambda t: t.read(100), b"bye"),
        (lambda t: t.readline(), b"bye"),
        (lambda t: t.recv(100), b"bye"),
        (lambda t: buf[: t.readinto(buf)], b"bye"),
        (lambda t: buf[: t.recv_into(buf)], b"bye"),
    ):
        t = arrived("cut")
        assert verb(t) == expected
        poll = select.poll()
        poll.register(t, select.POLLIN)
        assert poll.poll(1000)
        assert raises_cut(t.read) and raises_cut(t.read)
        t.close()
    assert raises_cut(lambda: arrived("cut").read())  # wants the end, and there is none

    async def asynchronous():
        r, w = await asyncio.open_connection(HOST, PORTS["cut"], ssl=client(), server_hostname=NAME)
        w.write(b"x")
        await w.drain()
        await asyncio.sleep_ms(300)
        assert await r.read(100) == b"bye"
        try:
            await asyncio.wait_for(r.read(100), 5)
            raise AssertionError
        except OSError as e:
            assert e.args[1] == CUT
        w.close()

    asyncio.run(asynchronous())


def test_a_ragged_end_may_be_an_end():
    t = arrived("cut", suppress_ragged_eofs=True)
    assert t.read() == b"bye" and t.read() == b"" and t.recv(5) == b""
    t = ssl.wrap_socket(reached("cut"), server_hostname=NAME, suppress_ragged_eofs=True)
    assert t.write(b"x") == 1 and t.read() == b"bye"
    c = client(suppress_ragged_eofs=True)
    assert c.suppress_ragged_eofs and not client().suppress_ragged_eofs
    assert raises_cut(lambda: arrived("cut", c, suppress_ragged_eofs=False).read())

    async def asynchronous():
        r, w = await asyncio.open_connection(HOST, PORTS["cut"], ssl=c, server_hostname=NAME)
        w.write(b"x")
        await w.drain()
        assert await r.read() == b"bye"
        w.close()

    asyncio.run(asynchronous())


def test_an_end_that_was_read_with_the_data_is_readable_at_once():
    t = arrived("ended")
    t.setblocking(False)
    assert t.read(100) == b"bye"
    poll = select.poll()
    poll.register(t, select.POLLIN)
    start = time.ticks_ms()
    assert poll.poll(5000)[0][1] & select.POLLIN
    assert time.ticks_diff(time.ticks_ms(), start) < 1000
    assert t.read(100) == b""
    t.close()

    async def asynchronous():
        r, w = await asyncio.open_connection(HOST, PORTS["ended"], ssl=client(), server_hostname=NAME)
        w.write(b"x")
        await w.drain()
        await asyncio.sleep_ms(300)
        assert await r.read(100) == b"bye"
        assert await asyncio.wait_for(r.read(100), 1) == b""
        w.close()

    asyncio.run(asynchronous())


def test_verify_callback():
    for top in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        seen = []
        see = seen.append
        c = client(maximum_version=top, verify_callback=lambda der, depth, see=see: see((der, depth)) or 0)
        t = connect("good", c)
        assert (t.getpeercert(True), 0) in seen
        t.write(b"x")
        assert t.read(1) == b"x"
        session = t.session
        t.close()
        assert why("unknown", c) == "certificate verify failed: it was signed by an unknown CA"
        c.verify_callback = lambda der, depth: -1
        refused = "certificate verify failed: verify_callback refused it"
        assert why("good", c) == refused
        c.verify_mode = ssl.CERT_OPTIONAL
        assert why("good", c) == refused
        c.verify_callback = lambda der, depth: 1 // 0
        for _ in range(2):
            try:
                connect("good", c)
                raise AssertionError
            except ZeroDivisionError:
                pass
        c.verify_callback = None
        assert c.verify_callback is None and why("good", c) == ""
        t = connect("good", client(maximum_version=top))
        t.write(b"x")
        assert t.read(1) == b"x"
        unasked = t.session
        t.close()
        c = client(maximum_version=top, verify_callback=lambda der, depth: -1)
        try:
            connect("good", c, session=unasked)
            raise AssertionError
        except ValueError as e:
            assert str(e) == "session of a connection that verified less"
        connect("good", client(maximum_version=top), session=session).close()
    try:
        c.verify_callback = 5
        raise AssertionError
    except TypeError:
        pass


def test_bulk_without_blocking():
    data = bytes(range(256)) * 2000
    t = connect("good")
    t.setblocking(False)
    poll = select.poll()
    poll.register(t, select.POLLIN | select.POLLOUT)
    sent, got, limit = 0, [], time.ticks_add(time.ticks_ms(), 60000)
    size = 0
    while size < len(data) and time.ticks_diff(limit, time.ticks_ms()) > 0:
        for _, events in poll.ipoll(1000):
            if events & select.POLLIN:
                part = t.read(16384)
                if part:
                    got.append(part)
                    size += len(part)
            if events & select.POLLOUT and sent < len(data):
                sent += t.write(memoryview(data)[sent : sent + 40000]) or 0
        if sent == len(data):
            poll.modify(t, select.POLLIN)
    assert b"".join(got) == data
    t.close()


def test_pending_data_is_readable():
    t = connect("good")
    t.write(b"0123456789")
    assert t.read(3) == b"012"
    poll = select.poll()
    poll.register(t, select.POLLIN)
    assert poll.poll(0)[0][1] == select.POLLIN  # decrypted, not yet read: nothing is in the socket
    assert t.read(7) == b"3456789"
    assert poll.poll(50) == []
    t.close()
    try:
        t.read(1)
        raise AssertionError
    except OSError as e:
        assert e.errno == 9


def test_timeout():
    t = connect("good")
    t.settimeout(0.2)
    try:
        t.read(1)
        raise AssertionError
    except OSError as e:
        assert e.errno == 110
    t.write(b"still alive")
    assert t.read(11) == b"still alive"
    t.close()


async def _serve(reader, writer):
    try:
        while True:
            line = await reader.readline()
            if not line:
                break
            writer.write(line.upper())
            await writer.drain()
    except OSError:
        pass
    await writer.wait_closed()


async def _ask(context, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", 4433, ssl=context, server_hostname=NAME)
    for word in ("first", "second"):
        line = "%s %d\n" % (word, number)
        writer.write(line)
        await writer.drain()
        assert await reader.readline() == line.upper().encode()
    writer.s.shutdown(1)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def _own_server():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(pem("GOOD_PEM"), pem("GOOD_KEY"))
    server = await asyncio.start_server(_serve, "0.0.0.0", 4433, backlog=16, ssl=c)
    for top in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        await asyncio.gather(*(_ask(client(maximum_version=top), n) for n in range(8)))
    server.close()
    await server.wait_closed()


def test_asyncio():
    asyncio.run(_own_server())


class Meddling(Silent):
    def readinto(self, buf):
        t = self.t
        self.said = []
        for verb in (lambda: t.read(1), lambda: t.write(b"x"), lambda: t.shutdown(1), t.do_handshake):
            try:
                verb()
            except OSError as e:
                self.said.append(e.errno)
        t.close()


def test_what_runs_while_a_verb_waits_may_close_but_not_go_on():
    below = Meddling()
    for verb in (lambda t: t.read(1), lambda t: t.write(b"x"), lambda t: t.recv(1), lambda t: t.do_handshake()):
        t = below.t = client().wrap_socket(below, server_hostname=NAME, do_handshake_on_connect=False)
        try:
            verb(t)
            raise AssertionError("closed meanwhile")
        except OSError as e:
            assert e.errno == 9, e
        assert below.said == [16, 16, 16, 16], below.said
        t.close()


class Failing(Silent):
    def readinto(self, buf):
        raise KeyError("mine")


def test_an_exception_of_the_stream_below_gets_through():
    t = client().wrap_socket(Failing(), server_hostname=NAME, do_handshake_on_connect=False)
    for _ in range(2):
        try:
            t.read(1)
            raise AssertionError
        except KeyError as e:
            assert e.args[0] == "mine"
    t.close()


def test_zz_memory():
    gc.collect()
    before = tls._memory()
    c = client()
    session = None
    for _ in range(4):
        why("good")
        why("expired")
        t = connect("good", c, session=session)
        t.write(b"x")
        assert t.read(1) == b"x" and t.session_reused == (session is not None)
        session = t.session
        t.close()
    t = c = session = None
    gc.collect()
    assert tls._memory() <= before, (before, tls._memory())


run(globals())
