// SPDX-License-Identifier: MIT
// Python: module _resp, what images/redis does for each command and would do too slowly itself: takes commands from
// what a client sent, calls their functions, makes answers, keeps large dicts quick. Owns nothing. Not here: the
// protocol (resp.c), errors in it and commands that stand apart (images/redis/client.py). Context: main loop.

#include <string.h>

#include "py/objlist.h"
#include "py/objstr.h"
#include "py/objtuple.h"
#include "py/runtime.h"
#include "resp.h"

enum {
    HASHED_MAX = 64,  // bytes of an argument that is taken for a key: its hash is asked for often
    SPREAD_MIN = 128, // places of a dict that is worth looking at
    SMALL_MAX = 1024, // bytes of an answer that a caller need not count
};

static mp_obj_t new_bytes(size_t len, byte **data) {
    mp_obj_str_t *o = mp_obj_malloc(mp_obj_str_t, &mp_type_bytes);
    o->len = 0;
    o->hash = 0; // to be made when it is asked for
    o->data = *data = m_new(byte, len + 1);
    o->len = len;
    (*data)[len] = 0;
    return MP_OBJ_FROM_PTR(o);
}

static const mp_obj_str_t *bytes_of(mp_obj_t object) {
    if (!mp_obj_is_type(object, &mp_type_bytes)) {
        mp_raise_TypeError(MP_ERROR_TEXT("bytes expected"));
    }
    return MP_OBJ_TO_PTR(object);
}

// ---- commands ----------------------------------------------------------------------------------

static mp_obj_t argument(const byte *data, size_t len) {
    byte *copy;
    mp_obj_t made = new_bytes(len, &copy);
    memcpy(copy, data, len);
    if (len <= HASHED_MAX) {
        ((mp_obj_str_t *)MP_OBJ_TO_PTR(made))->hash = qstr_compute_hash(copy, len);
    }
    return made;
}

// A list of arguments; name, if there is one, is the object of the first.
static mp_obj_t arguments(const byte *data, size_t at, size_t count, mp_obj_t name) {
    mp_obj_t list = mp_obj_new_list(count, NULL);
    mp_obj_t *items = ((mp_obj_list_t *)MP_OBJ_TO_PTR(list))->items;
    for (size_t i = 0; i < count; i++) {
        size_t len = resp_argument(data, &at);
        items[i] = i == 0 && name != MP_OBJ_NULL ? name : argument(data + at, len);
        at += len + 2;
    }
    return list;
}

// take(data, at): (arguments, place behind them) of the command there; None if it has not this form, or is not whole.
static mp_obj_t mod_resp_take(mp_obj_t data_in, mp_obj_t at_in) {
    const mp_obj_str_t *data = bytes_of(data_in);
    mp_int_t at = mp_obj_get_int(at_in);
    size_t count;
    size_t end = at < 0 ? 0 : resp_command(data->data, data->len, (size_t)at, &count);
    if (end == 0) {
        return mp_const_none;
    }
    size_t first = (size_t)at;
    while (data->data[first++] != '\n') { // the command's own head
    }
    mp_obj_t both[] = {arguments(data->data, first, count, MP_OBJ_NULL), MP_OBJ_NEW_SMALL_INT(end)};
    return mp_obj_new_tuple(2, both);
}
static MP_DEFINE_CONST_FUN_OBJ_2(mod_resp_take_obj, mod_resp_take);

// more(data, at, arguments, count, most): append the arguments that are whole there, of most bytes each, until there
// are count of them. Returns the place behind the last.
static mp_obj_t mod_resp_more(size_t n_args, const mp_obj_t *args) {
    const mp_obj_str_t *data = bytes_of(args[0]);
    mp_int_t at = mp_obj_get_int(args[1]);
    if (!mp_obj_is_type(args[2], &mp_type_list) || at < 0) {
        mp_raise_TypeError(NULL);
    }
    const mp_obj_list_t *list = MP_OBJ_TO_PTR(args[2]);
    mp_int_t count = mp_obj_get_int(args[3]);
    mp_int_t most = mp_obj_get_int(args[4]);
    while ((mp_int_t)list->len < count) {
        size_t len;
        size_t first = resp_whole(data->data, data->len, (size_t)at, &len);
        if (first == 0 || (mp_int_t)len > most) {
            break;
        }
        mp_obj_list_append(args[2], argument(data->data + first, len));
        at = (mp_int_t)(first + len + 2);
    }
    return MP_OBJ_NEW_SMALL_INT(at);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_resp_more_obj, 5, 5, mod_resp_more);

// The table's element for the name of the command whose first argument is there, if it has as many arguments as that
// says: (function, arity, ...).
static mp_map_elem_t *entry_of(mp_map_t *table, const byte *data, size_t at, size_t count, mp_obj_t *function) {
    size_t len = resp_argument(data, &at);
    mp_obj_str_t name = {{&mp_type_bytes}, qstr_compute_hash(data + at, len), len, data + at};
    mp_map_elem_t *found = mp_map_lookup(table, MP_OBJ_FROM_PTR(&name), MP_MAP_LOOKUP);
    if (found == NULL) {
        return NULL;
    }
    mp_obj_t *entry;
    size_t size;
    mp_obj_tuple_get(found->value, &size, &entry);
    mp_int_t arity = size < 2 ? 0 : mp_obj_get_int(entry[1]);
    if (arity < 0 ? (mp_int_t)count < -arity : (mp_int_t)count != arity) {
        return NULL;
    }
    *function = entry[0];
    return found;
}

typedef struct {
    const mp_obj_str_t *data;
    volatile size_t at; // read again after a jump out of a function
    mp_map_t *table;
    mp_obj_t client;
    mp_obj_t answers;
    const mp_obj_list_t *arrived;
} run_t;

// Whether the answer is such that the next command may be run.
static bool is_usual(const run_t *r, mp_obj_t answer) {
    return mp_obj_is_type(answer, &mp_type_bytes) && ((mp_obj_str_t *)MP_OBJ_TO_PTR(answer))->len <= SMALL_MAX &&
           r->arrived->len == 0;
}

// False: the last answer is not usual.
static bool run(run_t *r) {
    const byte *data = r->data->data;
    size_t count;
    size_t end;
    while ((end = resp_command(data, r->data->len, r->at, &count)) != 0) {
        mp_obj_t function;
        size_t at = r->at;
        while (data[at++] != '\n') { // the command's own head
        }
        const mp_map_elem_t *entry = entry_of(r->table, data, at, count, &function);
        if (entry == NULL) {
            break;
        }
        r->at = end;
        mp_obj_t answer = mp_call_function_2(function, r->client, arguments(data, at, count, entry->key));
        mp_obj_list_append(r->answers, answer);
        if (!is_usual(r, answer)) {
            return false;
        }
    }
    return true;
}

// run(data, at, table, client, answers, arrived): call the function of each command from there on, as
// function(client, arguments), and append what it returns to answers. Returns the place where it stopped: before a
// command that the table has not, or that take() would not take; or the place's complement, behind one whose answer,
// the last one, is more than a few bytes or none (what was raised is appended), or after which arrived is not empty.
static mp_obj_t mod_resp_run(size_t n_args, const mp_obj_t *args) {
    if (!mp_obj_is_type(args[2], &mp_type_dict) || !mp_obj_is_type(args[4], &mp_type_list) ||
        !mp_obj_is_type(args[5], &mp_type_list)) {
        mp_raise_TypeError(NULL);
    }
    run_t r = {bytes_of(args[0]), (size_t)mp_obj_get_int(args[1]), mp_obj_dict_get_map(args[2]), args[3],
               args[4],           MP_OBJ_TO_PTR(args[5])};
    bool usual = false;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        usual = run(&r);
        nlr_pop();
    } else {
        mp_obj_list_append(r.answers, MP_OBJ_FROM_PTR(nlr.ret_val));
    }
    return MP_OBJ_NEW_SMALL_INT(usual ? (mp_int_t)r.at : ~(mp_int_t)r.at);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_resp_run_obj, 6, 6, mod_resp_run);

// ---- answers -----------------------------------------------------------------------------------

static byte *put(byte *to, const void *from, size_t len) {
    memcpy(to, from, len);
    return to + len;
}

static byte *put_bulk(byte *to, const mp_obj_str_t *value) {
    to += resp_head((char *)to, '$', (int64_t)value->len);
    to = put(to, value->data, value->len);
    return put(to, "\r\n", 2);
}

static size_t head_size(char letter, size_t number) {
    char head[RESP_HEAD_MAX];
    return resp_head(head, letter, (int64_t)number);
}

// bulk(value): the answer that is these bytes.
static mp_obj_t mod_resp_bulk(mp_obj_t value_in) {
    const mp_obj_str_t *value = bytes_of(value_in);
    byte *to;
    mp_obj_t answer = new_bytes(head_size('$', value->len) + value->len + 2, &to);
    put_bulk(to, value);
    return answer;
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_resp_bulk_obj, mod_resp_bulk);

// integer(number)
static mp_obj_t mod_resp_integer(mp_obj_t number) {
    if (mp_obj_is_exact_type(number, &mp_type_int)) { // a large one
        vstr_t text;
        mp_print_t print;
        vstr_init_print(&text, RESP_HEAD_MAX, &print);
        vstr_add_byte(&text, ':');
        mp_obj_print_helper(&print, number, PRINT_STR);
        vstr_add_strn(&text, "\r\n", 2);
        return mp_obj_new_bytes_from_vstr(&text);
    }
    char head[RESP_HEAD_MAX];
    size_t len = resp_head(head, ':', mp_obj_get_int(number));
    byte *to;
    mp_obj_t answer = new_bytes(len, &to);
    memcpy(to, head, len);
    return answer;
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_resp_integer_obj, mod_resp_integer);

// bulks(values, nil=None): an array of them; nil stands for those that are None.
static mp_obj_t mod_resp_bulks(size_t n_args, const mp_obj_t *args) {
    mp_obj_t values = args[0];
    if (!mp_obj_is_type(values, &mp_type_list) && !mp_obj_is_type(values, &mp_type_tuple)) {
        values = mp_call_function_1(MP_OBJ_FROM_PTR(&mp_type_list), values);
    }
    mp_obj_t *items;
    size_t count;
    mp_obj_get_array(values, &count, &items);
    size_t len = head_size('*', count);
    for (size_t i = 0; i < count; i++) {
        if (n_args > 1 && items[i] == mp_const_none) {
            len += bytes_of(args[1])->len;
        } else {
            size_t size = bytes_of(items[i])->len;
            len += head_size('$', size) + size + 2;
        }
    }
    byte *to;
    mp_obj_t answer = new_bytes(len, &to);
    to += resp_head((char *)to, '*', (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        if (items[i] == mp_const_none) {
            const mp_obj_str_t *nil = bytes_of(args[1]);
            to = put(to, nil->data, nil->len);
        } else {
            to = put_bulk(to, MP_OBJ_TO_PTR(items[i]));
        }
    }
    return answer;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_resp_bulks_obj, 1, 2, mod_resp_bulks);

// ---- databases ---------------------------------------------------------------------------------

// spread(d): see to it that a dict, which upstream lets become full and never cleans of what was deleted, has empty
// places between its keys. Nothing may be going over it.
static mp_obj_t mod_resp_spread(mp_obj_t dict) {
    if (!mp_obj_is_type(dict, &mp_type_dict)) {
        mp_raise_TypeError(NULL);
    }
    mp_map_t *map = mp_obj_dict_get_map(dict);
    size_t empty = 0;
    for (size_t i = 0; i < map->alloc; i++) {
        empty += map->table[i].key == MP_OBJ_NULL;
    }
    if (map->alloc < SPREAD_MIN || empty >= map->alloc / 4) {
        return mp_const_none;
    }
    mp_map_t wide;
    mp_map_init(&wide, map->used * 2 + 1);
    for (size_t i = 0; i < map->alloc; i++) {
        if (mp_map_slot_is_filled(map, i)) {
            mp_map_lookup(&wide, map->table[i].key, MP_MAP_LOOKUP_ADD_IF_NOT_FOUND)->value = map->table[i].value;
        }
    }
    mp_map_elem_t *old = map->table;
    size_t count = map->alloc;
    *map = wide;
    m_del(mp_map_elem_t, old, count);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_resp_spread_obj, mod_resp_spread);

static const mp_rom_map_elem_t mod_resp_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__resp)},
    {MP_ROM_QSTR(MP_QSTR_take), MP_ROM_PTR(&mod_resp_take_obj)},
    {MP_ROM_QSTR(MP_QSTR_more), MP_ROM_PTR(&mod_resp_more_obj)},
    {MP_ROM_QSTR(MP_QSTR_run), MP_ROM_PTR(&mod_resp_run_obj)},
    {MP_ROM_QSTR(MP_QSTR_bulk), MP_ROM_PTR(&mod_resp_bulk_obj)},
    {MP_ROM_QSTR(MP_QSTR_integer), MP_ROM_PTR(&mod_resp_integer_obj)},
    {MP_ROM_QSTR(MP_QSTR_bulks), MP_ROM_PTR(&mod_resp_bulks_obj)},
    {MP_ROM_QSTR(MP_QSTR_spread), MP_ROM_PTR(&mod_resp_spread_obj)},
};
static MP_DEFINE_CONST_DICT(mod_resp_globals, mod_resp_globals_table);

const mp_obj_module_t mod_resp_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&mod_resp_globals,
};
MP_REGISTER_MODULE(MP_QSTR__resp, mod_resp_module);
