# SPDX-License-Identifier: MIT
"""Module ssl without a network: what a context may be told, and what a peer's first words do to a connection."""

import gc
import ssl

import tls
from guest_base import Silent
from guest_kit import run

ALERTS = {
    10: "unexpected message",
    20: "bad record MAC",
    22: "record overflow",
    40: "handshake failure",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    47: "illegal parameter",
    48: "unknown CA",
    49: "access denied",
    50: "decode error",
    51: "decrypt error",
    70: "protocol version not accepted",
    71: "insufficient security",
    80: "internal error",
    86: "inappropriate fallback",
    90: "user cancelled",
    109: "missing extension",
    110: "unsupported extension",
    112: "unrecognized name",
    115: "unknown PSK identity",
    116: "certificate required",
    120: "no application protocol",
}


def context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


def raised(verb, *args, **keywords):
    """The exception that it ends with."""
    try:
        verb(*args, **keywords)
    except Exception as e:
        return e


class Says(Silent):
    """A peer that says this, whatever it is told, and ends."""

    def __init__(self, data):
        self.left = data

    def readinto(self, buf):
        n = min(len(buf), len(self.left))
        buf[:n] = self.left[:n]
        self.left = self.left[n:]
        return n


def test_what_a_context_is_made_of():
    assert isinstance(raised(tls.SSLContext, ssl.PROTOCOL_TLS_CLIENT, server_side=True), TypeError)
    assert isinstance(raised(tls.SSLContext), TypeError)
    assert isinstance(raised(tls.SSLContext, 77), ValueError)


def test_attributes_are_not_deleted():
    c = tls.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in ("nothing", "verify_mode"):
        assert isinstance(raised(delattr, c, name), AttributeError), name
    assert c.verify_mode == ssl.CERT_REQUIRED


def test_ciphers():
    c = context()
    names = c.get_ciphers()
    assert len(names) > 3 and len(set(names)) == len(names), names
    assert all(name.startswith("TLS") for name in names), names
    for some in (names, names[:1], tuple(names[-1:])):
        assert c.set_ciphers(some) is None
    for some in ([], ["TLS-NONE"], [names[0], ""], names[:1] * 100):
        e = raised(c.set_ciphers, some)
        assert isinstance(e, OSError) and len(e.args) == 2 and e.args[0] < 0 and len(e.args[1]) > 5, (some, e)


def test_versions():
    c = context()
    for name in ("minimum_version", "maximum_version"):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            setattr(c, name, version)
        for version in (0, 0x301, 0x302, 0x305):
            assert isinstance(raised(setattr, c, name, version), ValueError), version


def test_what_a_reader_is_given():
    t = context().wrap_socket(Silent(), do_handshake_on_connect=False)
    for wrong in ((), (bytearray(4), 1, 2)):
        assert isinstance(raised(t.readinto, *wrong), TypeError), wrong
    t.close()
    for right in ((bytearray(4),), (bytearray(4), 2)):
        assert raised(t.readinto, *right).errno == 9


def test_alerts():
    for number, text in ALERTS.items():
        e = raised(context().wrap_socket, Says(b"\x15\x03\x03\x00\x02\x02" + bytes([number])))
        assert isinstance(e, OSError) and e.args[1] == "the peer refused: alert %d, %s" % (number, text), e


def test_zz_memory():
    gc.collect()
    before = tls._memory()
    for _ in range(3):
        c = context()
        c.set_ciphers(c.get_ciphers())
        c.set_ciphers(c.get_ciphers()[:1])
        c.set_alpn_protocols(["http/1.1"])
        c.set_alpn_protocols(["h2", "http/1.1"])
        raised(c.wrap_socket, Says(b""))
        raised(c.wrap_socket, Says(b"\x15\x03\x03\x00\x02\x02\x28"))
        c = None
    gc.collect()
    assert tls._memory() <= before, (before, tls._memory())


run(globals())
