// SPDX-License-Identifier: MIT
// Longest-prefix match by a tree of bitmaps (Eatherton, Varghese, Dittia 2004) that looks at six bits a level: a node
// has one bitmap of the prefixes that end in it and one of its children, and both lie in arrays without gaps. At most
// six nodes are read for an IPv4 address, 22 for an IPv6 one; no prefix is stored twice, so that changes are cheap.
// Owns the nodes. Not here: what a hop means (packetfwd.c). Context: main loop; host tests.

#include "packetroute.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packetbytes.h"

enum { STRIDE = 6, DEPTH_MAX = 128 / STRIDE + 1, MALLOC_OWN = 16, HOPS_STEP = 16 };

struct packet_node {
    uint64_t ends;     // prefixes that end here: of n bits (0..5) with value v, bit 2^n - 1 + v
    uint64_t children; // by the next six bits
    packet_node_t *child;
    uint16_t *hop; // of each prefix, in the order of their bits
};

// An address from its first bit on.
typedef struct {
    uint64_t high, low;
} cursor_t;

static unsigned count_bits(uint64_t x) { // the compiler's own would be a function of its library
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return (unsigned)((x * 0x0101010101010101) >> 56);
}

static inline unsigned below(uint64_t map, unsigned bit) { return count_bits(map & ((1ull << bit) - 1)); }

// Bits of `ends` that match the next six bits v: one of each length.
static inline uint64_t matches(unsigned v) {
    return 1ull | 1ull << (1 + (v >> 5)) | 1ull << (3 + (v >> 4)) | 1ull << (7 + (v >> 3)) | 1ull << (15 + (v >> 2)) |
           1ull << (31 + (v >> 1));
}

static inline cursor_t cursor(unsigned family, const uint8_t *address) {
    if (family == 4) {
        return (cursor_t){(uint64_t)packet_get32(address) << 32, 0};
    }
    return (cursor_t){packet_get64(address), packet_get64(address + 8)};
}

static inline unsigned next_six(const cursor_t *c) { return (unsigned)(c->high >> (64 - STRIDE)); }
static inline void advance(cursor_t *c) {
    c->high = c->high << STRIDE | c->low >> (64 - STRIDE);
    c->low <<= STRIDE;
}

// The bit of a prefix's last bits, fewer than six.
static inline unsigned end_bit(const cursor_t *c, unsigned left) {
    return (1u << left) - 1 + (left == 0 ? 0 : (unsigned)(c->high >> (64 - left)));
}

bool packet_routes_init(packet_routes_t *r, size_t limit) {
    *r = (packet_routes_t){.limit = limit, .stamp = 2};
    for (unsigned i = 0; i < 2; i++) {
        r->root[i] = calloc(1, sizeof(packet_node_t));
    }
    if (r->root[0] != NULL && r->root[1] != NULL) {
        return true;
    }
    packet_routes_free(r);
    return false;
}

// Resize an array within the limit. NULL: it cannot be, and the old one stays. Making one smaller never fails.
static void *resize(packet_routes_t *r, void *old, size_t size, size_t from, size_t to) {
    size_t before = from == 0 ? 0 : from * size + MALLOC_OWN, after = to == 0 ? 0 : to * size + MALLOC_OWN;
    if (after > before && r->bytes - before + after > r->limit) {
        return NULL;
    }
    if (to == 0) {
        free(old);
        r->bytes -= before;
        return NULL;
    }
    void *p = realloc(old, to * size);
    if (p == NULL && to > from) {
        return NULL;
    }
    r->bytes = r->bytes - before + after;
    return p != NULL ? p : old;
}

static bool insert_hop(packet_routes_t *r, packet_node_t *n, unsigned bit, uint16_t hop) {
    unsigned have = count_bits(n->ends), at = below(n->ends, bit);
    uint16_t *p = resize(r, n->hop, sizeof *p, have, have + 1u);
    if (p == NULL) {
        return false;
    }
    memmove(p + at + 1, p + at, (have - at) * sizeof *p);
    p[at] = hop;
    n->hop = p;
    n->ends |= 1ull << bit;
    return true;
}

static bool insert_child(packet_routes_t *r, packet_node_t *n, unsigned bit) {
    unsigned have = count_bits(n->children), at = below(n->children, bit);
    packet_node_t *p = resize(r, n->child, sizeof *p, have, have + 1u);
    if (p == NULL) {
        return false;
    }
    memmove(p + at + 1, p + at, (have - at) * sizeof *p);
    p[at] = (packet_node_t){0};
    n->child = p;
    n->children |= 1ull << bit;
    return true;
}

static void remove_hop(packet_routes_t *r, packet_node_t *n, unsigned bit) {
    unsigned have = count_bits(n->ends), at = below(n->ends, bit);
    memmove(n->hop + at, n->hop + at + 1, (have - at - 1) * sizeof *n->hop);
    n->hop = resize(r, n->hop, sizeof *n->hop, have, have - 1u);
    n->ends &= ~(1ull << bit);
}

static void remove_child(packet_routes_t *r, packet_node_t *n, unsigned bit) {
    unsigned have = count_bits(n->children), at = below(n->children, bit);
    memmove(n->child + at, n->child + at + 1, (have - at - 1) * sizeof *n->child);
    n->child = resize(r, n->child, sizeof *n->child, have, have - 1u);
    n->children &= ~(1ull << bit);
}

// The nodes on the way to a prefix, root first. Returns how many of them there are; all: *depth + 1.
static unsigned way(const packet_routes_t *r, unsigned family, cursor_t *c, unsigned bits, packet_node_t **node) {
    packet_node_t *n = r->root[family == 6];
    unsigned have = 0;
    for (unsigned depth = bits / STRIDE;; depth--) {
        node[have++] = n;
        unsigned v = next_six(c);
        if (depth == 0 || (n->children >> v & 1) == 0) {
            return have;
        }
        n = &n->child[below(n->children, v)];
        advance(c);
    }
}

// Take away nodes that have become empty, from the last on.
static void prune(packet_routes_t *r, unsigned family, const uint8_t *prefix, packet_node_t **node, unsigned have) {
    while (have > 1 && node[have - 1]->ends == 0 && node[have - 1]->children == 0) {
        cursor_t c = cursor(family, prefix);
        for (unsigned i = 0; i < have - 2; i++) {
            advance(&c);
        }
        remove_child(r, node[have - 2], next_six(&c));
        have--;
    }
}

static bool prefix_ok(unsigned family, const uint8_t *prefix, unsigned bits) {
    unsigned len = family == 4 ? 4 : 16;
    if ((family != 4 && family != 6) || bits > len * 8) {
        return false;
    }
    for (unsigned i = bits / 8; i < len; i++) {
        uint8_t behind = i == bits / 8 ? (uint8_t)(0xff >> bits % 8) : 0xff;
        if ((prefix[i] & behind) != 0) {
            return false;
        }
    }
    return true;
}

// ---- hops ---------------------------------------------------------------------------------------

static int hop_take(packet_routes_t *r, const packet_hop_t *hop) {
    uint32_t spare = r->hops;
    for (uint32_t i = 0; i < r->hops; i++) {
        const packet_hop_t *h = &r->hop[i];
        if (r->uses[i] == 0) {
            spare = i < spare ? i : spare;
        } else if (h->kind == hop->kind && h->card == hop->card && h->gateway == hop->gateway &&
                   (!h->gateway || memcmp(h->via, hop->via, sizeof h->via) == 0)) {
            r->uses[i]++;
            return (int)i;
        }
    }
    if (spare == PACKET_HOPS_MAX) {
        return -ENOSPC;
    }
    if (spare == r->hops_room) {
        packet_hop_t *hops = resize(r, r->hop, sizeof *hops, r->hops_room, r->hops_room + HOPS_STEP);
        if (hops == NULL) {
            return -ENOMEM;
        }
        r->hop = hops;
        uint32_t *uses = realloc(r->uses, (r->hops_room + HOPS_STEP) * sizeof *uses);
        if (uses == NULL) {
            r->bytes -= HOPS_STEP * sizeof *hops + (r->hops_room == 0 ? MALLOC_OWN : 0); // as before; the array stays
            return -ENOMEM;
        }
        r->uses = uses;
        r->hops_room += HOPS_STEP;
    }
    r->hop[spare] = *hop;
    r->uses[spare] = 1;
    r->hops += spare == r->hops;
    return (int)spare;
}

// ---- verbs --------------------------------------------------------------------------------------

int packet_route_add(packet_routes_t *r, unsigned family, const uint8_t *prefix, unsigned bits,
                     const packet_hop_t *hop) {
    if (!prefix_ok(family, prefix, bits)) {
        return -EINVAL;
    }
    r->stamp += 2; // the hops may move, whatever comes of it
    int taken = hop_take(r, hop);
    if (taken < 0) {
        return taken;
    }
    packet_node_t *node[DEPTH_MAX + 1];
    cursor_t c = cursor(family, prefix);
    unsigned have = way(r, family, &c, bits, node), wanted = bits / STRIDE + 1;
    packet_node_t *n = node[have - 1];
    unsigned bit = 0;
    bool ok = have == wanted || r->count < PACKET_ROUTES_MAX;
    for (; ok && have < wanted; have++) {
        unsigned v = next_six(&c);
        ok = insert_child(r, n, v);
        if (!ok) {
            break;
        }
        n = node[have] = &n->child[below(n->children, v)];
        advance(&c);
    }
    if (ok) {
        bit = end_bit(&c, bits % STRIDE);
        if ((n->ends >> bit & 1) != 0) {
            uint16_t *old = &n->hop[below(n->ends, bit)];
            r->uses[*old]--;
            *old = (uint16_t)taken;
            return 0;
        }
        ok = r->count < PACKET_ROUTES_MAX && insert_hop(r, n, bit, (uint16_t)taken);
    }
    if (!ok) {
        r->uses[taken]--;
        prune(r, family, prefix, node, have);
        return -ENOSPC;
    }
    r->count++;
    return 0;
}

int packet_route_remove(packet_routes_t *r, unsigned family, const uint8_t *prefix, unsigned bits) {
    if (!prefix_ok(family, prefix, bits)) {
        return -EINVAL;
    }
    packet_node_t *node[DEPTH_MAX + 1];
    cursor_t c = cursor(family, prefix);
    unsigned have = way(r, family, &c, bits, node);
    packet_node_t *n = node[have - 1];
    unsigned bit = end_bit(&c, bits % STRIDE);
    if (have != bits / STRIDE + 1 || (n->ends >> bit & 1) == 0) {
        return -ENOENT;
    }
    r->stamp += 2;
    r->uses[n->hop[below(n->ends, bit)]]--;
    remove_hop(r, n, bit);
    prune(r, family, prefix, node, have);
    r->count--;
    return 0;
}

const packet_hop_t *packet_route_get(const packet_routes_t *r, unsigned family, const uint8_t *prefix, unsigned bits) {
    if (!prefix_ok(family, prefix, bits)) {
        return NULL;
    }
    packet_node_t *node[DEPTH_MAX + 1];
    cursor_t c = cursor(family, prefix);
    unsigned have = way(r, family, &c, bits, node);
    const packet_node_t *n = node[have - 1];
    unsigned bit = end_bit(&c, bits % STRIDE);
    bool there = have == bits / STRIDE + 1 && (n->ends >> bit & 1) != 0;
    return there ? &r->hop[n->hop[below(n->ends, bit)]] : NULL;
}

static const packet_hop_t *longest(const packet_routes_t *r, const packet_node_t *n, cursor_t c) {
    const packet_node_t *best = NULL;
    uint64_t found = 0;
    for (;;) {
        unsigned v = next_six(&c);
        uint64_t here = n->ends & matches(v);
        if (here != 0) {
            best = n;
            found = here;
        }
        if ((n->children >> v & 1) == 0) {
            break;
        }
        n = &n->child[below(n->children, v)];
        advance(&c);
    }
    // The longest has the highest bit.
    return best == NULL ? NULL : &r->hop[best->hop[below(best->ends, 63u - (unsigned)__builtin_clzll(found))]];
}

const packet_hop_t *packet_route_find(packet_routes_t *r, unsigned family, const uint8_t *address) {
    cursor_t c = cursor(family, address);
    uint64_t all = c.high ^ c.low, stamp = r->stamp + (family == 6);
    packet_route_line_t *l = &r->line[((uint32_t)(all ^ all >> 32) * 2654435761u) >> 24];
    _Static_assert(PACKET_ROUTE_LINES == 256, "eight bits of the hash");
    if (l->stamp != stamp || l->high != c.high || l->low != c.low) {
        *l = (packet_route_line_t){c.high, c.low, stamp, longest(r, r->root[family == 6], c)};
    }
    return l->hop;
}

// ---- all of them --------------------------------------------------------------------------------

static void write_bits(uint8_t *prefix, unsigned at, unsigned value, unsigned bits) {
    for (unsigned i = 0; i < bits; i++, at++) {
        uint8_t one = (uint8_t)(0x80 >> at % 8);
        bool set = (value >> (bits - 1 - i) & 1) != 0;
        prefix[at / 8] = set ? prefix[at / 8] | one : prefix[at / 8] & (uint8_t)~one;
    }
}

void packet_route_walk(const packet_routes_t *r, unsigned family, packet_route_visit_t *visit, void *arg) {
    struct {
        const packet_node_t *n;
        uint64_t left; // children to be walked
    } stack[DEPTH_MAX + 1];
    uint8_t prefix[17] = {0};
    unsigned depth = 0;
    stack[0].n = r->root[family == 6];
    stack[0].left = stack[0].n->children;
    for (bool fresh = true;;) {
        const packet_node_t *n = stack[depth].n;
        for (unsigned len = 0, i = 0; fresh && len < STRIDE; len++) {
            for (unsigned v = 0; v < 1u << len; v++) {
                if ((n->ends >> ((1u << len) - 1 + v) & 1) != 0) {
                    write_bits(prefix, depth * STRIDE, v << (STRIDE - len), STRIDE); // and zeros behind it
                    visit(arg, prefix, depth * STRIDE + len, &r->hop[n->hop[i++]]);
                }
            }
        }
        if (stack[depth].left == 0) {
            write_bits(prefix, depth * STRIDE, 0, STRIDE);
            if (depth-- == 0) {
                return;
            }
            fresh = false;
            continue;
        }
        unsigned v = (unsigned)__builtin_ctzll(stack[depth].left);
        stack[depth].left &= stack[depth].left - 1;
        write_bits(prefix, depth * STRIDE, v, STRIDE);
        const packet_node_t *child = &n->child[below(n->children, v)];
        depth++;
        stack[depth].n = child;
        stack[depth].left = child->children;
        fresh = true;
    }
}

static void free_children(packet_node_t *n) { // no deeper than DEPTH_MAX
    for (unsigned i = 0, have = count_bits(n->children); i < have; i++) {
        free_children(&n->child[i]);
    }
    free(n->child);
    free(n->hop);
}

void packet_routes_free(packet_routes_t *r) {
    for (unsigned i = 0; i < 2; i++) {
        if (r->root[i] != NULL) {
            free_children(r->root[i]);
            free(r->root[i]);
        }
    }
    free(r->hop);
    free(r->uses);
    *r = (packet_routes_t){0};
}
