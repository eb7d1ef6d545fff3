# SPDX-License-Identifier: MIT
# What each VM of a family can read of what was handed over: the first one, a child, its child, and a child later.

import os
import time

import vm

import floe


def tell(who):
    found = [(name, floe.secret(name)) for name in sorted(floe.secrets())]
    try:
        floe.secret("own")
        missing = ""
    except KeyError as e:
        missing = e
    print(who, found, os.getenv("COLOUR"), missing)


def child():
    tell("child")
    vm.waitpid(vm.spawn(tell, "grandchild"), 0)


tell("first")
vm.waitpid(vm.spawn(child), 0)
time.sleep(0.5)  # a machine waits for the next fork by then
vm.waitpid(vm.spawn(tell, "later"), 0)
tell("first")
