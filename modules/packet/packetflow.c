// SPDX-License-Identifier: MIT
// What packets are to the table of flows: see packetflow.h. ICMP errors belong to the flow of the packet they quote
// (RFC 5508, RFC 792, RFC 4443).
// Owns nothing of its own. Not here: the table's memory (packettable.c), windows (packettcp.c), translation
// (packetnat.c). Context: main loop; host tests.

#include "packetflow.h"

#include <errno.h>
#include <string.h>

#include "packetbytes.h"
#include "packettable.h"

enum { UDP_MIN = 8, LAST = UINT32_MAX };

// ---- what a packet is ----------------------------------------------------------------------------

static uint64_t fragment_hash(const packet_flows_t *t, const packet_frag_key_t *key) {
    uint64_t words[5];
    _Static_assert(sizeof words == sizeof *key, "a key is five words without holes");
    memcpy(words, key, sizeof words);
    return packet_table_hash(t, words, 5);
}

static packet_frag_t *find_datagram(packet_flows_t *t, const packet_look_t *look) {
    return packet_frag_find(&t->frags, &look->fragment, fragment_hash(t, &look->fragment), t->now);
}

static uint8_t look_later_fragment(packet_flows_t *t, const packet_t *p, packet_look_t *look) {
    bool read = packet_frag_read(p, &look->fragment, &look->piece);
    packet_frag_t *datagram = read ? find_datagram(t, look) : NULL;
    if (read && datagram == NULL) {
        uint64_t source;
        memcpy(&source, p->key.src, sizeof source); // of IPv4 all of it
        look->from = packet_table_hash(t, &source, 1);
        look->early = true;
    }
    packet_flow_t *f = datagram == NULL ? NULL : &t->flow[datagram->flow];
    bool known = f != NULL && f->used && f->number == datagram->number;
    packet_frag_fit_t fit = known ? packet_frag_fit(datagram, &look->piece) : PACKET_FRAG_SEEN;
    if (fit != PACKET_FRAG_NEW) {
        if (fit == PACKET_FRAG_OVERLAPS) {
            datagram->broken = true;
        }
        look->lost = known || !read;
        t->stats.fragments_lost++;
        return PACKET_INVALID;
    }
    look->flow = f;
    look->dir = datagram->dir;
    look->follows = true;
    return PACKET_ESTABLISHED;
}

// A first fragment of a datagram that is under way already overlaps with its other first one.
static bool first_fragment_ok(packet_flows_t *t, const packet_t *p, packet_look_t *look) {
    if (!packet_frag_read(p, &look->fragment, &look->piece)) {
        return false;
    }
    packet_frag_t *datagram = find_datagram(t, look);
    return datagram == NULL || packet_frag_is_over(datagram, t->now);
}

static uint8_t look_error(packet_flows_t *t, const packet_t *p, packet_look_t *look) {
    packet_quote_t quote;
    if (p->key.fragment != PACKET_WHOLE || !packet_tuple_quoted(p, &quote)) {
        return PACKET_INVALID;
    }
    // The error travels as a reply to the quoted packet would, and to the one that has sent it.
    packet_tuple_t way = packet_tuple_reverse(&quote.tuple);
    packet_flow_t *f = packet_table_find(t, &way, &look->dir);
    if (f == NULL || memcmp(way.dst, p->key.dst, sizeof way.dst) != 0) {
        return PACKET_INVALID;
    }
    if (packet_tuple_kind(&way) == PACKET_KIND_TCP &&
        !packet_tcp_sent(&f->tcp, !look->dir, packet_get32(quote.l4 + 4))) {
        return PACKET_INVALID;
    }
    look->flow = f;
    look->passing = true;
    return PACKET_RELATED;
}

// Whether a flow may begin with this.
static bool may_begin(const packet_flows_t *t, const packet_look_t *look, packet_kind_t kind) {
    if (kind == PACKET_KIND_QUERY) {
        return packet_tuple_asks(&look->tuple[0]);
    }
    packet_tcp_t none;
    return kind != PACKET_KIND_TCP || packet_tcp_begin(&none, &look->tcp, t->loose);
}

static uint8_t look_known(packet_look_t *look, packet_flow_t *f, packet_kind_t kind) {
    look->flow = f;
    if (kind == PACKET_KIND_TCP) {
        packet_tcp_fit_t fit = packet_tcp_fit(&f->tcp, look->dir, &look->tcp);
        look->passing = fit == PACKET_TCP_LET || fit == PACKET_TCP_OUT;
        if (fit == PACKET_TCP_AGAIN) {
            look->over = f;
            look->flow = NULL;
            look->dir = PACKET_DIR_FIRST;
            return PACKET_NEW;
        }
        if (fit == PACKET_TCP_OUT) {
            return PACKET_INVALID;
        }
    }
    return look->dir == PACKET_DIR_REPLY || f->replied ? PACKET_ESTABLISHED : PACKET_NEW;
}

static bool udp_ok(const packet_t *p) {
    unsigned size = packet_get16(p->l4 + 4), there = p->key.length - (unsigned)(p->l4 - p->ip);
    return size >= UDP_MIN && (size <= there || p->key.fragment != PACKET_WHOLE);
}

static uint8_t look_at(packet_flows_t *t, const packet_t *p, packet_look_t *look) {
    if (p->key.family == 0) {
        return PACKET_UNTRACKED;
    }
    if (p->key.fragment == PACKET_LATER_FRAGMENT) {
        return look_later_fragment(t, p, look);
    }
    packet_kind_t kind = packet_tuple_of(p, &look->tuple[0]);
    if (kind == PACKET_KIND_LOCAL) {
        return PACKET_UNTRACKED;
    }
    if (kind == PACKET_KIND_ERROR) {
        return look_error(t, p, look);
    }
    if (kind == PACKET_KIND_BAD || (kind == PACKET_KIND_TCP && !packet_tcp_read(p, &look->tcp)) ||
        (kind == PACKET_KIND_UDP && !udp_ok(p))) {
        return PACKET_INVALID;
    }
    if (p->key.fragment == PACKET_FIRST_FRAGMENT && !first_fragment_ok(t, p, look)) {
        look->lost = true;
        t->stats.fragments_lost++;
        return PACKET_INVALID;
    }
    packet_flow_t *f = packet_table_find(t, &look->tuple[0], &look->dir);
    uint8_t state = f == NULL ? PACKET_NEW : look_known(look, f, kind);
    if (look->flow != NULL) {
        return state;
    }
    look->tuple[1] = packet_tuple_reverse(&look->tuple[0]);
    bool to_itself = memcmp(p->key.src, p->key.dst, sizeof p->key.src) == 0;
    return !to_itself && may_begin(t, look, kind) ? PACKET_NEW : PACKET_INVALID;
}

void packet_flow_look(packet_flows_t *t, packet_t *p, uint64_t now_ns, packet_look_t *look) {
    t->now = now_ns > t->now ? now_ns : t->now;
    look->flow = look->over = NULL;
    look->dir = PACKET_DIR_FIRST;
    look->passing = look->follows = look->lost = look->early = false;
    look->state = look_at(t, p, look);
    t->stats.invalid += look->state == PACKET_INVALID;
    p->key.state = look->state;
}

// ---- accepted packets ----------------------------------------------------------------------------

static packet_life_t life_of_tcp(const packet_tcp_t *c) {
    static const uint8_t lifes[] = {
        [PACKET_TCP_SYN_SENT] = PACKET_LIFE_TCP_OPENING,
        [PACKET_TCP_SYN_RECEIVED] = PACKET_LIFE_TCP_OPENING,
        [PACKET_TCP_ESTABLISHED] = PACKET_LIFE_TCP_ESTABLISHED,
        [PACKET_TCP_HALF_CLOSED] = PACKET_LIFE_TCP_ESTABLISHED,
        [PACKET_TCP_CLOSING] = PACKET_LIFE_TCP_CLOSING,
        [PACKET_TCP_TIME_WAIT] = PACKET_LIFE_TCP_TIME_WAIT,
        [PACKET_TCP_RESET] = PACKET_LIFE_TCP_RESET,
    };
    return (packet_life_t)lifes[c->phase];
}

static packet_life_t life_of(const packet_flow_t *f, packet_kind_t kind) {
    switch (kind) {
        case PACKET_KIND_TCP:
            return life_of_tcp(&f->tcp);
        case PACKET_KIND_UDP:
            return f->replied ? PACKET_LIFE_UDP : PACKET_LIFE_UDP_ONE_WAY;
        case PACKET_KIND_QUERY:
            return PACKET_LIFE_ICMP;
        default:
            return f->replied ? PACKET_LIFE_OTHER : PACKET_LIFE_OTHER_ONE_WAY;
    }
}

static packet_queue_t queue_of(const packet_flow_t *f, packet_kind_t kind) {
    if (kind != PACKET_KIND_TCP) {
        return f->replied ? PACKET_QUEUE_NONE : PACKET_QUEUE_YOUNG;
    }
    return f->tcp.phase < PACKET_TCP_ESTABLISHED ? PACKET_QUEUE_YOUNG
           : f->tcp.phase < PACKET_TCP_TIME_WAIT ? PACKET_QUEUE_NONE
                                                 : PACKET_QUEUE_SPENT;
}

// What of a forward packet is translated.
static uint8_t nat_of(const packet_flow_t *f) {
    packet_tuple_t plain = packet_tuple_reverse(&f->tuple[0]);
    const packet_tuple_t *reply = &f->tuple[1];
    bool query = packet_tuple_kind(reply) == PACKET_KIND_QUERY; // the identifier is the asker's
    bool dst = memcmp(plain.src, reply->src, sizeof plain.src) != 0 || (!query && plain.sport != reply->sport);
    bool src = memcmp(plain.dst, reply->dst, sizeof plain.dst) != 0 || plain.dport != reply->dport ||
               (query && plain.sport != reply->sport);
    return (uint8_t)((dst ? PACKET_NAT_DST : 0) | (src ? PACKET_NAT_SRC : 0));
}

static int make(packet_flows_t *t, const packet_t *p, packet_look_t *look, packet_kind_t kind) {
    uint8_t dir;
    if (look->over != NULL) {
        packet_table_remove(t, look->over);
        look->over = NULL;
    }
    if (packet_table_find(t, &look->tuple[0], &dir) != NULL || packet_table_find(t, &look->tuple[1], &dir) != NULL) {
        t->stats.clashes++;
        return -EADDRINUSE;
    }
    packet_flow_t *f = packet_table_add(t, look->tuple);
    if (f == NULL) {
        t->stats.refused++;
        return -ENOSPC;
    }
    if (kind == PACKET_KIND_TCP) {
        (void)packet_tcp_begin(&f->tcp, &look->tcp, t->loose); // look has seen that it can
    }
    f->mark = p->key.mark;
    f->nat = nat_of(f);
    look->flow = f;
    return 0;
}

int packet_flow_commit(packet_flows_t *t, const packet_t *p, packet_look_t *look) {
    if ((look->state & (PACKET_NEW | PACKET_ESTABLISHED)) == 0 || look->passing) {
        return 0;
    }
    bool fresh = look->flow == NULL;
    packet_kind_t kind = packet_tuple_kind(fresh ? &look->tuple[0] : &look->flow->tuple[0]);
    int r = fresh ? make(t, p, look, kind) : 0;
    if (r != 0) {
        return r;
    }
    packet_flow_t *f = look->flow;
    f->packets[look->dir]++;
    f->bytes[look->dir] += p->key.length;
    if (look->follows) {
        packet_frag_t *datagram = find_datagram(t, look);
        if (datagram != NULL) {
            packet_frag_put(datagram, &look->piece);
        }
        return 0;
    }
    f->replied |= look->dir == PACKET_DIR_REPLY;
    if (kind == PACKET_KIND_TCP && !fresh) {
        packet_tcp_take(&f->tcp, look->dir, &look->tcp);
    }
    packet_table_touch(t, f, life_of(f, kind));
    packet_table_queue(t, f, queue_of(f, kind));
    if (p->key.fragment == PACKET_FIRST_FRAGMENT) {
        uint64_t hash = fragment_hash(t, &look->fragment);
        packet_frag_t *datagram = packet_frag_begin(&t->frags, &look->fragment, hash, t->now);
        datagram->flow = (uint32_t)(f - t->flow);
        datagram->number = f->number;
        datagram->dir = look->dir;
        packet_frag_put(datagram, &look->piece);
    }
    return 0;
}

// ---- for those who list --------------------------------------------------------------------------

const packet_flow_t *packet_flow_next(packet_flows_t *t, uint32_t *cursor, unsigned work) {
    for (; *cursor < t->size && work > 0; work--) {
        const packet_flow_t *f = &t->flow[(*cursor)++];
        if (f->used && f->expires_ns > t->now) {
            return f;
        }
    }
    if (*cursor >= t->size) {
        *cursor = LAST;
    }
    return NULL;
}

static bool within(const uint8_t *address, const uint8_t *net, unsigned bits) {
    unsigned bytes = bits / 8;
    uint8_t mask = (uint8_t)(0xff00 >> bits % 8);
    return bits <= 128 && memcmp(address, net, bytes) == 0 &&
           (bits % 8 == 0 || ((address[bytes] ^ net[bytes]) & mask) == 0);
}

bool packet_flow_matches(const packet_flow_t *f, const packet_flow_filter_t *w) {
    const packet_tuple_t *t = &f->tuple[0];
    return (w->family == 0 || w->family == t->family) && (w->proto == 0 || w->proto == t->proto) &&
           within(t->src, w->src, w->src_bits) && within(t->dst, w->dst, w->dst_bits) &&
           (w->sport == 0 || w->sport == t->sport) && (w->dport == 0 || w->dport == t->dport) &&
           (!w->by_mark || w->mark == f->mark);
}

unsigned packet_flow_delete(packet_flows_t *t, const packet_flow_filter_t *filter, uint32_t *cursor, unsigned work) {
    unsigned gone = 0;
    for (; *cursor < t->size && work > 0; work--) {
        packet_flow_t *f = &t->flow[(*cursor)++];
        if (f->used && packet_flow_matches(f, filter)) {
            packet_table_remove(t, f);
            t->stats.deleted++;
            gone++;
        }
    }
    if (*cursor >= t->size) {
        *cursor = LAST;
    }
    return gone;
}
