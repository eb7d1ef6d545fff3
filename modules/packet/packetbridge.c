// SPDX-License-Identifier: MIT
// Frames between the cards of a bridge: see packetbridge.h. A frame is sent from where it was received; several cards
// send the same bytes. Owns nothing of its own. Context: main loop; host tests.

#include "packetbridge.h"

#include <string.h>

#include "packetbytes.h"
#include "packetsend.h"

enum { GROUP = 1, TYPE_VLAN = 0x8100, TAG = 4, TAG_ID = 0xfff };

// And a last byte below 0x10: reserved, never forwarded (IEEE 802.1Q, 8.6.3).
static const uint8_t link_local[5] = {0x01, 0x80, 0xc2, 0x00, 0x00};

void packet_bridge_init(packet_bridge_t *b, uint8_t members, uint8_t card) {
    memset(b, 0, sizeof *b);
    memset(b->station, 0xff, sizeof b->station); // nobody's
    b->members = members;
    b->card = card;
}

// ---- who is where -----------------------------------------------------------------------------------

static packet_station_t *set_of(packet_bridge_t *b, const uint8_t *mac) {
    uint32_t h = (packet_get32(mac + 2) ^ (uint32_t)packet_get16(mac) << 8) * 2654435761u;
    return b->station[h >> 24];
}

static bool is_old(const packet_station_t *s, uint32_t now_s) {
    return s->card == PACKET_NO_CARD || now_s - s->seen_s >= PACKET_BRIDGE_AGE_S;
}

static packet_station_t *find(packet_bridge_t *b, const uint8_t *mac, uint32_t now_s) {
    packet_station_t *set = set_of(b, mac);
    for (unsigned i = 0; i < PACKET_BRIDGE_WAYS; i++) {
        if (!is_old(&set[i], now_s) && memcmp(set[i].mac, mac, NETDEV_MAC_LEN) == 0) {
            return &set[i];
        }
    }
    return NULL;
}

// Whoever sends is behind the card that it came by. In a full set the one that was not heard of for longest gives way.
static void learn(packet_bridge_t *b, const uint8_t *mac, unsigned card, uint32_t now_s) {
    packet_station_t *s = find(b, mac, now_s), *set = set_of(b, mac);
    for (unsigned i = 0; s == NULL && i < PACKET_BRIDGE_WAYS; i++) {
        s = is_old(&set[i], now_s) ? &set[i] : NULL;
    }
    if (s == NULL) {
        s = &set[0];
        for (unsigned i = 1; i < PACKET_BRIDGE_WAYS; i++) {
            s = now_s - set[i].seen_s > now_s - s->seen_s ? &set[i] : s;
        }
    }
    memcpy(s->mac, mac, NETDEV_MAC_LEN);
    s->card = (uint8_t)card;
    s->seen_s = now_s;
}

uint8_t packet_bridge_where(packet_bridge_t *b, const uint8_t *mac, uint64_t now_ns) {
    packet_station_t *s = (mac[0] & GROUP) != 0 ? NULL : find(b, mac, (uint32_t)(now_ns / 1000000000));
    return s == NULL ? b->members : (uint8_t)(1u << s->card);
}

// ---- frames -----------------------------------------------------------------------------------------

static packet_fate_t drop(packet_fwd_t *w, packet_stat_t why) {
    w->base.count[why]++;
    return PACKET_DROPPED;
}

// Bytes of a tag, which a frame may be longer for.
static unsigned tag_of(const netdev_frame_t *f) {
    const uint8_t *eth = f->seg[0].base;
    return f->seg[0].len >= PACKET_ETH + TAG && packet_get16(eth + 12) == TYPE_VLAN ? TAG : 0;
}

static bool fits(const packet_fwd_t *w, unsigned card, const netdev_frame_t *f) {
    uint32_t most = w->base.card[card].dev->mtu + (uint32_t)PACKET_ETH + tag_of(f);
    return (f->gso != NETDEV_GSO_NONE ? (uint32_t)f->hdr_len + f->gso_size : packet_frame_len(f)) <= most;
}

static void shift(netdev_frame_t *f, int by) {
    f->seg[0] = (netdev_seg_t){(uint8_t *)f->seg[0].base + by, f->seg[0].len - (uint32_t)by};
    f->csum_start = (uint16_t)(f->csum_start != 0 ? f->csum_start - by : 0);
    f->hdr_len = (uint16_t)(f->hdr_len != 0 ? f->hdr_len - by : 0);
}

// Read what is in a frame, behind a tag if it has one, and whether another card can be asked for what is left to do.
static bool read(packet_fwd_t *w, packet_t *p, unsigned card, netdev_frame_t *f, packet_parsed_t *parsed) {
    uint8_t *eth = f->seg[0].base;
    int tag = (int)tag_of(f);
    shift(f, tag);
    *parsed = packet_parse(p, f, (uint8_t)card);
    bool ip = *parsed == PACKET_PARSED, ok = ip ? packet_fwd_offloads(p) : !f->csum_needed && f->gso == NETDEV_GSO_NONE;
    if (ip) {
        memcpy(p->key.smac, eth + NETDEV_MAC_LEN, NETDEV_MAC_LEN);
        p->key.vlan = tag != 0 ? packet_get16(eth + 14) & TAG_ID : w->base.card[card].vlan;
    }
    shift(f, -tag);
    return ok;
}

// Send it out of each of these cards. What is left to a device is done here where more than one sends these bytes.
static void send(packet_fwd_t *w, unsigned cards, netdev_frame_t *f) {
    packet_ref_t *ref = f->cookie;
    bool many = (cards & (cards - 1)) != 0;
    if (many && f->csum_needed && f->gso == NETDEV_GSO_NONE) {
        packet_send_sum(f);
    }
    f->headroom = many ? 0 : f->headroom; // each device has a header of its own
    for (unsigned i = 0; i < NETDEV_MAX; i++) {
        if ((cards >> i & 1) == 0) {
            continue;
        }
        if (!fits(w, i, f)) {
            w->base.count[PACKET_N_TOO_BIG]++;
            continue;
        }
        netdev_frame_t one = *f;
        ref->refs++;
        w->base.count[PACKET_N_BRIDGED]++;
        packet_send_whole(&w->base, i, &one);
    }
}

// What the rules say of it, from card to card: to several of them it leaves by none that they could name.
static bool may_pass(packet_fwd_t *w, packet_t *p, unsigned cards) {
    static const uint8_t nobody[4];
    packet_pass_t s = {.flows = w->flows, .now_ns = w->base.now_ns};
    p->key.out = PACKET_NO_CARD;
    for (unsigned i = 0; i < NETDEV_MAX; i++) {
        p->key.out = cards == 1u << i ? (uint8_t)i : p->key.out;
    }
    return packet_filter_came(&s, p) == PACKET_GOES && packet_filter_forward(&s, p) == PACKET_GOES &&
           packet_filter_leaves(&s, p, nobody) == PACKET_GOES;
}

// Which cards it goes to, and whether to this machine.
static unsigned targets(packet_fwd_t *w, packet_bridge_t *b, unsigned card, const uint8_t *eth, bool *own) {
    unsigned cards = 0;
    *own = (eth[0] & GROUP) != 0 || memcmp(eth, w->base.card[b->card].mac, NETDEV_MAC_LEN) == 0;
    if ((eth[0] & GROUP) != 0 || !*own) {
        cards = packet_bridge_where(b, eth, w->base.now_ns) & b->members & ~(1u << card);
    }
    for (unsigned i = 0; i < NETDEV_MAX; i++) {
        cards &= (cards >> i & 1) != 0 && !w->base.card[i].up ? ~(1u << i) : ~0u;
    }
    return cards;
}

packet_fate_t packet_bridge_frame(packet_fwd_t *w, packet_bridge_t *b, unsigned card, netdev_frame_t *f,
                                  uint64_t now_ns) {
    const uint8_t *eth = f->seg[0].base, *source = eth + NETDEV_MAC_LEN;
    w->base.now_ns = now_ns;
    if (f->seg[0].len < PACKET_ETH || (source[0] & GROUP) != 0 ||
        memcmp(source, w->base.card[b->card].mac, NETDEV_MAC_LEN) == 0) {
        return drop(w, PACKET_N_BAD);
    }
    learn(b, source, card, (uint32_t)(now_ns / 1000000000));
    if (memcmp(eth, link_local, sizeof link_local) == 0 && eth[5] < 0x10) {
        return drop(w, PACKET_N_NOT_OURS);
    }
    bool own;
    unsigned cards = targets(w, b, card, eth, &own);
    packet_t p;
    packet_parsed_t parsed;
    if (!read(w, &p, card, f, &parsed)) {
        return drop(w, PACKET_N_BAD);
    }
    bool ip = parsed == PACKET_PARSED, asked = b->filter && packet_rules_in_use() != NULL && parsed != PACKET_OTHER;
    if (cards != 0 && asked && (!ip || !may_pass(w, &p, cards))) {
        w->base.count[PACKET_N_FILTERED]++;
        cards = 0;
    }
    own = own && ((eth[0] & GROUP) == 0 || !ip || p.key.fragment == PACKET_WHOLE); // the stack writes into fragments
    if (cards == 0 && !own) {
        return PACKET_DROPPED;
    }
    packet_ref_t *ref = packet_ref_get(&w->base.pool, PACKET_REF_FRAME, NULL);
    if (ref == NULL || !w->base.host->keep(card, f->nsegs)) {
        if (ref != NULL) {
            packet_ref_put(&w->base.pool, ref);
        }
        return drop(w, PACKET_N_NO_ROOM);
    }
    ref->card = (uint8_t)card;
    ref->pieces = (uint8_t)f->nsegs;
    ref->cookie = f->cookie;
    f->cookie = ref;
    send(w, cards, f);
    if (own) {
        b->deliver(b, f);
    } else {
        packet_base_put(&w->base, ref);
    }
    return PACKET_KEPT;
}
