# SPDX-License-Identifier: MIT
"""Which address is whose, in one network: leases, offers, reservations, addresses that others have taken.

All of it is bounded by the number of addresses. No sockets, no clock: whoever asks says what time it is.
"""

_OFFER_S = 30
_OFFERS = 512  # at once in one network; the oldest one goes for another


class Lease:
    """An address that somebody has, or had: it is kept for them until somebody else needs it."""

    def __init__(self, address: int, key: bytes, hardware: bytes, until: int, name: str) -> None:
        self.address = address
        self.key = key
        self.hardware = hardware
        self.until = until  # seconds of time.time(); 0: released
        self.name = name  # of the client, if no other one has it


class _Offer:
    def __init__(self, address: int, key: bytes, until: int) -> None:
        self.address = address
        self.key = key
        self.until = until


class Reservation:
    """An address for one client, by its hardware address or identifier."""

    def __init__(self, address: int, key: bytes, name: str) -> None:
        self.address = address
        self.key = key  # b"m" and the MAC address, or b"i" and the identifier
        self.name = name


class Book:
    """The leases of a network. ranges: (first, last); reservations: Reservation."""

    def __init__(self, ranges: list, reservations: list, own: list) -> None:
        """own: addresses that nobody is given."""
        self.ranges = ranges
        self.reserved = {each.key: each for each in reservations}
        self._kept = {each.address: each.key for each in reservations}
        for address in own:
            self._kept[address] = b""
        self.leases: dict = {}  # address -> Lease
        self.by_key: dict = {}  # key -> Lease
        self.offers: dict = {}  # address -> _Offer
        self._offered: list = []  # _Offers, the oldest first; some are over
        self._offer_of: dict = {}  # key -> _Offer, of these
        self.declined: dict = {}  # address -> until when it is not tried again
        self.size = sum([last - first + 1 for first, last in ranges])
        self._cursor = ranges[0][0] if ranges else 0
        self._full_until = 0
        self._none_before = 0  # all leases run at least until then

    def in_range(self, address: int) -> bool:
        return any(first <= address <= last for first, last in self.ranges)

    # ---- whose is it ----------------------------------------------------------------------------

    def reservation(self, key: bytes, hardware: bytes) -> Reservation | None:
        return self.reserved.get(key) or self.reserved.get(b"m" + hardware)

    def may_have(self, address: int, who: object, now: int) -> bool:
        """Whether a client (key, hardware) may have this address: nobody else has it, nor is it to have it."""
        reserved = self.reservation(who.key, who.hardware)
        if reserved is not None and address != reserved.address:
            return False
        if reserved is None and (address in self._kept or not self.in_range(address)):
            return False
        lease = self.leases.get(address)
        if lease is not None and lease.key != who.key and lease.until > now:
            # A machine whose firmware, installer and system call themselves differently is one machine.
            is_same = reserved is not None and self.reservation(lease.key, lease.hardware) is reserved
            if not is_same:
                return False
        return self.declined.get(address, 0) <= now

    def find(self, who: object, wanted: int | None, now: int) -> int | None:
        """An address to offer (RFC 2131, 4.3.1): reserved, had before, wanted, never had, had longest ago. None: there
        is none."""
        reserved = self.reservation(who.key, who.hardware)
        if reserved is not None:
            return reserved.address if self.may_have(reserved.address, who, now) else None
        lease = self.by_key.get(who.key)
        if lease is not None and self.may_have(lease.address, who, now):
            return lease.address
        offer = self._offer_of.get(who.key)
        if offer is not None and self.offers.get(offer.address) is offer and self.may_have(offer.address, who, now):
            return offer.address
        if wanted is not None and self.may_have(wanted, who, now) and self._unoffered(wanted, who.key, now):
            return wanted
        return self._fresh(now) or self._oldest(now)

    def _unoffered(self, address: int, key: bytes, now: int) -> bool:
        offer = self.offers.get(address)
        return offer is None or offer.key == key or offer.until <= now

    def _fresh(self, now: int) -> int | None:
        """One that nobody has had, behind the one that was found last."""
        if self._full_until - 1 <= now < self._full_until:  # else the clock was set back
            return None
        self._sweep(now)
        address = self._cursor
        for _ in range(self.size):
            if (
                address not in self.leases
                and address not in self.offers
                and address not in self.declined
                and address not in self._kept
            ):
                self._cursor = self._after(address)
                return address
            address = self._after(address)
        self._full_until = now + 1  # to look through all again costs milliseconds
        return None

    def _after(self, address: int) -> int:
        for i, (first, last) in enumerate(self.ranges):
            if first <= address < last:
                return address + 1
            if address == last:
                return self.ranges[(i + 1) % len(self.ranges)][0]
        return self.ranges[0][0]

    def _oldest(self, now: int) -> int | None:
        """One whose lease ended longest ago; else the oldest offer that was not taken up."""
        if now >= self._none_before:
            best = None
            for lease in self.leases.values():
                if (
                    self.in_range(lease.address)
                    and lease.address not in self._kept
                    and lease.address not in self.offers
                    and (best is None or lease.until < best.until)
                ):
                    best = lease
            self._none_before = best.until if best is not None else now + 1
            if best is not None and best.until <= now:
                return best.address
        while self._offered:
            offer = self._offered[0]
            if self.offers.get(offer.address) is offer and self._is_free(offer.address, now):
                return offer.address
            self._forget_first()
        return None

    def _forget_first(self) -> None:
        """The oldest offer."""
        old = self._offered.pop(0)
        if self.offers.get(old.address) is old:
            del self.offers[old.address]
        if self._offer_of.get(old.key) is old:
            del self._offer_of[old.key]

    def _is_free(self, address: int, now: int) -> bool:
        lease = self.leases.get(address)
        return (
            (lease is None or lease.until <= now) and self.declined.get(address, 0) <= now and address not in self._kept
        )

    def _sweep(self, now: int) -> None:
        """Forget what is over."""
        for address, offer in list(self.offers.items()):
            if offer.until <= now:
                del self.offers[address]
        for address, until in list(self.declined.items()):
            if until <= now:
                del self.declined[address]

    # ---- what becomes of it ---------------------------------------------------------------------

    def offer(self, address: int, key: bytes, now: int) -> None:
        """It is kept for this client for some seconds."""
        made = _Offer(address, key, now + _OFFER_S)
        self.offers[address] = made
        self._offered.append(made)
        self._offer_of[key] = made
        while len(self._offered) > _OFFERS:
            self._forget_first()

    def withdraw(self, key: bytes) -> None:
        """The client has taken another server's."""
        offer = self._offer_of.pop(key, None)
        if offer is not None and self.offers.get(offer.address) is offer:
            del self.offers[offer.address]

    def grant(self, lease: Lease) -> None:
        """From now on it is theirs; what they, or others, had of it is over."""
        old = self.by_key.get(lease.key)
        if old is not None and old.address != lease.address:
            self.leases.pop(old.address, None)
        before = self.leases.get(lease.address)
        if before is not None and self.by_key.get(before.key) is before:
            del self.by_key[before.key]
        self.offers.pop(lease.address, None)
        self.leases[lease.address] = lease
        self.by_key[lease.key] = lease
        self._none_before = min(self._none_before, lease.until)

    def release(self, address: int, key: bytes) -> Lease | None:
        """The lease, which is over, if it was this client's."""
        lease = self.leases.get(address)
        if lease is None or lease.key != key or not lease.until:
            return None
        lease.until = 0
        self._none_before = 0
        return lease

    def decline(self, address: int, until: int) -> None:
        """Somebody else has it. No more than a quarter of all are left out for that, whoever says so."""
        if len(self.declined) >= max(2, self.size // 4):
            first = min(self.declined, key=self.declined.get)
            del self.declined[first]
        self.declined[address] = until
        self.offers.pop(address, None)
        lease = self.leases.pop(address, None)
        if lease is not None and self.by_key.get(lease.key) is lease:
            del self.by_key[lease.key]

    def taken(self, now: int) -> int:
        """Leases that run."""
        return len([lease for lease in self.leases.values() if lease.until > now])
