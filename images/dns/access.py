# SPDX-License-Identifier: MIT
"""Who may do something: lists of addresses, networks and keys."""

import dnsname
import rrtype


def address_bytes(text: str) -> bytes:
    """4 or 16 bytes. Raises ValueError."""
    raw = text.encode()
    return rrtype.ip6(raw) if b":" in raw else rrtype.ip4(raw)


class Access:
    """Made of words: an address, a network as 10.0.0.0/8, key:NAME, or any. Nobody, if there is none."""

    def __init__(self, words: list, keys: dict) -> None:
        """Raises ValueError."""
        self._networks: list = []  # (bytes, bits)
        self._keys: list = []
        for word in words:
            if word.startswith("key:"):
                name = dnsname.from_text(word[4:].encode(), dnsname.ROOT)
                if name not in keys:
                    raise ValueError("%s is not among KEYS" % word[4:])
                self._keys.append(name)
            elif word == "any":
                self._networks += [(bytes(4), 0), (bytes(16), 0)]
            else:
                text, slash, bits = word.partition("/")
                network = address_bytes(text)
                if slash and (not bits.isdigit() or int(bits) > 8 * len(network)):
                    raise ValueError("%s is no network" % word)
                self._networks.append((network, int(bits) if slash else 8 * len(network)))

    def allows(self, host: str, key: object) -> bool:
        """key: the tsig.Key with which the message was signed, or None."""
        if key is not None and key.name in self._keys:
            return True
        address = address_bytes(host.partition("%")[0])
        for network, bits in self._networks:
            if len(network) == len(address):
                shift = 8 * len(network) - bits
                if int.from_bytes(network, "big") >> shift == int.from_bytes(address, "big") >> shift:
                    return True
        return False
