# SPDX-License-Identifier: MIT
"""What no script should be able to do, done on purpose: argv is a verb and an address in hexadecimal."""

import gc
import sys

import uctypes


def get(address):
    return int.from_bytes(bytes(uctypes.bytearray_at(address, 8)), "little")


def put(address, *words):
    for word in words:
        uctypes.bytearray_at(address, 8)[:] = word.to_bytes(8, "little")
        address += 8


def room(*words):
    """Address of memory in the GC heap that holds these words."""
    memory = bytearray(8 * len(words))
    kept.append(memory)
    put(uctypes.addressof(memory), *words)
    return uctypes.addressof(memory)


def object_at(address):
    """The object at an address: written into a list's memory (mp_obj_list_t, py/objlist.h)."""
    box = [None]
    put(get(id(box) + 24), address)
    return box[0]


def read(address):
    print("read", uctypes.bytearray_at(address, 1)[0])


def write(address):
    uctypes.bytearray_at(address, 1)[0] = 0x90
    print("written")


def call(address):
    """Call machine code, by a builtin function object made here (mp_obj_fun_builtin_fixed_t, py/obj.h)."""
    object_at(room(get(id(gc.collect)), address))()
    print("called")


def call3(address):
    """As call(), with rdi = 3, rsi = 3, rdx = 0x3fffffff7fffffff."""
    object_at(room(get(id(setattr)), address))(1, 1, 0x1FFFFFFFBFFFFFFF)
    print("called")


def silence(address):
    """Take the panic its console: at address is what tells it which one, and no such thing is at page zero."""
    put(address, 8)
    uctypes.bytearray_at(16, 1)[0] = 0


def heap(_):
    call(uctypes.addressof(bytearray(b"\xc3" * 64)))


def stack_of_c(address):
    """C code that calls itself for ever: a bound method whose function, at address, is mp_call_function_0, and whose
    self is the method (mp_obj_bound_meth_t, py/objboundmeth.c)."""
    function = room(get(id(len)), address)
    method = room(get(id([].append)), function, 0)
    put(method + 16, method)
    object_at(method)()


kept = []
verb = sys.argv[1]
print("ready")
globals()[verb](int(sys.argv[2], 16))
