// SPDX-License-Identifier: MIT
// floe.swap(name, code): another version of a module that is in use, or of __main__, which is asked for its end and run
// again (repl.c). The code runs in a namespace of its own first, so that a failure leaves everything as it was; then
// the module's names are the new ones, at once. Owns the list of functions that stand for newer ones. Not here:
// compiling for the host's verb (tools/floe/cli/swap.py). Context: main loop, from Python.
//
// What anybody holds of the old version follows. A function gets a type whose call goes on to the new one; the rest of
// the object stays, for the frames and generators that still run its code: they end as they began. A class takes over
// the new attributes, so that its instances have them; if its bases are others now, only new instances do. What nobody
// holds any more goes with the next garbage collection.
// Constants that were copied (`from m import LIMIT`), names that the new code does not have, and those that it lists in
// __floe_keep__ and that have a value already, stay what they were.

#include "dev.h"
#include "py/builtin.h"
#include "py/compile.h"
#include "py/objfun.h"
#include "py/objgenerator.h"
#include "py/objmodule.h"
#include "py/objtype.h"
#include "py/persistentcode.h"
#include "py/runtime.h"

static const mp_obj_type_t successor_type;

// As in upstream's py/objclosure.c.
extern const mp_obj_type_t mp_type_closure;
typedef struct {
    mp_obj_base_t base;
    mp_obj_t fun;
    size_t n_closed;
    mp_obj_t closed[];
} closure_t;

// Of a function that has a successor: where it had its context, of which this begins with a copy, for those frames.
typedef struct _heir_t {
    mp_module_context_t context;
    mp_obj_t newest;
    uintptr_t hidden_next; // ~(uintptr_t)heir_t *: no address to the garbage collector, so that the list keeps nothing
} heir_t;

// What bytecode, native code and closures have at the begin of their objects, once there is a successor.
typedef struct {
    mp_obj_base_t base;
    heir_t *heir;
} replaced_t;
_Static_assert(offsetof(replaced_t, heir) == offsetof(mp_obj_fun_bc_t, context), "functions");
_Static_assert(offsetof(replaced_t, heir) == offsetof(closure_t, fun), "closures");

// One of attributes and heir is NULL.
typedef struct {
    mp_obj_t old, fresh;
    mp_obj_dict_t *attributes; // a class's, old and new together
    heir_t *heir;              // a function's
} step_t;

// What is to be done once nothing can fail any more.
typedef struct {
    step_t *steps;
    size_t count, room;
    mp_obj_dict_t *old_names, *fresh_names;
} plan_t;

// ---- functions ----------------------------------------------------------------------------------

static heir_t *heirs; // of every function that has a successor and is held by anybody; each takes itself out

static heir_t *heir_next(const heir_t *heir) { return (heir_t *)~heir->hidden_next; }

static mp_obj_t heir_del(mp_obj_t self) {
    heir_t *gone = MP_OBJ_TO_PTR(self);
    if (heirs == gone) {
        heirs = heir_next(gone);
        return mp_const_none;
    }
    for (heir_t *heir = heirs; heir != NULL; heir = heir_next(heir)) {
        if (heir_next(heir) == gone) {
            heir->hidden_next = gone->hidden_next;
        }
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(heir_del_obj, heir_del);

static const mp_rom_map_elem_t heir_names[] = {{MP_ROM_QSTR(MP_QSTR___del__), MP_ROM_PTR(&heir_del_obj)}};
static MP_DEFINE_CONST_DICT(heir_dict, heir_names);
static MP_DEFINE_CONST_OBJ_TYPE(heir_type, MP_QSTR_function, MP_TYPE_FLAG_NONE, locals_dict, &heir_dict);

static mp_obj_t successor(mp_obj_t old) { return ((replaced_t *)MP_OBJ_TO_PTR(old))->heir->newest; }

static mp_obj_t successor_call(mp_obj_t self, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    return mp_call_function_n_kw(successor(self), n_args, n_kw, args);
}

static void successor_print(const mp_print_t *print, mp_obj_t self, mp_print_kind_t kind) {
    mp_obj_print_helper(print, successor(self), kind);
}

static void successor_attr(mp_obj_t self, qstr attr, mp_obj_t *dest) {
    if (dest[0] == MP_OBJ_NULL) {
        mp_load_method_maybe(successor(self), attr, dest);
    }
}

static MP_DEFINE_CONST_OBJ_TYPE(successor_type, MP_QSTR_function, MP_TYPE_FLAG_BINDS_SELF, call, successor_call, print,
                                successor_print, attr, successor_attr);

static bool is_function(mp_obj_t o) {
    return mp_obj_is_type(o, &mp_type_fun_bc) || mp_obj_is_type(o, &mp_type_gen_wrap) ||
           mp_obj_is_type(o, &mp_type_fun_native) || mp_obj_is_type(o, &mp_type_native_gen_wrap) ||
           mp_obj_is_type(o, &mp_type_fun_viper) || mp_obj_is_type(o, &mp_type_closure);
}

// Whether a function was made by the code of the module with these names.
static bool made_in(mp_obj_t f, const mp_obj_dict_t *names) {
    while (mp_obj_is_type(f, &mp_type_closure)) {
        f = ((closure_t *)MP_OBJ_TO_PTR(f))->fun;
    }
    return is_function(f) && ((mp_obj_fun_bc_t *)MP_OBJ_TO_PTR(f))->context->module.globals == names;
}

static heir_t *new_heir(mp_obj_t old) {
    heir_t *heir = mp_obj_malloc_with_finaliser(heir_t, &heir_type);
    if (!mp_obj_is_type(old, &mp_type_closure)) { // whose frames are the function's in it
        heir->context = *((mp_obj_fun_bc_t *)MP_OBJ_TO_PTR(old))->context;
        heir->context.module.base.type = &heir_type;
    }
    heir->newest = MP_OBJ_NULL;
    heir->hidden_next = ~(uintptr_t)NULL;
    return heir;
}

// All that stood for `old` stand for its successor from now on, so that calls go one step and not many, and so that
// nobody keeps what was between.
static void succeed(mp_obj_t old, mp_obj_t fresh, heir_t *own) {
    for (heir_t *heir = heirs; heir != NULL; heir = heir_next(heir)) {
        if (heir->newest == old) {
            heir->newest = fresh;
        }
    }
    if (mp_obj_is_type(old, &mp_type_closure)) {
        closure_t *closure = MP_OBJ_TO_PTR(old);
        for (size_t i = 0; i < closure->n_closed; i++) {
            closure->closed[i] = MP_OBJ_NULL;
        }
    }
    own->newest = fresh;
    own->hidden_next = ~(uintptr_t)heirs;
    heirs = own;
    replaced_t *replaced = MP_OBJ_TO_PTR(old);
    replaced->heir = own;
    replaced->base.type = &successor_type;
}

// ---- classes ------------------------------------------------------------------------------------

static mp_obj_t name_in(const mp_obj_dict_t *names, mp_obj_t key) {
    mp_map_elem_t *e = mp_map_lookup((mp_map_t *)&names->map, key, MP_MAP_LOOKUP);
    return e != NULL ? e->value : MP_OBJ_NULL;
}

static mp_obj_type_t *class_of(mp_obj_t o) {
    if (o == MP_OBJ_NULL || !mp_obj_is_type(o, &mp_type_type)) {
        return NULL;
    }
    mp_obj_type_t *type = MP_OBJ_TO_PTR(o);
    return mp_obj_is_instance_type(type) ? type : NULL;
}

static mp_obj_dict_t *attributes(const mp_obj_type_t *type) { return MP_OBJ_TYPE_GET_SLOT(type, locals_dict); }

static bool same_class(const plan_t *p, const mp_obj_type_t *old, const mp_obj_type_t *fresh);

static bool same_base(const plan_t *p, const void *old, const void *fresh) {
    return old == fresh || (class_of(MP_OBJ_FROM_PTR(old)) != NULL && class_of(MP_OBJ_FROM_PTR(fresh)) != NULL &&
                            same_class(p, old, fresh));
}

// Whether fresh is a later version of old: of the same name in the same module, with the same bases.
static bool same_class(const plan_t *p, const mp_obj_type_t *old, const mp_obj_type_t *fresh) {
    mp_obj_t key = MP_OBJ_NEW_QSTR(fresh->name);
    if (name_in(p->old_names, key) != MP_OBJ_FROM_PTR(old) || name_in(p->fresh_names, key) != MP_OBJ_FROM_PTR(fresh) ||
        name_in(attributes(old), MP_OBJ_NEW_QSTR(MP_QSTR___module__)) !=
            name_in(attributes(fresh), MP_OBJ_NEW_QSTR(MP_QSTR___module__))) {
        return false;
    }
    const void *a = MP_OBJ_TYPE_GET_SLOT_OR_NULL(old, parent), *b = MP_OBJ_TYPE_GET_SLOT_OR_NULL(fresh, parent);
    if (a == NULL || b == NULL) {
        return a == b;
    }
    const mp_obj_base_t *bases_a = a, *bases_b = b;
    if (bases_a->type != &mp_type_tuple || bases_b->type != &mp_type_tuple) {
        return same_base(p, a, b);
    }
    const mp_obj_tuple_t *s = a, *t = b;
    bool same = s->len == t->len;
    for (size_t i = 0; same && i < s->len; i++) {
        same = same_base(p, MP_OBJ_TO_PTR(s->items[i]), MP_OBJ_TO_PTR(t->items[i]));
    }
    return same;
}

// ---- the plan -----------------------------------------------------------------------------------

static void add_step(plan_t *p, step_t step) {
    if (p->count == p->room) {
        p->steps = m_renew(step_t, p->steps, p->room, p->room + 16);
        p->room += 16;
    }
    p->steps[p->count++] = step;
}

// What is to stand where `old` stands now.
static mp_obj_t plan_value(plan_t *p, mp_obj_t old, mp_obj_t fresh) {
    if (old == MP_OBJ_NULL || old == fresh) {
        return fresh;
    }
    if (mp_obj_is_type(fresh, &successor_type)) { // somebody held it, and gave it to the new code
        return plan_value(p, old, successor(fresh));
    }
    if (is_function(old) && made_in(old, p->old_names) && mp_obj_is_callable(fresh)) {
        if (!made_in(fresh, p->old_names)) { // one of before is no newer version of anything: two could be each other's
            add_step(p, (step_t){old, fresh, NULL, new_heir(old)});
        }
        return fresh;
    }
    bool wrapped = mp_obj_is_type(old, &mp_type_staticmethod) || mp_obj_is_type(old, &mp_type_classmethod);
    if (wrapped && mp_obj_get_type(old) == mp_obj_get_type(fresh)) {
        mp_obj_static_class_method_t *a = MP_OBJ_TO_PTR(old), *b = MP_OBJ_TO_PTR(fresh);
        plan_value(p, a->fun, b->fun);
        return fresh;
    }
    mp_obj_type_t *a = class_of(old), *b = class_of(fresh);
    if (a == NULL || b == NULL || !same_class(p, a, b)) {
        return fresh;
    }
    mp_obj_dict_t *all = MP_OBJ_TO_PTR(mp_obj_dict_copy(MP_OBJ_FROM_PTR(attributes(a))));
    const mp_map_t *map = &attributes(b)->map;
    for (size_t i = 0; i < map->alloc; i++) {
        if (mp_map_slot_is_filled(map, i)) {
            mp_obj_t key = map->table[i].key;
            mp_obj_t value = plan_value(p, name_in(attributes(a), key), map->table[i].value);
            mp_obj_dict_store(MP_OBJ_FROM_PTR(all), key, value);
        }
    }
    add_step(p, (step_t){old, fresh, all, NULL});
    return old;
}

static void take_step(const step_t *s) {
    if (s->heir != NULL) {
        succeed(s->old, s->fresh, s->heir);
        return;
    }
    mp_obj_type_t *old = MP_OBJ_TO_PTR(s->old), *fresh = MP_OBJ_TO_PTR(s->fresh);
    attributes(old)->map = s->attributes->map;
    old->flags |= fresh->flags & MP_TYPE_FLAG_HAS_SPECIAL_ACCESSORS;
    if (MP_OBJ_TYPE_HAS_SLOT(old, parent)) { // super() in the new methods starts at the new class
        MP_OBJ_TYPE_SET_SLOT(fresh, parent, MP_OBJ_TYPE_GET_SLOT(old, parent), fresh->slot_index_parent - 1);
    }
}

// An instance made while the new code ran is of the class that stays.
static void adopt_instance(const plan_t *p, mp_obj_t value) {
    for (size_t i = 0; i < p->count && mp_obj_is_obj(value); i++) {
        const step_t *s = &p->steps[i];
        if (s->attributes != NULL && mp_obj_get_type(value) == MP_OBJ_TO_PTR(s->fresh)) {
            ((mp_obj_base_t *)MP_OBJ_TO_PTR(value))->type = MP_OBJ_TO_PTR(s->old);
        }
    }
}

// Whether the new code's __floe_keep__, a tuple or a list, has this name. Raises TypeError for another object.
static bool keeps(const mp_obj_dict_t *fresh, mp_obj_t key) {
    mp_obj_t list = name_in(fresh, MP_OBJ_NEW_QSTR(MP_QSTR___floe_keep__));
    size_t n = 0;
    mp_obj_t *items = NULL;
    if (list != MP_OBJ_NULL) {
        mp_obj_get_array(list, &n, &items);
    }
    while (n > 0 && !mp_obj_equal(items[n - 1], key)) {
        n--;
    }
    return n > 0;
}

static void replace(mp_obj_dict_t *names, mp_obj_dict_t *fresh, mp_module_context_t *context) {
    plan_t p = {.old_names = names, .fresh_names = fresh};
    mp_obj_dict_t *all = MP_OBJ_TO_PTR(mp_obj_dict_copy(MP_OBJ_FROM_PTR(names)));
    for (size_t i = 0; i < fresh->map.alloc; i++) {
        if (mp_map_slot_is_filled(&fresh->map, i)) {
            mp_map_elem_t *e = &fresh->map.table[i];
            mp_obj_t old = name_in(names, e->key);
            if (!keeps(fresh, e->key) || old == MP_OBJ_NULL) {
                mp_obj_dict_store(MP_OBJ_FROM_PTR(all), e->key, plan_value(&p, old, e->value));
            }
        }
    }
    // From here on nothing allocates, so that nothing fails.
    for (size_t i = 0; i < p.count; i++) {
        take_step(&p.steps[i]);
    }
    for (size_t i = 0; i < all->map.alloc; i++) {
        if (mp_map_slot_is_filled(&all->map, i)) {
            adopt_instance(&p, all->map.table[i].value);
        }
    }
    names->map = all->map;
    context->module.globals = names; // the new functions' globals are the module's
}

// ---- the new code -------------------------------------------------------------------------------

static mp_obj_t load(qstr name, mp_obj_t code) {
    if (mp_obj_is_str(code)) {
        size_t len;
        const char *text = mp_obj_str_get_data(code, &len);
        mp_lexer_t *lex = mp_lexer_new_from_str_len(name, text, len, 0);
        mp_parse_tree_t tree = mp_parse(lex, MP_PARSE_FILE_INPUT);
        return mp_compile(&tree, name, false);
    }
    mp_buffer_info_t buf;
    mp_get_buffer_raise(code, &buf, MP_BUFFER_READ);
    mp_compiled_module_t cm = {.context = m_new_obj(mp_module_context_t)};
    cm.context->module.globals = mp_globals_get();
    mp_raw_code_load_mem(buf.buf, buf.len, &cm);
    return mp_make_function_from_proto_fun(cm.rc, cm.context, NULL);
}

// Load the code with these names as its globals, and run it if that is wanted; the function that does.
static mp_obj_t load_with(mp_obj_dict_t *names, qstr name, mp_obj_t code, bool run) {
    mp_obj_dict_t *globals = mp_globals_get(), *locals = mp_locals_get();
    mp_globals_set(names);
    mp_locals_set(names);
    nlr_buf_t nlr;
    if (nlr_push(&nlr) != 0) {
        mp_globals_set(globals);
        mp_locals_set(locals);
        nlr_jump(nlr.ret_val);
    }
    mp_obj_t program = load(name, code);
    if (run) {
        mp_call_function_0(program);
    }
    nlr_pop();
    mp_globals_set(globals);
    mp_locals_set(locals);
    return program;
}

static void copy_name(const mp_obj_dict_t *from, mp_obj_dict_t *to, qstr name) {
    mp_obj_t value = name_in(from, MP_OBJ_NEW_QSTR(name));
    if (value != MP_OBJ_NULL) {
        mp_obj_dict_store(MP_OBJ_FROM_PTR(to), MP_OBJ_NEW_QSTR(name), value);
    }
}

void floe_swap_reset(void) {
    heirs = NULL;
    MP_STATE_VM(floe_next_main) = MP_OBJ_NULL;
}

bool floe_swap_has_main(void) { return MP_STATE_VM(floe_next_main) != MP_OBJ_NULL; }

void *floe_swap_take_main(void) {
    mp_obj_t f = MP_STATE_VM(floe_next_main);
    MP_STATE_VM(floe_next_main) = MP_OBJ_NULL;
    return f;
}

static mp_obj_t floe_swap(mp_obj_t name_in_py, mp_obj_t code) {
    qstr name = mp_obj_str_get_qstr(name_in_py);
    if (name == MP_QSTR___main__) {
        MP_STATE_VM(floe_next_main) = load_with(&MP_STATE_VM(dict_main), name, code, false);
        floe_live_interrupt_script();
        return mp_const_none;
    }
    mp_obj_t found = name_in(&MP_STATE_VM(mp_loaded_modules_dict), MP_OBJ_NEW_QSTR(name));
    if (found == MP_OBJ_NULL || !mp_obj_is_type(found, &mp_type_module)) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("no module '%q' has been imported"), name);
    }
    mp_obj_dict_t *names = ((mp_obj_module_t *)MP_OBJ_TO_PTR(found))->globals;
    if (names->map.is_fixed) {
        mp_raise_msg_varg(&mp_type_ValueError, MP_ERROR_TEXT("module '%q' is not written in Python"), name);
    }
    mp_obj_dict_t *fresh = MP_OBJ_TO_PTR(mp_obj_new_dict(0));
    copy_name(names, fresh, MP_QSTR___name__);
    copy_name(names, fresh, MP_QSTR___file__);
    copy_name(names, fresh, MP_QSTR___path__);
    mp_obj_fun_bc_t *program = MP_OBJ_TO_PTR(load_with(fresh, name, code, true));
    replace(names, fresh, (mp_module_context_t *)program->context);
    return mp_const_none;
}
MP_DEFINE_CONST_FUN_OBJ_2(floe_swap_obj, floe_swap);

MP_REGISTER_ROOT_POINTER(mp_obj_t floe_next_main);
