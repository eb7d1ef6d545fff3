// SPDX-License-Identifier: MIT
// Module `floe`: what only this port can tell. Owns the boot stamps. Context: main loop.

#include "mod_floe.h"
#include "app.h"
#include "boot/boot.h"
#include "dev/dev.h"
#include "hal/internal.h"
#include "port.h"
#include "py/gc.h"
#include "py/objarray.h"
#include "py/objstr.h"
#include "py/runtime.h"

MP_DECLARE_CONST_FUN_OBJ_1(mod_floe_secret_obj); // mod_secret.c
MP_DECLARE_CONST_FUN_OBJ_0(mod_floe_secrets_obj);

enum { STAMPS_MAX = 8, STAMPS_FLUSH_NS = 10000000 };

static struct {
    const char *name;
    uint64_t ns;
} stamps[STAMPS_MAX];
static unsigned stamp_count;

void floe_stamp(const char *name) {
    if (stamp_count < STAMPS_MAX) {
        stamps[stamp_count].name = name;
        stamps[stamp_count++].ns = hal_clock_ns();
    }
}

void floe_stamps_print(void) {
    char flag[2];
    size_t pos = 0;
    if (hal_cmdline_next("floe.stamps", &pos, flag, sizeof(flag)) == 1 && flag[0] == '1') {
        mp_print_str(&mp_plat_print, "floe: stamps {");
        for (unsigned i = 0; i < stamp_count; i++) {
            mp_printf(&mp_plat_print, "%s\"%s\": %u", i > 0 ? ", " : "", stamps[i].name,
                      (unsigned)(stamps[i].ns / 1000));
        }
        mp_print_str(&mp_plat_print, "}\n");
        hal_console_flush(STAMPS_FLUSH_NS); // the host dates kernel entry by this line's arrival
    }
}

static void store(mp_obj_t dict, const char *key, uint64_t v) {
    mp_obj_dict_store(dict, mp_obj_new_str_from_cstr(key), mp_obj_new_int_from_ull(v));
}

// boot_times() -> {"machine": us, "drivers": us, "python": us}: microseconds since kernel entry.
static mp_obj_t mod_floe_boot_times(void) {
    mp_obj_t dict = mp_obj_new_dict(STAMPS_MAX);
    for (unsigned i = 0; i < stamp_count; i++) {
        store(dict, stamps[i].name, stamps[i].ns / 1000);
    }
    return dict;
}
static MP_DEFINE_CONST_FUN_OBJ_0(mod_floe_boot_times_obj, mod_floe_boot_times);

// mem_info() -> bytes: RAM in all, taken by no one, the C heap's, and the GC heap's size and use.
static mp_obj_t mod_floe_mem_info(void) {
    mp_obj_t dict = mp_obj_new_dict(8);
    gc_info_t info;
    gc_info(&info);
    store(dict, "ram", hal_mem_total());
    store(dict, "ram_free", hal_mem_free());
    store(dict, "c_heap", hal_mem_sbrk_used());
    store(dict, "c_used", libc_malloc_used());
    store(dict, "gc_total", info.total);
    store(dict, "gc_used", info.used);
    return dict;
}
static MP_DEFINE_CONST_FUN_OBJ_0(mod_floe_mem_info_obj, mod_floe_mem_info);

// clock() -> name of the clock source.
static mp_obj_t mod_floe_clock(void) { return mp_obj_new_str_from_cstr(hal_clock_source()); }
static MP_DEFINE_CONST_FUN_OBJ_0(mod_floe_clock_obj, mod_floe_clock);

// app() -> (name, version) of the image.
static mp_obj_t mod_floe_app(void) {
    mp_obj_t t[2] = {mp_obj_new_str_from_cstr(floe_app.name), mp_obj_new_str_from_cstr(floe_app.version)};
    return mp_obj_new_tuple(2, t);
}
static MP_DEFINE_CONST_FUN_OBJ_0(mod_floe_app_obj, mod_floe_app);

// modules() -> tuple of read-only memoryviews: the files the hypervisor loaded beside the kernel, in place.
static mp_obj_t mod_floe_modules(void) {
    mp_obj_t views[BOOT_MODULE_MAX];
    for (unsigned i = 0; i < boot_module_count; i++) {
        views[i] = mp_obj_new_memoryview('B', boot_module[i].end - boot_module[i].start, (void *)boot_module[i].start);
    }
    return mp_obj_new_tuple(boot_module_count, views);
}
static MP_DEFINE_CONST_FUN_OBJ_0(mod_floe_modules_obj, mod_floe_modules);

#if FLOE_DEV
MP_DECLARE_CONST_FUN_OBJ_0(floe_stop_obj);
MP_DECLARE_CONST_FUN_OBJ_1(floe_beside_obj); // dev/live.c
// pause_us() -> for how long what was last typed at the REPL beside the script held that up.
static mp_obj_t mod_floe_pause_us(void) { return mp_obj_new_int_from_ull(floe_live_pause_ns() / 1000); }
static MP_DEFINE_CONST_FUN_OBJ_0(mod_floe_pause_us_obj, mod_floe_pause_us);
#endif

static const mp_rom_map_elem_t mod_floe_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_floe)},
    {MP_ROM_QSTR(MP_QSTR_boot_times), MP_ROM_PTR(&mod_floe_boot_times_obj)},
    {MP_ROM_QSTR(MP_QSTR_mem_info), MP_ROM_PTR(&mod_floe_mem_info_obj)},
    {MP_ROM_QSTR(MP_QSTR_clock), MP_ROM_PTR(&mod_floe_clock_obj)},
    {MP_ROM_QSTR(MP_QSTR_modules), MP_ROM_PTR(&mod_floe_modules_obj)},
    {MP_ROM_QSTR(MP_QSTR_app), MP_ROM_PTR(&mod_floe_app_obj)},
    {MP_ROM_QSTR(MP_QSTR_secret), MP_ROM_PTR(&mod_floe_secret_obj)},
    {MP_ROM_QSTR(MP_QSTR_secrets), MP_ROM_PTR(&mod_floe_secrets_obj)},
    #if FLOE_DEV
    {MP_ROM_QSTR(MP_QSTR_stop), MP_ROM_PTR(&floe_stop_obj)},
    {MP_ROM_QSTR(MP_QSTR_beside), MP_ROM_PTR(&floe_beside_obj)},
    {MP_ROM_QSTR(MP_QSTR_swap), MP_ROM_PTR(&floe_swap_obj)},
    {MP_ROM_QSTR(MP_QSTR_pause_us), MP_ROM_PTR(&mod_floe_pause_us_obj)},
    #endif
    #if FLOE_DISK
    {MP_ROM_QSTR(MP_QSTR_BlockDevice), MP_ROM_PTR(&mod_blkdev_type)},
    {MP_ROM_QSTR(MP_QSTR_ramdisk), MP_ROM_PTR(&mod_blkdev_ramdisk_obj)},
    #endif
};
static MP_DEFINE_CONST_DICT(mod_floe_globals, mod_floe_globals_table);

const mp_obj_module_t mod_floe = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&mod_floe_globals,
};
MP_REGISTER_MODULE(MP_QSTR_floe, mod_floe);
