// SPDX-License-Identifier: MIT
// Python: module _packet, over which frozen/lib/packet stands. Addresses and prefixes are text. Owns nothing. Not here:
// the names that scripts use (frozen/lib/packet). Context: main loop; may raise.

#include <string.h>

#include "lwip/ip_addr.h"
#include "mod_netaddr.h"
#include "netcfg.h"
#include "packetjoin.h"
#include "py/mperrno.h"
#include "py/runtime.h"

enum { FLOWS_AT_ONCE = 64, FLOWS_LOOKED_AT = 4096 };

static packet_fwd_t *engine_or_raise(void) {
    packet_fwd_t *w = packet_join();
    if (w == NULL) {
        mp_raise_OSError(MP_ENOMEM);
    }
    return w;
}

// "10.0.0.0/8" or "2001:db8::/32": its family. Without a length it is one host.
static unsigned prefix_of(mp_obj_t text, uint8_t *prefix, unsigned *bits) {
    size_t len;
    const char *s = mp_obj_str_get_data(text, &len);
    ip_addr_t a;
    *bits = UINT32_MAX;
    if (!netcfg_parse(s, len, &a, bits)) {
        mp_raise_ValueError(MP_ERROR_TEXT("not a prefix"));
    }
    bool v6 = IP_IS_V6(&a);
    *bits = *bits == UINT32_MAX ? (v6 ? 128 : 32) : *bits;
    if (v6) {
        memcpy(prefix, ip_2_ip6(&a)->addr, 16);
    } else {
        memcpy(prefix, &ip_2_ip4(&a)->addr, 4);
    }
    return v6 ? 6 : 4;
}

static void raise_for(int r) {
    if (r == -EINVAL) {
        mp_raise_ValueError(MP_ERROR_TEXT("not a prefix: bits behind its length"));
    }
    if (r < 0) {
        mp_raise_OSError(-r);
    }
}

// forward(on)
static mp_obj_t mod_packet_forward(mp_obj_t on) {
    engine_or_raise();
    packet_join_forward(mp_obj_is_true(on));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_packet_forward_obj, mod_packet_forward);

// vlan(card, tag): the number of its card.
static mp_obj_t mod_packet_vlan(mp_obj_t card_in, mp_obj_t tag_in) {
    mp_int_t card = mp_obj_get_int(card_in), tag = mp_obj_get_int(tag_in);
    int r = packet_join_vlan(card >= 0 && card < NETDEV_MAX ? (unsigned)card : NETDEV_MAX, tag > 0 ? (unsigned)tag : 0);
    if (r == -EINVAL) {
        mp_raise_ValueError(MP_ERROR_TEXT("a tag is 1 to 4094"));
    }
    raise_for(r);
    return MP_OBJ_NEW_SMALL_INT(r);
}
static MP_DEFINE_CONST_FUN_OBJ_2(mod_packet_vlan_obj, mod_packet_vlan);

// bridge(cards, filter): the number of its own card. cards: a bit each.
static mp_obj_t mod_packet_bridge(mp_obj_t cards_in, mp_obj_t filter_in) {
    mp_int_t cards = mp_obj_get_int(cards_in);
    int r = packet_join_bridge(cards >= 0 && cards < 1 << NETDEV_MAX ? (unsigned)cards : 0, mp_obj_is_true(filter_in));
    if (r == -EINVAL) {
        mp_raise_ValueError(MP_ERROR_TEXT("a bridge is of two cards at least"));
    }
    raise_for(r);
    return MP_OBJ_NEW_SMALL_INT(r);
}
static MP_DEFINE_CONST_FUN_OBJ_2(mod_packet_bridge_obj, mod_packet_bridge);

// add(prefix, via, card): via and card may be None, not both.
static mp_obj_t mod_packet_add(mp_obj_t prefix_in, mp_obj_t via_in, mp_obj_t card_in) {
    uint8_t prefix[16], via[16];
    unsigned bits, host_bits, card = PACKET_NO_CARD, family = prefix_of(prefix_in, prefix, &bits);
    bool gateway = via_in != mp_const_none;
    if (gateway && prefix_of(via_in, via, &host_bits) != family) {
        mp_raise_ValueError(MP_ERROR_TEXT("via is of the other family"));
    }
    if (card_in != mp_const_none) {
        mp_int_t n = mp_obj_get_int(card_in);
        card = n >= 0 && n < NETDEV_MAX ? (unsigned)n : NETDEV_MAX;
    } else if (!gateway) {
        mp_raise_ValueError(MP_ERROR_TEXT("a route needs via or card"));
    }
    raise_for(packet_join_add(family, prefix, bits, gateway ? via : NULL, card));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(mod_packet_add_obj, mod_packet_add);

// remove(prefix)
static mp_obj_t mod_packet_remove(mp_obj_t prefix_in) {
    uint8_t prefix[16];
    unsigned bits, family = prefix_of(prefix_in, prefix, &bits);
    raise_for(packet_join_remove(family, prefix, bits));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_packet_remove_obj, mod_packet_remove);

static mp_obj_t text_of(const uint8_t *address, bool v6) {
    ip_addr_t a;
    mod_netaddr_from_bytes(&a, address, v6);
    return mod_netaddr_ip_to_obj(&a);
}

typedef struct {
    mp_obj_t list;
    bool v6;
} listing_t;

static void list_one(void *arg, const uint8_t *prefix, unsigned bits, const packet_hop_t *hop) {
    static const qstr kinds[] = {
        [PACKET_ROUTE_LOCAL] = MP_QSTR_local,         [PACKET_ROUTE_BROADCAST] = MP_QSTR_broadcast,
        [PACKET_ROUTE_CONNECTED] = MP_QSTR_connected, [PACKET_ROUTE_DEFAULT] = MP_QSTR_default,
        [PACKET_ROUTE_STATIC] = MP_QSTR_static,
    };
    const listing_t *l = arg;
    mp_obj_t items[] = {
        text_of(prefix, l->v6),
        MP_OBJ_NEW_SMALL_INT(bits),
        hop->gateway ? text_of(hop->via, l->v6) : mp_const_none,
        MP_OBJ_NEW_SMALL_INT(hop->card),
        MP_OBJ_NEW_QSTR(kinds[hop->kind]),
    };
    mp_obj_list_append(l->list, mp_obj_new_tuple(MP_ARRAY_SIZE(items), items));
}

// routes(): a tuple (address, bits, via, card, kind) each, IPv4 before IPv6.
static mp_obj_t mod_packet_routes(void) {
    const packet_fwd_t *w = engine_or_raise();
    listing_t l = {mp_obj_new_list(0, NULL), false};
    packet_route_walk(&w->routes, 4, list_one, &l);
    l.v6 = true;
    packet_route_walk(&w->routes, 6, list_one, &l);
    return l.list;
}
static MP_DEFINE_CONST_FUN_OBJ_0(mod_packet_routes_obj, mod_packet_routes);

// counters(): a dict.
static mp_obj_t mod_packet_counters(void) {
    const packet_fwd_t *w = engine_or_raise();
    mp_obj_t dict = mp_obj_new_dict(PACKET_N_COUNT);
    for (unsigned i = 0; i < PACKET_N_COUNT; i++) {
        mp_obj_dict_store(dict, mp_obj_new_str_from_cstr(packet_stat_names[i]),
                          mp_obj_new_int_from_ull(w->base.count[i]));
    }
    return dict;
}
static MP_DEFINE_CONST_FUN_OBJ_0(mod_packet_counters_obj, mod_packet_counters);

// track(flows): 0 for as many as this VM's memory is meant for.
static mp_obj_t mod_packet_track(mp_obj_t flows_in) {
    mp_int_t flows = mp_obj_get_int(flows_in);
    uint32_t count = flows == 0 ? packet_join_flows_default() : (uint32_t)MIN(MAX(flows, 0), UINT32_MAX);
    int r = packet_join_track(count);
    if (r == -EINVAL) {
        mp_raise_ValueError(MP_ERROR_TEXT("so many flows cannot be"));
    }
    raise_for(r);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_packet_track_obj, mod_packet_track);

static mp_obj_t end_of(const packet_flow_t *f, const uint8_t *address, uint16_t port) {
    mp_obj_t items[] = {text_of(address, f->tuple[0].family == 6), MP_OBJ_NEW_SMALL_INT(port)};
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}

// flows(cursor): ([flow...], cursor of the next ones), the last one -1. A flow is a tuple: proto, source and target as
// (address, port) of its first packets, the same of its replies, packets and bytes each way, whether it was replied.
// flows(): how many there are.
static mp_obj_t mod_packet_flows(size_t n_args, const mp_obj_t *args) {
    const packet_fwd_t *w = engine_or_raise();
    if (n_args == 0) {
        packet_flow_stats_t stats = {0};
        if (w->flows != NULL) {
            packet_flow_stats(w->flows, &stats);
        }
        return MP_OBJ_NEW_SMALL_INT(stats.flows);
    }
    uint32_t cursor = (uint32_t)mp_obj_get_int(args[0]);
    mp_obj_t list = mp_obj_new_list(0, NULL);
    for (unsigned n = 0; w->flows != NULL && cursor != UINT32_MAX && n < FLOWS_AT_ONCE; n++) {
        const packet_flow_t *f = packet_flow_next(w->flows, &cursor, FLOWS_LOOKED_AT);
        if (f == NULL) {
            break;
        }
        const packet_tuple_t *first = &f->tuple[0], *reply = &f->tuple[1];
        mp_obj_t items[] = {
            MP_OBJ_NEW_SMALL_INT(first->proto),   end_of(f, first->src, first->sport),
            end_of(f, first->dst, first->dport),  end_of(f, reply->src, reply->sport),
            end_of(f, reply->dst, reply->dport),  mp_obj_new_int_from_ull(f->packets[0]),
            mp_obj_new_int_from_ull(f->bytes[0]), mp_obj_new_int_from_ull(f->packets[1]),
            mp_obj_new_int_from_ull(f->bytes[1]), mp_obj_new_bool(f->replied),
        };
        mp_obj_list_append(list, mp_obj_new_tuple(MP_ARRAY_SIZE(items), items));
    }
    bool all = w->flows == NULL || cursor == UINT32_MAX;
    mp_obj_t pair[] = {list, all ? MP_OBJ_NEW_SMALL_INT(-1) : mp_obj_new_int_from_uint(cursor)};
    return mp_obj_new_tuple(MP_ARRAY_SIZE(pair), pair);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_packet_flows_obj, 0, 1, mod_packet_flows);

static const mp_rom_map_elem_t mod_packet_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__packet)},
    {MP_ROM_QSTR(MP_QSTR_forward), MP_ROM_PTR(&mod_packet_forward_obj)},
    {MP_ROM_QSTR(MP_QSTR_vlan), MP_ROM_PTR(&mod_packet_vlan_obj)},
    {MP_ROM_QSTR(MP_QSTR_bridge), MP_ROM_PTR(&mod_packet_bridge_obj)},
    {MP_ROM_QSTR(MP_QSTR_add), MP_ROM_PTR(&mod_packet_add_obj)},
    {MP_ROM_QSTR(MP_QSTR_remove), MP_ROM_PTR(&mod_packet_remove_obj)},
    {MP_ROM_QSTR(MP_QSTR_routes), MP_ROM_PTR(&mod_packet_routes_obj)},
    {MP_ROM_QSTR(MP_QSTR_track), MP_ROM_PTR(&mod_packet_track_obj)},
    {MP_ROM_QSTR(MP_QSTR_flows), MP_ROM_PTR(&mod_packet_flows_obj)},
    {MP_ROM_QSTR(MP_QSTR_counters), MP_ROM_PTR(&mod_packet_counters_obj)},
};
static MP_DEFINE_CONST_DICT(mod_packet_globals, mod_packet_globals_table);

const mp_obj_module_t mod_packet_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&mod_packet_globals,
};
MP_REGISTER_MODULE(MP_QSTR__packet, mod_packet_module);
