# SPDX-License-Identifier: MIT
"""What a TLS socket says when there is nothing to read, no session to keep, no memory, and after a callback that has raised;
and the ciphers that a script allows."""

import errno
import gc
import os
import socket
import ssl

from guest_base import Silent
from guest_kit import HOST, PORTS, run

EBUSY = 16  # which errno has not


def ca():
    return os.getenv("CA_PEM").replace("|", "\n").encode()


def client():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.load_verify_locations(cadata=ca())
    return c


def connect(service, context=None, **settings):
    c = context or client()
    c.verify_callback = settings.pop("verify_callback", None)
    s = socket.socket()
    s.settimeout(10)
    s.connect((HOST, PORTS[service]))
    return c.wrap_socket(s, server_hostname="floe.test", **settings)


def error_of(f, *args):
    try:
        f(*args)
    except OSError as e:
        return e.args[0]
    return 0


def test_nothing_has_come():
    t = connect("good")
    t.setblocking(False)
    assert error_of(t.recv, 5) == errno.EAGAIN
    t.settimeout(10)
    t.write(b"x")
    assert t.recv(5) == b"x"
    t.close()


def test_what_is_cut_off_is_no_end():
    t = connect("cut", suppress_ragged_eofs=False)
    t.write(b"x")
    assert t.recv(5) == b"bye"
    for _ in range(2):
        assert error_of(t.recv, 5) != 0
    t.close()


def test_a_session_comes_with_its_ticket():
    for service, there in (("v12", True), ("v13", True), ("ticketless", False)):
        t = connect(service)
        t.write(b"x")
        assert t.recv(5) == b"x"
        assert (t.session is not None) == there, service
        t.close()


def test_a_callback_that_raises_leaves_a_socket_that_can_be_asked_and_closed():
    t = connect("good", verify_callback=lambda der, depth: 1 // 0, do_handshake_on_connect=False)
    try:
        t.write(b"x")
        raise AssertionError
    except ZeroDivisionError:
        pass
    assert error_of(t.write, b"x") not in (0, EBUSY)
    t.close()
    assert error_of(t.write, b"x") == errno.EBADF


def test_a_cipher_of_the_script_s_choice():
    c = client()
    strong = [name for name in c.get_ciphers() if name.startswith("TLS1-3-") and "CCM" not in name]
    assert len(strong) > 1
    for name in strong:
        c.set_ciphers([name])
        t = connect("good", c)
        assert t.cipher()[0] == name, (name, t.cipher())
        t.close()


def with_all_taken(c, kept):
    """The little that a connection leaves goes to contexts: then there is none for a certificate."""
    error = 0
    while not error:
        try:
            kept.append(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        except OSError as e:
            error = e.errno
    assert error == 12, error
    try:
        c.load_verify_locations(cadata=ca())
        raise AssertionError
    except OSError as e:
        assert e.args[0] == 12, e


def test_zy_out_of_memory():
    c = client()
    kept = []
    error = 0
    while not error:
        try:
            kept.append(c.wrap_socket(Silent(), server_hostname="floe.test", do_handshake_on_connect=False))
        except OSError as e:
            error = e.errno
    assert error == 12 and len(kept) > 100, (error, len(kept))
    with_all_taken(c, kept)
    kept.clear()
    assert ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # what is forgotten is collected where it is missing
    gc.collect()
    t = connect("good", c)
    t.write(b"x")
    assert t.recv(5) == b"x"
    t.close()


run(globals())
