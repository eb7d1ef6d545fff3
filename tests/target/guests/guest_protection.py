# SPDX-License-Identifier: MIT
"""What no script should be able to do, done on purpose: argv is a verb and an address in hexadecimal."""

import gc
import sys
import time

import micropython
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


def dma(address):
    """Let the entropy device write four bytes over text, by a queue of our own (virtio 1.1, 4.2.2 and 2.6)."""

    def register(offset, value):
        uctypes.struct(device + offset, {"v": uctypes.UINT32}, uctypes.NATIVE).v = value

    def look(offset):
        return uctypes.struct(device + offset, {"v": uctypes.UINT32}, uctypes.NATIVE).v

    device = 0xFEB00000
    while (look(0), look(8)) != (0x74726976, 4):
        device += 0x200
    memory = bytearray(8192)
    kept.append(memory)
    descriptors = (uctypes.addressof(memory) + 4095) & ~4095
    available, used = descriptors + 1024, descriptors + 2048
    put(descriptors, address, 4 | 2 << 32)  # 4 bytes, the device writes them
    put(available, 1 << 16)  # one entry: descriptor 0
    before = get(address)
    for status in (0, 1, 3):
        register(0x70, status)
    for half, features in ((1, 1), (0, 0)):  # VERSION_1
        register(0x24, half)
        register(0x20, features)
    register(0x70, 0xB)
    register(0x30, 0)
    register(0x38, 8)
    for offset, place in ((0x80, descriptors), (0x90, available), (0xA0, used)):
        register(offset, place)
        register(offset + 4, 0)
    register(0x44, 1)
    register(0x70, 0xF)
    register(0x50, 0)
    for _ in range(200):
        if get(address) != before:
            break
        time.sleep_ms(10)
    print("text changed", get(address) != before)


@micropython.viper
def privileged() -> int:
    return 0x0B0F050F  # in the code, a constant that is: syscall; ud2


def silence(address):
    """Take the panic its console: at address is what tells it which one, and no such thing is at page zero."""
    put(address, 8)
    uctypes.bytearray_at(16, 1)[0] = 0


def smash(address):
    """Write over the first copy of the canary, which is at address, on the C stack, which begins below argv[3]."""
    canary, place = get(address), int(sys.argv[3], 16) - 8
    print("canary", hex(canary))
    while get(place) != canary:
        place -= 8
    put(place, canary ^ 256)


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
