// SPDX-License-Identifier: MIT
// A ready kernel's Python: what a linked image has as constants, this one has as .mpy files in a ROMFS (format:
// upstream's extmod/vfs_rom.c) behind its own segments, where tools/floe put them. Takes the place of py/frozenmod.c,
// so that imports, tracebacks and `.frozen` are the same in both. Owns nothing: bytecode and names are used in place,
// the rest is on the Python heap. Not here: reading .mpy files (py/persistentcode.c). Context: main loop, from imports.

#include <string.h>

#include "app.h"
#include "port.h"
#include "py/bc.h"
#include "py/frozenmod.h"
#include "py/parsenum.h"
#include "py/persistentcode.h"
#include "py/qstr.h"
#include "py/runtime.h"

enum { ROMFS_DATA = 2, ROMFS_DIRECTORY = 4, ROMFS_FILE = 5, EXTENSION = 3 }; // "py", and the "m" before it

typedef struct {
    const byte *start, *end;
} span_t;

extern const qstr_pool_t mp_qstr_const_pool;
mp_obj_t floe_ready_decimal(const char *text, size_t len, bool allow_imag, bool force_complex, mp_lexer_t *lex);

// The strings that a linked image's bytecode brings; here they come with the .mpy files.
const qstr_pool_t mp_qstr_frozen_const_pool = {&mp_qstr_const_pool, MP_QSTRnumber_of, false, 0, 0, NULL, NULL, {}};

// The next record of a folder: kind and payload.
static mp_uint_t next_record(span_t *folder, span_t *payload) {
    mp_uint_t kind = mp_decode_uint(&folder->start), size = mp_decode_uint(&folder->start);
    payload->start = folder->start;
    folder->start = payload->end = payload->start + size;
    return kind;
}

static span_t file_data(span_t file) {
    span_t data;
    while (next_record(&file, &data) != ROMFS_DATA) {
    }
    return data;
}

// Whether a file of the ROMFS is what is called path, whose extension is .py where the file's is .mpy.
static bool is_file(span_t name, const char *path, size_t len) {
    size_t stem = len - (EXTENSION - 1);
    return len > EXTENSION && (size_t)(name.end - name.start) == len + 1 &&
           memcmp(path + stem - 1, ".py", EXTENSION) == 0 && memcmp(name.start, path, stem) == 0;
}

static mp_import_stat_t look_up(span_t folder, const char *path, span_t *data) {
    size_t len = strcspn(path, "/");
    while (folder.start < folder.end) {
        span_t entry;
        mp_uint_t kind = next_record(&folder, &entry);
        if (kind != ROMFS_DIRECTORY && kind != ROMFS_FILE) {
            continue;
        }
        mp_uint_t name_len = mp_decode_uint(&entry.start);
        span_t name = {entry.start, entry.start + name_len};
        entry.start = name.end;
        if (kind == ROMFS_FILE && path[len] == '\0' && is_file(name, path, len)) {
            *data = file_data(entry);
            return MP_IMPORT_STAT_FILE;
        }
        if (kind == ROMFS_DIRECTORY && name_len == len && memcmp(name.start, path, len) == 0) {
            return path[len] == '\0' ? MP_IMPORT_STAT_DIR : look_up(entry, path + len + 1, data);
        }
    }
    return MP_IMPORT_STAT_NO_EXIST;
}

static void *load(span_t file) {
    mp_reader_t reader;
    mp_reader_new_mem(&reader, file.start, (size_t)(file.end - file.start), MP_READER_IS_ROM);
    mp_compiled_module_t cm = {.context = m_new_obj(mp_module_context_t)};
    cm.context->module.globals = mp_globals_get();
    mp_raw_code_load(&reader, &cm);
    const mp_frozen_module_t loaded = {.constants = cm.context->constants, .proto_fun = cm.rc};
    return memcpy(m_new_obj(mp_frozen_module_t), &loaded, sizeof(loaded));
}

mp_import_stat_t mp_find_frozen_module(const char *path, int *frozen_type, void **data) {
    span_t all = {floe_app.code, (const byte *)floe_app.code + floe_app.appended}, files, found;
    next_record(&all, &files);
    mp_import_stat_t stat = look_up(files, path, &found);
    if (frozen_type != NULL && stat == MP_IMPORT_STAT_FILE) {
        *frozen_type = MP_FROZEN_MPY;
        *data = load(found);
    }
    return stat;
}

// A float constant of a .mpy file. Its text is decimal, which MicroPython does not read to the last bit; the host tool
// rewrites it as "x" and the 64 bits in hexadecimal.
mp_obj_t floe_ready_decimal(const char *text, size_t len, bool allow_imag, bool force_complex, mp_lexer_t *lex) {
    if (len == 0 || text[0] != 'x') {
        return mp_parse_num_decimal(text, len, allow_imag, force_complex, lex);
    }
    union {
        uint64_t bits;
        double value;
    } number = {.bits = 0};
    for (size_t i = 1; i < len; i++) {
        number.bits = number.bits << 4 | unichar_xdigit_value((unichar)text[i]);
    }
    return allow_imag ? mp_obj_new_complex(0, number.value) : mp_obj_new_float(number.value);
}
