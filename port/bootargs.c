// SPDX-License-Identifier: MIT
// sys.argv and the environment from the kernel command line: env.K=V words, and what follows "--"; both
// percent-encoded where they hold blanks; "" stands for an empty argument. Owns the environment (a dict, a root
// pointer). Context: start; then os.getenv.

#include <string.h>

#include "app.h"
#include "boot/boot.h"
#include "env.h"
#include "hal/hal.h"
#include "port.h"
#include "py/objlist.h"
#include "py/runtime.h"

unsigned floe_starts;
bool floe_env_is_complete;

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static mp_obj_t decoded(const char *s, size_t len) {
    vstr_t v;
    vstr_init(&v, len);
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '%' && i + 2 < len && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
            vstr_add_byte(&v, (byte)(hex(s[i + 1]) << 4 | hex(s[i + 2])));
            i += 2;
        } else {
            vstr_add_byte(&v, (byte)s[i]);
        }
    }
    return mp_obj_new_str_from_utf8_vstr(&v);
}

static void add_word(const char *word, size_t len, mp_obj_t env) {
    static const char prefix[] = "env.";
    const char *eq = memchr(word, '=', len);
    if (len > sizeof(prefix) - 1 && memcmp(word, prefix, sizeof(prefix) - 1) == 0 && eq != NULL) {
        const char *key = word + sizeof(prefix) - 1;
        mp_obj_dict_store(env, decoded(key, (size_t)(eq - key)), decoded(eq + 1, (size_t)(word + len - eq - 1)));
    }
}

static void add_argument(const char *word, size_t len) {
    bool empty = len == 2 && memcmp(word, "\"\"", 2) == 0;
    mp_obj_list_append(mp_sys_argv, decoded(word, empty ? 0 : len));
}

static void parse(mp_obj_t env) {
    bool args = false;
    for (const char *p = hal_cmdline() + strspn(hal_cmdline(), " "); *p != '\0'; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        if (args) {
            add_argument(p, len);
        } else if (len == 2 && memcmp(p, "--", 2) == 0) {
            args = true;
        } else {
            add_word(p, len, env);
        }
        p += len;
    }
}

// What is missing may be a device, an address or half an argument: nothing runs on such a line.
static void refuse_cut(void) {
    static const char line[] = "floe: the kernel command line has more than 4094 bytes\n"
                               "try: fewer arguments; variables by fw_cfg, see docs/by-hand.md\n";
    if (boot_cmdline_cut) {
        hal_console_log(line, sizeof(line) - 1);
        hal_exit(1);
    }
}

void floe_bootargs_init(void) {
    refuse_cut();
    mp_obj_t env = mp_obj_new_dict(0);
    MP_STATE_PORT(floe_env) = env;
    floe_env_is_complete = false;
    floe_starts++;
    mp_obj_list_set_len(mp_sys_argv, 0);
    mp_obj_list_append(mp_sys_argv, mp_obj_new_str_from_cstr(floe_app.main_module));
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        parse(env);
        nlr_pop();
    } else {
        mp_obj_print_exception(&mp_plat_print, MP_OBJ_FROM_PTR(nlr.ret_val)); // e.g. bytes that are no UTF-8
    }
}

MP_REGISTER_ROOT_POINTER(mp_obj_t floe_env);
