// SPDX-License-Identifier: MIT
// Unpredictable numbers for the stack: initial sequence numbers by RFC 6528 with SipHash-2-4 (Aumasson,
// Bernstein 2012) as its F, identifications of IPv4 packets, and LWIP_RAND() for ports and transaction ids. Owns the
// keys and a small stream of random bytes. Not here: the entropy pool (hal_entropy_get).
// Context: main loop, and inside lwIP.

#include "netrand.h"

#include <string.h>

#include "hal.h"
#include "nethooks.h"

enum { PORT_FIRST = 32768, PORT_COUNT = 32768, PORT_SEQUENCES = 16 };

static uint64_t key[2];
static uint8_t box[256]; // of the identifications
static uint8_t pool[64];
static size_t pool_left;
static uint64_t fallback_count;
static bool fallback_reported;

static inline uint64_t rotl(uint64_t x, unsigned n) { return (x << n) | (x >> (64 - n)); }

static inline void sip_rounds(uint64_t v[4], int rounds) {
    while (rounds-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] = rotl(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] = rotl(v[2], 32);
    }
}

uint64_t netrand_siphash(const uint64_t k[2], const void *data, size_t len) {
    uint64_t v[4] = {0x736f6d6570736575ull ^ k[0], 0x646f72616e646f6dull ^ k[1], 0x6c7967656e657261ull ^ k[0],
                     0x7465646279746573ull ^ k[1]};
    const uint8_t *p = data;
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t m;
        memcpy(&m, p, sizeof m);
        v[3] ^= m;
        sip_rounds(v, 2);
        v[0] ^= m;
    }
    uint64_t m = 0;
    memcpy(&m, p, left);
    m |= (uint64_t)len << 56;
    v[3] ^= m;
    sip_rounds(v, 2);
    v[0] ^= m;
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

// Without any entropy source the numbers only differ between machines and boots; whoever knows the clock can
// guess them. That is said once, on the console.
static void fallback_fill(void *out, size_t len) {
    if (!fallback_reported) {
        static const char msg[] = "net: no entropy source; ports and sequence numbers are guessable\n";
        fallback_reported = true;
        hal_console_log(msg, sizeof msg - 1);
    }
    uint8_t *p = out;
    while (len > 0) {
        uint64_t in[3] = {hal_clock_cycles(), hal_clock_wall_ns(), ++fallback_count};
        uint64_t r = netrand_siphash(key, in, sizeof in);
        size_t n = len < sizeof r ? len : sizeof r;
        memcpy(p, &r, n);
        p += n;
        len -= n;
    }
}

static void fill(void *out, size_t len) {
    if (!hal_entropy_get(out, len)) {
        fallback_fill(out, len);
    }
}

// The key of the sequence numbers is drawn once: RFC 6528, section 3 asks for a secret that changes at a restart of
// the system, and one that changed in between would break what it is for, that new numbers lie behind old ones.
void netrand_init(void) {
    uint64_t k[2];
    fill(k, sizeof k);
    memcpy(key, k, sizeof key);
    fill(box, sizeof box);
}

static void netrand_copied(const hal_identity_t *id) {
    (void)id;
    netrand_init();
    pool_left = 0;
}
HAL_COPIED(HAL_COPIED_SECRETS, netrand_copied);

// Two of one saved VM draw from here on what differs.
static void netrand_suspend(hal_suspend_t what) { pool_left = what == HAL_RESUMED ? 0 : pool_left; }
HAL_SUSPEND(netrand_suspend);

uint32_t netrand_u32(void) {
    uint32_t r;
    if (pool_left < sizeof r) {
        fill(pool, sizeof pool);
        pool_left = sizeof pool;
    }
    pool_left -= sizeof r;
    memcpy(&r, pool + pool_left, sizeof r);
    memset(pool + pool_left, 0, sizeof r); // a number handed out is not kept
    return r;
}

// Counted, so that none comes again among 65,536 (RFC 6864, 4.2), and then put through a Feistel network, which is
// one-to-one, so that one tells nothing about the next.
u16_t netrand_ip_id(u16_t n) {
    for (unsigned round = 0; round < 4; round++) {
        uint8_t right = (uint8_t)n;
        n = (u16_t)(right << 8 | ((n >> 8) ^ box[(uint8_t)(right + 61 * round)]));
    }
    return n;
}

// RFC 6056, algorithm 4: one sequence for a destination, from an offset nobody guesses. A port just used, which the
// far end may hold in TIME_WAIT, comes again after all the others; other destinations tell nothing about it.
uint16_t netrand_port(const ip_addr_t *remote, uint16_t remote_port) {
    static uint16_t count[PORT_SEQUENCES];
    uint32_t id[5] = {remote_port};
    memcpy(id + 1, &remote->u_addr, IP_IS_V6(remote) ? 16 : 4);
    uint64_t f = netrand_siphash(key, id, sizeof id);
    return (uint16_t)(PORT_FIRST + (uint16_t)(f + count[(f >> 32) % PORT_SEQUENCES]++) % PORT_COUNT);
}

u32_t netrand_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port) {
    struct {
        ip_addr_t local, remote;
        uint16_t ports[2];
    } id;
    memset(&id, 0, sizeof id);
    ip_addr_copy(id.local, *local);
    ip_addr_copy(id.remote, *remote);
    id.ports[0] = local_port;
    id.ports[1] = remote_port;
    uint32_t m = (uint32_t)(hal_clock_ns() / 4000); // the 4 microsecond timer of RFC 793
    return m + (uint32_t)netrand_siphash(key, &id, sizeof id);
}
