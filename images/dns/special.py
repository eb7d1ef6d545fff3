# SPDX-License-Identifier: MIT
"""What is no ordinary query: signed ones, zone transfers and notifications. Said in the log, as it is rare."""

import dnsname
import transfer
import tsig
from authority import Authority, error
from compose import FORMERR, NOTAUTH, NOTIMP, REFUSED, SERVFAIL
from message import NOTIFY, QUERY, Query
from rrtype import AXFR, IXFR, SOA


class Special:
    """keys: name -> Key. zones: name -> ZoneSettings, whose `transfer` says who may have the zone."""

    def __init__(self, authority: Authority, keys: dict, zones: dict, log: object) -> None:
        self._authority = authority
        self._log = log
        self._keys = keys
        self._zones = zones
        self.notified = None  # notified(zone's name, address, key) -> code: a primary says that a zone has changed

    def __call__(self, query: Query, udp: bool, address: tuple) -> object:
        key, mac = None, b""
        if query.tsig_at:
            try:
                key, mac = tsig.verify(query.message, query.tsig_at, self._keys)
            except tsig.TsigError as exc:
                return self._refuse_signature(query, exc)
            except (ValueError, IndexError):
                return error(query.message, FORMERR)
            query.reserve = key.size()
        answer = self._answer(query, udp, address, (key, mac))
        if key is None or not isinstance(answer, bytes):
            return answer
        return tsig.sign(answer, key, mac)[0]

    def _refuse_signature(self, query: Query, exc: tsig.TsigError) -> bytes:
        answer = self._authority.refuse(query, NOTAUTH)
        if exc.key is not None:
            return tsig.sign(answer, exc.key, exc.mac, False, exc.code)[0]
        return tsig.refuse(answer, query.message, query.tsig_at, exc.code)

    def _answer(self, query: Query, udp: bool, address: tuple, signed: tuple) -> object:
        if query.opcode() == NOTIFY:
            code = NOTAUTH
            if query.rtype == SOA and self.notified is not None:
                code = self.notified(query.name, address, signed[0])
            return self._authority.refuse(query, code)
        if query.opcode() != QUERY:
            return error(query.message, NOTIMP)
        if query.rtype in (AXFR, IXFR):
            return self._transfer(query, udp, address, signed)
        return self._authority.ordinary(query, udp)

    def _transfer(self, query: Query, udp: bool, address: tuple, signed: tuple) -> object:
        """A transfer of what changed is answered by one of the whole, which RFC 1995 allows."""
        zone = self._zones.get(query.name)
        if zone is None or query.name not in self._authority.zones or query.rclass != 1:
            return self._authority.refuse(query, NOTAUTH)
        name = dnsname.to_text(query.name)
        if not zone.transfer.allows(address[0], signed[0]):
            self._log.warning("zone %s refused to %s", name, address[0])
            return self._authority.refuse(query, REFUSED)
        composer = self._authority.zones[query.name]
        if composer is None:
            return self._authority.refuse(query, SERVFAIL)
        if udp and query.rtype == AXFR:
            return self._authority.refuse(query, FORMERR)  # RFC 5936, section 4.2
        if udp or (query.rtype == IXFR and not self._is_behind(query, composer.zone.serial())):
            return self._authority.single_soa(query, composer, udp)
        self._log.info("zone %s serial %d to %s", name, composer.zone.serial(), address[0])
        return transfer.messages(query.message, query.end, composer.zone, signed[0], signed[1])

    def _is_behind(self, query: Query, serial: int) -> bool:
        """Whether the serial that the client has (in the authority section) is older than ours (RFC 1982)."""
        for section, _owner, rtype, _ttl, at, size in query.records:
            if section == 1 and rtype == SOA and size >= 22:
                had = int.from_bytes(query.message[at + size - 20 : at + size - 16], "big")
                return had != serial and (serial - had) & 0xFFFFFFFF < 0x80000000
        return True
