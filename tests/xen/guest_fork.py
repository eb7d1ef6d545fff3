# SPDX-License-Identifier: MIT
# A VM that forks once somebody has said "go" to it: who each of the three is, and what it has of its own. Argument
# "kill": children that are told to end instead.

import errno
import os
import socket
import sys
import time

import machine
import network


def say(who):
    lan = network.LAN(0)
    own = (lan.config("mac").hex(":"), lan.ipconfig("addr4")[0], machine.unique_id().hex(), network.hostname())
    print(who, os.getpid(), os.getppid(), *own, os.urandom(8).hex(), abs(time.time() - began) < 3600)


def listening():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", 7))
    s.listen(2)
    return s


def content():
    with open("/file") as f:
        return f.read()


def write(text):
    with open("/file", "w") as f:
        f.write(text)
    os.sync()


def child(conn, server, out):
    try:
        print("of the parent's connection", conn.recv(10))
    except OSError as e:
        print("of the parent's connection", errno.errorcode[e.errno])
    print("its disk", content())
    write("the child's")
    say("child")
    pid = os.fork()
    if pid == 0:
        say("grandchild")
        print("its disk", content())
        os.write(out, b"grandchild")
        os._exit(9)
    print("grandchild", os.waitpid(pid, 0)[1] >> 8)
    print("serving")
    own, _ = server.accept()
    own.sendall(b"I am " + network.hostname().encode())
    own.close()
    os.write(out, b"x" * 100000)
    os._exit(7)


def forks():
    server = listening()
    print("ready")
    conn, _ = server.accept()
    print("heard", conn.recv(10))
    write("the parent's")
    say("parent")
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        child(conn, server, w)
    os.close(w)
    conn.sendall(b"still here")
    print("heard", conn.recv(10))
    got = 0
    while data := os.read(r, 65536):
        got += len(data)
    print("from the pipe", got)
    print("child", os.waitpid(pid, 0)[1] >> 8)
    say("parent")
    print("its disk", content())


def wait_for_the_end():
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        os._exit(5)


def kills():
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(w, b"up")
        wait_for_the_end()
    print("heard", os.read(r, 10))
    os.kill(pid, 9)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if os.fork() == 0:
        wait_for_the_end()
    print("one is left")


def refused():
    while sys.stdin.readline():
        try:
            pid = os.fork()
        except OSError as e:
            print("not forked", errno.errorcode[e.errno])
            continue
        if pid == 0:
            os._exit(3)
        print("forked", os.waitpid(pid, 0)[1] >> 8)


began = time.time()
time.sleep(3)  # a dom0 that is busy has not taken the first frames before, and a fork waits for that no longer than 1 s
{"forks": forks, "kills": kills, "refused": refused}[sys.argv[1]]()
print("the end")
