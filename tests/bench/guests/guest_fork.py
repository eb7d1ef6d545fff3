# SPDX-License-Identifier: MIT
"""Serves a byte to who asks, and forks when the console says so: one, many N at once, row N one after the other."""

import os
import select
import socket
import sys

import vm

server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("0.0.0.0", 80))
server.listen(8)
poll = select.poll()
poll.register(server, select.POLLIN)
poll.register(sys.stdin, select.POLLIN)


def serve():
    while True:
        for which, _ in poll.poll():
            if which is sys.stdin:
                obey(*sys.stdin.readline().split())
            else:
                client, _ = server.accept()
                client.send(b"H")
                client.close()


def obey(what, count="1"):
    if what == "row":
        for _ in range(int(count)):
            print("forking")
            if os.fork() == 0:
                print("child")
                os._exit(0)
            print("parent")
            os.wait()
            print("ended")
        return
    pids = []
    for _ in range(int(count)):
        print("forking")
        pid = os.fork()
        if pid == 0:
            print("child")
            serve()
        print("parent")
        pids.append(pid)
    sys.stdin.readline()  # they are looked at until then
    for pid in pids:
        os.kill(pid, 9)
        os.wait()
    print("ended")


vm.ready()
print("serving")
serve()
