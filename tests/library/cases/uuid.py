# SPDX-License-Identifier: MIT
import uuid
from uuid import UUID


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print(type(e).__name__)


u = UUID("12345678-9abc-4def-8123-456789abcdef")
print(u, repr(u), u.hex, u.int, u.bytes, u.bytes_le, u.fields, u.urn, u.version, u.variant == uuid.RFC_4122, int(u))
print(u.time_low, u.time_mid, u.time_hi_version, u.clock_seq_hi_variant, u.clock_seq_low, u.node)
for same in (
    UUID("{123456789abc4def8123456789abcdef}"), UUID("urn:uuid:12345678-9ABC-4DEF-8123-456789abcdef"), UUID(int=u.int),
    UUID(bytes=u.bytes), UUID(bytes_le=u.bytes_le), UUID(fields=u.fields), UUID(hex=u.hex),
):  # fmt: skip
    print(same == u, hash(same) == hash(u), same in {u}, same != u, same < u, same <= u)
print(u == str(u), UUID(int=1) < UUID(int=2), sorted([UUID(int=3), UUID(int=1)]), max(UUID(int=5), UUID(int=4)))
for n in (0, 2**128 - 1, 0x8000 << 48, 0xC000 << 48, 0xE000 << 48):
    print(UUID(int=n), UUID(int=n).version, UUID(int=n).variant, UUID(int=n, version=5))
for how in ({"hex": "12"}, {"int": -1}, {"int": 2**128}, {"bytes": b"x"}, {"bytes_le": b"x"}, {}, {"hex": "1", "int": 1}, {"fields": (1,)},
            {"hex": "g" * 32}, {"int": 1, "version": 9}, {"fields": (1 << 32, 0, 0, 0, 0, 0)}):  # fmt: skip
    tried(UUID, **how)
four = uuid.uuid4()
print(four.version, four.variant, four != uuid.uuid4(), len(str(four)), UUID(str(four)) == four)
print(
    uuid.uuid5(uuid.NAMESPACE_DNS, "python.org"),
    uuid.uuid3(uuid.NAMESPACE_DNS, "python.org"),
    uuid.uuid5(uuid.NAMESPACE_URL, "é"),
)
print(uuid.NAMESPACE_URL, uuid.NAMESPACE_OID, uuid.NAMESPACE_X500)
