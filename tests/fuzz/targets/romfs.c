// SPDX-License-Identifier: MIT
// A ROMFS whose bytes are anybody's: it is mounted, searched, listed and read as Python does. Upstream's
// extmod/vfs_rom.c, whose lengths are bounded here (targets.toml) as they are not there: an image's own ROMFS is under
// its signature, and a script that mounts another one trusts it.

#include "py/mpconfig.h"

#include "py.h"

#include "extmod/vfs_rom.c"

enum { DEPTH = 4, WALK = 60 };

static unsigned walked;
static uint8_t *image;
static size_t image_len;

// ---- what it asks for ----------------------------------------------------------------------------

const mp_obj_type_t mp_type_type, mp_type_str, mp_type_bytes, mp_type_polymorph_iter, mp_type_dict,
    mp_type_fun_builtin_3, mp_type_fun_builtin_2, mp_type_fun_builtin_1;
const mp_obj_fun_builtin_fixed_t mp_identity_obj;
static const char *path_text;

void mp_arg_check_num_sig(size_t n_args, size_t n_kw, uint32_t sig) {
    (void)n_args;
    (void)n_kw;
    (void)sig;
}
bool mp_get_buffer(mp_obj_t obj, mp_buffer_info_t *info, mp_uint_t flags) {
    (void)obj;
    (void)flags;
    *info = (mp_buffer_info_t){.buf = image, .len = image_len, .typecode = 'B'};
    return true;
}
void mp_get_buffer_raise_(mp_obj_t obj, mp_buffer_info_t *info, mp_uint_t flags) { mp_get_buffer(obj, info, flags); }
const char *mp_obj_str_get_str(mp_obj_t o) {
    (void)o;
    return path_text;
}
const mp_obj_type_t *mp_obj_get_type(mp_const_obj_t o) {
    (void)o;
    return &mp_type_str;
}
bool mp_obj_is_true(mp_obj_t o) { return o != 0; }
mp_obj_t mp_obj_new_str(const char *data, size_t len) { return py_text(data, len); }
mp_obj_t mp_obj_new_bytes(const byte *data, size_t len) { return py_text(data, len); }
mp_obj_t mp_obj_new_int(mp_int_t value) { return MP_OBJ_NEW_SMALL_INT(value); }
mp_obj_t mp_obj_new_int_from_uint(mp_uint_t value) { return MP_OBJ_NEW_SMALL_INT(value); }
mp_obj_t mp_vfs_rom_file_open(mp_obj_t self, mp_obj_t path, mp_obj_t mode) {
    (void)self;
    (void)path;
    return mode;
}

// ---- what is done with it ------------------------------------------------------------------------

static void open_file(mp_obj_vfs_rom_t *fs, const char *path) { // as vfs_rom_file.c does
    size_t size = 0;
    const uint8_t *data = NULL;
    if (mp_vfs_rom_search_filesystem(fs, path, &size, &data) == MP_IMPORT_STAT_FILE) {
        FUZZ_CHECK(data >= image && size <= image_len && data + size <= image + image_len);
        py_read(data, size);
    }
}

static void walk(mp_obj_vfs_rom_t *fs, const char *path, unsigned depth) {
    path_text = path;
    vfs_rom_ilistdir_it_t *it = MP_OBJ_TO_PTR(vfs_rom_ilistdir(MP_OBJ_FROM_PTR(fs), mp_const_none));
    for (const uint8_t *before = it->index; walked++ < WALK; before = it->index) {
        mp_obj_t entry = vfs_rom_ilistdir_it_iternext(MP_OBJ_FROM_PTR(it));
        if (entry == MP_OBJ_STOP_ITERATION) {
            break;
        }
        FUZZ_CHECK(it->index > before && it->index <= it->index_top); // it comes to an end
        // The name of what was listed, as a path: its record begins at `before`, or behind ones that are skipped.
        const uint8_t *at = before, *next;
        record_kind_t kind = 0;
        while (at < it->index && (kind = extract_record(&at, &next, it->index_top)) != ROMFS_RECORD_KIND_DIRECTORY &&
               kind != ROMFS_RECORD_KIND_FILE) {
            at = next;
        }
        mp_uint_t len;
        char *below = in_space(strlen(path) + 300);
        if (at >= it->index || mp_decode_uint_checked(&at, next, &len) != 0 || len > 250 ||
            memchr(at, 0, len) != NULL) {
            continue;
        }
        size_t stem = strlen(path);
        memcpy(below, path, stem);
        below[stem] = '/';
        memcpy(below + stem + 1, at, len);
        open_file(fs, below);
        if (kind == ROMFS_RECORD_KIND_DIRECTORY && depth > 0 &&
            mp_vfs_rom_import_stat(fs, below) == MP_IMPORT_STAT_DIR) {
            walk(fs, below, depth - 1);
        }
    }
}

void fuzz_one(void) {
    image = in_rest(2000, &image_len);
    mp_obj_t arg = mp_const_none;
    mp_obj_vfs_rom_t *fs = MP_OBJ_TO_PTR(vfs_rom_make_new(&mp_type_vfs_rom, 1, 0, &arg));
    FUZZ_CHECK(fs->filesystem >= image && fs->filesystem <= fs->filesystem_end &&
               fs->filesystem_end <= image + image_len);
    walk(fs, "", DEPTH);
    open_file(fs, "/a/b.py");
    open_file(fs, "a.mpy");
    path_text = "/a";
    vfs_rom_stat(MP_OBJ_FROM_PTR(fs), mp_const_none);
}
