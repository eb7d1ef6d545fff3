// SPDX-License-Identifier: MIT
// Module _dns, for images/dns: ordinary queries answered from the dicts in which it keeps its zones, without an
// object made for one. What they do not answer at once is the caller's, who may put it there for the next time.
// Owns the two buffers. Not here: messages (dnsmsg.c). Context: main loop; may raise.
//
// `tables` is a tuple: zones, a dict of name -> an object with `nodes` and `shared`, or None; answers, a dict of
// question -> answer; and the bytes of our largest answer by UDP. nodes: dict of name -> dict of type -> [ttl, data,
// ...]. shared: dict of what shared_key() makes -> answer. An answer is an object with `wire`: flags and counts, what
// follows the question. Names are in lower case.

#include <errno.h>
#include <string.h>

#include "dnsmsg.h"
#include "mod_netaddr.h"
#include "mod_socket.h"
#include "py/objstr.h"
#include "py/objtuple.h"
#include "py/runtime.h"

enum { LARGEST = 4096, SHARED_MAX = DNSMSG_NAME_MAX + 4, AUTHORITATIVE = 0x04 };
// Kinds of answers that several names share; the two denials are their codes.
enum { KIND_NODATA = 0, KIND_NXDOMAIN = 3, KIND_WILDCARD = 0xfe, KIND_REFERRAL = 0xff };
enum { TABLE_ZONES, TABLE_ANSWERS, TABLE_UDP_SIZE, TABLES };

static uint8_t in[LARGEST], out[LARGEST];

// One question on its way to an answer.
typedef struct {
    dnsmsg_query_t query;
    mp_obj_t *tables;
    dnsmsg_writer_t writer;
} work_t;

// As mp_map_lookup() of bytes in a dict; without a comparison of objects for each place that is looked at.
static mp_obj_t find(mp_obj_t dict, const uint8_t *key, size_t len) {
    const mp_map_t *map = mp_obj_dict_get_map(dict);
    size_t hash = qstr_compute_hash(key, len);
    size_t pos = map->alloc == 0 ? 0 : hash % map->alloc;
    for (size_t left = map->alloc; left > 0; left--) {
        const mp_map_elem_t *e = &map->table[pos];
        if (e->key == MP_OBJ_NULL) {
            break;
        }
        if (e->key != MP_OBJ_SENTINEL && mp_obj_is_exact_type(e->key, &mp_type_bytes)) {
            const mp_obj_str_t *text = MP_OBJ_TO_PTR(e->key);
            if ((text->hash == hash || text->hash == 0) && text->len == len && memcmp(text->data, key, len) == 0) {
                return e->value;
            }
        }
        pos = pos + 1 < map->alloc ? pos + 1 : 0;
    }
    return MP_OBJ_NULL;
}

static mp_obj_t of_type(mp_obj_t node, uint16_t type) {
    mp_map_elem_t *e = mp_map_lookup(mp_obj_dict_get_map(node), MP_OBJ_NEW_SMALL_INT(type), MP_MAP_LOOKUP);
    return e == NULL ? MP_OBJ_NULL : e->value;
}

static mp_obj_t dict_attr(mp_obj_t obj, qstr name) {
    mp_obj_t dict = mp_load_attr(obj, name);
    if (!mp_obj_is_type(dict, &mp_type_dict)) {
        mp_raise_TypeError(NULL);
    }
    return dict;
}

static size_t finish(work_t *w, mp_obj_t answer) {
    mp_buffer_info_t wire;
    mp_get_buffer_raise(mp_load_attr(answer, MP_QSTR_wire), &wire, MP_BUFFER_READ);
    if (wire.len < DNSMSG_HEAD) {
        mp_raise_ValueError(NULL);
    }
    const uint8_t *head = wire.buf;
    if (!dnsmsg_append(&w->writer, head + DNSMSG_HEAD, wire.len - DNSMSG_HEAD)) {
        return 0;
    }
    return dnsmsg_end(&w->writer, head, (uint16_t)MP_OBJ_SMALL_INT_VALUE(w->tables[TABLE_UDP_SIZE]));
}

// The records of the question's type and name, none of which has a name in its data that could be compressed.
static size_t plain(work_t *w, mp_obj_t rrset) {
    size_t n;
    mp_obj_t *items;
    mp_obj_get_array(rrset, &n, &items);
    uint32_t ttl = (uint32_t)mp_obj_get_int(items[0]);
    for (size_t i = 1; i < n; i++) {
        size_t len;
        const char *data = mp_obj_str_get_data(items[i], &len);
        if (!dnsmsg_record(&w->writer, ttl, data, len)) {
            return 0;
        }
    }
    uint8_t head[DNSMSG_HEAD] = {AUTHORITATIVE, 0, (uint8_t)(w->writer.answers >> 8), (uint8_t)w->writer.answers};
    return dnsmsg_end(&w->writer, head, (uint16_t)MP_OBJ_SMALL_INT_VALUE(w->tables[TABLE_UDP_SIZE]));
}

// What shared_key() of images/dns makes: the end of the question's name that the answer's names may point to, the
// length of the whole, the kind and the type.
static size_t shared(work_t *w, mp_obj_t zone, size_t from, unsigned kind, unsigned type) {
    uint8_t key[SHARED_MAX];
    size_t len = w->query.name_len - from;
    memcpy(key, w->query.key + from, len);
    key[len] = (uint8_t)w->query.name_len;
    key[len + 1] = (uint8_t)kind;
    key[len + 2] = (uint8_t)(type >> 8);
    key[len + 3] = (uint8_t)type;
    mp_obj_t answer = find(dict_attr(zone, MP_QSTR_shared), key, len + 4);
    return answer == MP_OBJ_NULL ? 0 : finish(w, answer);
}

static bool has_names_inside(unsigned type) {
    return type == DNSMSG_NS || type == DNSMSG_CNAME || type == DNSMSG_SOA || type == DNSMSG_PTR || type == DNSMSG_MX;
}

static size_t at_node(work_t *w, mp_obj_t zone, mp_obj_t node, bool apex) {
    unsigned type = w->query.type;
    if (!apex && of_type(node, DNSMSG_NS) != MP_OBJ_NULL) {
        return shared(w, zone, 0, KIND_REFERRAL, 0);
    }
    mp_obj_t rrset = of_type(node, type);
    if (rrset != MP_OBJ_NULL) {
        return has_names_inside(type) ? 0 : plain(w, rrset);
    }
    if (type == DNSMSG_ANY || of_type(node, DNSMSG_CNAME) != MP_OBJ_NULL) {
        return 0;
    }
    return shared(w, zone, w->query.name_len, KIND_NODATA, 0);
}

// The name is not there: from is where the closest encloser begins in it (RFC 4592).
static size_t below(work_t *w, mp_obj_t zone, mp_obj_t nodes, mp_obj_t node, size_t from, bool apex) {
    unsigned type = w->query.type;
    if (!apex && of_type(node, DNSMSG_NS) != MP_OBJ_NULL) {
        return shared(w, zone, from, KIND_REFERRAL, 0);
    }
    if (of_type(node, DNSMSG_DNAME) != MP_OBJ_NULL) {
        return 0;
    }
    uint8_t name[2 + DNSMSG_NAME_MAX] = {1, '*'};
    size_t len = w->query.name_len - from;
    memcpy(name + 2, w->query.key + from, len);
    node = find(nodes, name, 2 + len);
    if (node == MP_OBJ_NULL) {
        return shared(w, zone, w->query.name_len, KIND_NXDOMAIN, 0);
    }
    if (type == DNSMSG_NS || of_type(node, DNSMSG_CNAME) != MP_OBJ_NULL) {
        return 0;
    }
    return shared(w, zone, from, KIND_WILDCARD, type);
}

// RFC 1034, section 4.3.2, as far as no other name has to be looked for. 0: not answered.
static size_t from_zone(work_t *w) {
    const uint8_t *name = w->query.key;
    size_t len = w->query.name_len, apex = 0, at = 0;
    mp_obj_t zone;
    while ((zone = find(w->tables[TABLE_ZONES], name + apex, len - apex)) == MP_OBJ_NULL) {
        if (name[apex] == 0) {
            return 0;
        }
        apex += 1u + name[apex];
    }
    if (zone == mp_const_none) {
        return 0;
    }
    mp_obj_t nodes = dict_attr(zone, MP_QSTR_nodes), node = find(nodes, name, len);
    if (node != MP_OBJ_NULL) {
        return at_node(w, zone, node, apex == 0);
    }
    while (node == MP_OBJ_NULL && at < apex) {
        at += 1u + name[at];
        node = find(nodes, name + at, len - at);
    }
    return node == MP_OBJ_NULL ? 0 : below(w, zone, nodes, node, at, at == apex);
}

// Answer a message into out. The length of the answer; 0: not here.
static size_t answer(work_t *w, mp_obj_t tables, const uint8_t *message, size_t len, bool udp) {
    dnsmsg_query_t *q = &w->query;
    size_t n;
    mp_obj_get_array(tables, &n, &w->tables);
    if (n != TABLES || !mp_obj_is_small_int(w->tables[TABLE_UDP_SIZE])) {
        mp_raise_ValueError(NULL);
    }
    if (!dnsmsg_parse(q, message, len) || q->type == DNSMSG_AXFR || q->type == DNSMSG_IXFR) {
        return 0;
    }
    size_t size = sizeof out;
    if (udp) {
        size = MIN(size, MIN((size_t)MP_OBJ_SMALL_INT_VALUE(w->tables[TABLE_UDP_SIZE]), q->size));
    }
    if (!dnsmsg_begin(&w->writer, q, out, size)) {
        return 0;
    }
    mp_obj_t known = find(w->tables[TABLE_ANSWERS], q->key, q->name_len + 4u);
    if (known != MP_OBJ_NULL) {
        return finish(w, known);
    }
    return q->type == DNSMSG_DS ? 0 : from_zone(w); // a DS may stand in another zone
}

// Add the answer in out to the cell of its type and code in `counts`, of images/dns/counts.py.
static void count(mp_obj_t counts, unsigned type) {
    mp_obj_t key = MP_OBJ_NEW_SMALL_INT(type << 5 | (out[3] & 15u) << 1 | 1u);
    mp_map_t *map = mp_obj_dict_get_map(dict_attr(counts, MP_QSTR_cells));
    mp_map_elem_t *e = mp_map_lookup(map, key, MP_MAP_LOOKUP);
    mp_obj_t cell, call[3] = {MP_OBJ_NULL, MP_OBJ_NULL, key};
    if (e != NULL) {
        cell = e->value;
    } else {
        mp_load_method(counts, MP_QSTR_add, call);
        cell = mp_call_method_n_kw(1, 0, call);
    }
    size_t n;
    mp_obj_t *items;
    mp_obj_get_array(cell, &n, &items);
    if (n != 1) {
        mp_raise_ValueError(NULL);
    }
    items[0] = MP_OBJ_NEW_SMALL_INT(mp_obj_get_int(items[0]) + 1);
}

// widen(dict): see to it that at most two thirds of its places are taken. The interpreter fills a dict to the last
// place before it makes it larger; then what is not there is looked for in hundreds of them.
static mp_obj_t dns_widen(mp_obj_t dict) {
    mp_map_t *map = mp_obj_dict_get_map(dict);
    if (map->used * 3 >= map->alloc * 2 && !map->is_fixed && !map->is_ordered) {
        mp_map_t wide;
        mp_map_init(&wide, map->used * 3 + 4);
        for (size_t i = 0; i < map->alloc; i++) {
            if (mp_map_slot_is_filled(map, i)) {
                mp_map_lookup(&wide, map->table[i].key, MP_MAP_LOOKUP_ADD_IF_NOT_FOUND)->value = map->table[i].value;
            }
        }
        mp_map_elem_t *old = map->table;
        size_t places = map->alloc;
        *map = wide;
        m_del(mp_map_elem_t, old, places);
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(dns_widen_obj, dns_widen);

// answer(tables, message, udp) -> bytes, or None.
static mp_obj_t dns_answer(mp_obj_t tables, mp_obj_t message, mp_obj_t udp) {
    mp_buffer_info_t buf;
    mp_get_buffer_raise(message, &buf, MP_BUFFER_READ);
    work_t w;
    size_t len = answer(&w, tables, buf.buf, buf.len, mp_obj_is_true(udp));
    return len == 0 ? mp_const_none : mp_obj_new_bytes(out, len);
}
static MP_DEFINE_CONST_FUN_OBJ_3(dns_answer_obj, dns_answer);

// serve(tables, socket, counts) -> (message, address) of a datagram that is not answered here, or None: no more are
// there, or so many were taken that others should have their turn.
static mp_obj_t dns_serve(mp_obj_t tables, mp_obj_t sock, mp_obj_t counts) {
    enum { BATCH = 64 };
    work_t w;
    socket_obj_t *self = mod_socket_of(sock);
    for (unsigned i = 0; i < BATCH; i++) {
        sock_addr_t from = {0};
        ssize_t r = sock_recv(self->sock, in, sizeof in, &from);
        if (r == -EAGAIN) {
            break;
        }
        mod_socket_check(r);
        size_t len = answer(&w, tables, in, (size_t)r, true);
        if (len == 0) {
            mp_obj_t items[] = {mp_obj_new_bytes(in, (size_t)r), mod_netaddr_to_obj(&from)};
            return mp_obj_new_tuple(2, items);
        }
        sock_send(self->sock, out, len, &from); // one that cannot be sent now is dropped: the client asks again
        count(counts, w.query.type);
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(dns_serve_obj, dns_serve);

static const mp_rom_map_elem_t dns_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__dns)},
    {MP_ROM_QSTR(MP_QSTR_answer), MP_ROM_PTR(&dns_answer_obj)},
    {MP_ROM_QSTR(MP_QSTR_serve), MP_ROM_PTR(&dns_serve_obj)},
    {MP_ROM_QSTR(MP_QSTR_widen), MP_ROM_PTR(&dns_widen_obj)},
};
static MP_DEFINE_CONST_DICT(dns_globals, dns_globals_table);

const mp_obj_module_t mod_dns_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&dns_globals,
};

MP_REGISTER_MODULE(MP_QSTR__dns, mod_dns_module);
