// SPDX-License-Identifier: MIT
// Module `_packetrules`, below frozen/lib/packet: rule programs loaded and asked. Owns the memory of the rules in use,
// of sets that were changed since, and of the log: all beside Python's heap, which a soft reset takes away while
// packets go on. Context: main loop; may raise.

#include <stdlib.h>
#include <string.h>

#include "packetrules.h"
#include "py/mperrno.h"
#include "py/runtime.h"

enum { RECORDS = 512 };

// What a set or map was changed to, in a list.
typedef struct changed {
    struct changed *next;
    uint32_t number;
    bool is_map;
    _Alignas(8) uint8_t content[];
} changed_t;

static packet_log_t records_log;
static changed_t *changes;

static void *memory_or_raise(size_t size) {
    void *p = malloc(size + !size);
    if (p == NULL) {
        mp_raise_OSError(MP_ENOMEM);
    }
    return p;
}

static packet_log_t *log_or_raise(void) {
    if (records_log.records == NULL) {
        packet_log_init(&records_log, memory_or_raise(RECORDS * sizeof(packet_record_t)), RECORDS);
    }
    return &records_log;
}

// Give back what sets and maps of the rules before were changed to.
static void forget_changes(void) {
    while (changes != NULL) {
        changed_t *c = changes;
        changes = c->next;
        free(c);
    }
}

// load(program): have it take the place of the rules in use. ValueError: it is not valid, and these stay.
static mp_obj_t mod_packetrules_load(mp_obj_t program_in) {
    mp_buffer_info_t program;
    mp_get_buffer_raise(program_in, &program, MP_BUFFER_READ);
    packet_log_t *log = log_or_raise();
    void *memory = memory_or_raise(packet_rules_room(program.buf, program.len));
    packet_rules_t *made = packet_rules_load(memory, program.buf, program.len, packet_rules_in_use(), log);
    if (made == NULL) {
        free(memory);
        mp_raise_ValueError(MP_ERROR_TEXT("not a valid program"));
    }
    free(packet_rules_use(made));
    forget_changes();
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_packetrules_load_obj, mod_packetrules_load);

// unload(): no rules are in use.
static mp_obj_t mod_packetrules_unload(void) {
    free(packet_rules_use(NULL));
    forget_changes();
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_0(mod_packetrules_unload_obj, mod_packetrules_unload);

// Put a change in the place of the one before of the same set.
static void keep_change(changed_t *c) {
    for (changed_t **at = &changes; *at != NULL; at = &(*at)->next) {
        changed_t *old = *at;
        if (old->number == c->number && old->is_map == c->is_map) {
            *at = old->next;
            free(old);
            break;
        }
    }
    c->next = changes;
    changes = c;
}

// change(number, content, is_map): have a named set or map hold this.
static mp_obj_t mod_packetrules_change(mp_obj_t number_in, mp_obj_t content_in, mp_obj_t is_map_in) {
    mp_buffer_info_t content;
    mp_get_buffer_raise(content_in, &content, MP_BUFFER_READ);
    mp_int_t number = mp_obj_get_int(number_in);
    packet_rules_t *r = packet_rules_in_use();
    if (r == NULL || number < 0 || number > UINT32_MAX) {
        mp_raise_OSError(MP_ENOENT);
    }
    changed_t *c = memory_or_raise(sizeof *c + content.len);
    c->number = (uint32_t)number;
    c->is_map = mp_obj_is_true(is_map_in);
    memcpy(c->content, content.buf, content.len);
    int error = c->is_map ? packet_rules_map(r, c->number, c->content, content.len)
                          : packet_rules_set(r, c->number, c->content, content.len);
    if (error != 0) {
        free(c);
        mp_raise_OSError(-error);
    }
    keep_change(c);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(mod_packetrules_change_obj, mod_packetrules_change);

// counts() -> [(name, packets, bytes)]
static mp_obj_t mod_packetrules_counts(void) {
    mp_obj_t list = mp_obj_new_list(0, NULL);
    const packet_rules_t *r = packet_rules_in_use();
    const char *name;
    size_t len;
    packet_count_t count;
    for (uint32_t i = 0; r != NULL && packet_rules_count(r, i, &name, &len, &count); i++) {
        mp_obj_t items[] = {mp_obj_new_str(name, len), mp_obj_new_int_from_ull(count.packets),
                            mp_obj_new_int_from_ull(count.bytes)};
        mp_obj_list_append(list, mp_obj_new_tuple(MP_ARRAY_SIZE(items), items));
    }
    return list;
}
static MP_DEFINE_CONST_FUN_OBJ_0(mod_packetrules_counts_obj, mod_packetrules_counts);

static mp_obj_t address_of(const packet_key_t *key, const uint8_t *address) {
    return mp_obj_new_bytes(address, key->family == 4 ? 4 : 16);
}

// record() -> (ns, hook, text, in, out, proto, src, sport, dst, dport, length), or None: there is no further one.
static mp_obj_t mod_packetrules_record(void) {
    packet_record_t r;
    if (!packet_log_take(&records_log, &r)) {
        return mp_const_none;
    }
    const packet_key_t *k = &r.key;
    mp_obj_t items[] = {
        mp_obj_new_int_from_ull(r.time_ns),
        MP_OBJ_NEW_SMALL_INT(r.hook),
        mp_obj_new_str(r.text, r.len),
        MP_OBJ_NEW_SMALL_INT(k->in),
        MP_OBJ_NEW_SMALL_INT(k->out),
        MP_OBJ_NEW_SMALL_INT(k->proto),
        address_of(k, k->src),
        MP_OBJ_NEW_SMALL_INT(k->sport),
        address_of(k, k->dst),
        MP_OBJ_NEW_SMALL_INT(k->dport),
        MP_OBJ_NEW_SMALL_INT(k->length),
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(items), items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(mod_packetrules_record_obj, mod_packetrules_record);

// lost() -> how many records newer ones have taken the place of.
static mp_obj_t mod_packetrules_lost(void) { return mp_obj_new_int_from_ull(records_log.lost); }
static MP_DEFINE_CONST_FUN_OBJ_0(mod_packetrules_lost_obj, mod_packetrules_lost);

static const mp_rom_map_elem_t mod_packetrules_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__packetrules)},
    {MP_ROM_QSTR(MP_QSTR_load), MP_ROM_PTR(&mod_packetrules_load_obj)},
    {MP_ROM_QSTR(MP_QSTR_unload), MP_ROM_PTR(&mod_packetrules_unload_obj)},
    {MP_ROM_QSTR(MP_QSTR_change), MP_ROM_PTR(&mod_packetrules_change_obj)},
    {MP_ROM_QSTR(MP_QSTR_counts), MP_ROM_PTR(&mod_packetrules_counts_obj)},
    {MP_ROM_QSTR(MP_QSTR_record), MP_ROM_PTR(&mod_packetrules_record_obj)},
    {MP_ROM_QSTR(MP_QSTR_lost), MP_ROM_PTR(&mod_packetrules_lost_obj)},
};
static MP_DEFINE_CONST_DICT(mod_packetrules_globals, mod_packetrules_globals_table);

const mp_obj_module_t mod_packetrules_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&mod_packetrules_globals,
};
MP_REGISTER_MODULE(MP_QSTR__packetrules, mod_packetrules_module);
