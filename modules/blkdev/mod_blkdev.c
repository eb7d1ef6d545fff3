// SPDX-License-Identifier: MIT
// Python: floe.BlockDevice(n, block_size=512), a disk with upstream's block protocol (docs: vfs.AbstractBlockDev,
// simple and extended interface), and floe.ramdisk(size). Owns nothing: disks are the drivers'. Not here: file
// systems (upstream's extmod), mounting (frozen/lib/_disks.py). Context: main loop; a call waits for its disk.

#include "mod_floe.h"

#include "blkdev.h"
#include "extmod/vfs.h"
#include "hal.h"
#include "py/mperrno.h"
#include "py/runtime.h"

typedef struct {
    mp_obj_base_t base;
    blkdev_t *dev;
    int index;
    uint32_t block_size;
    // The form with an offset was used: it is littlefs that calls. It relies on the order of its writes, and wants
    // error numbers, where FAT would not look at them.
    bool extended;
} mod_blkdev_t;

// Whether the host said floe.optional=N of this disk: the VM works without it, too.
static bool is_optional(int index) {
    char word[12];
    size_t pos = 0;
    int len;
    while ((len = hal_cmdline_next("floe.optional", &pos, word, sizeof word)) >= 0) {
        if (len == 1 && word[0] - '0' == index) {
            return true;
        }
    }
    return false;
}

static mp_obj_t new_device(blkdev_t *dev, int index, mp_int_t block_size) {
    if (block_size <= 0 || block_size > (1 << 24) || block_size % dev->sector_size != 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("block_size must be a multiple of the sector size"));
    }
    mod_blkdev_t *self = mp_obj_malloc(mod_blkdev_t, &mod_blkdev_type);
    self->dev = dev;
    self->index = index;
    self->block_size = (uint32_t)block_size;
    self->extended = false;
    return MP_OBJ_FROM_PTR(self);
}

static mp_obj_t mod_blkdev_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *all) {
    static const mp_arg_t allowed[] = {
        {MP_QSTR_, MP_ARG_REQUIRED | MP_ARG_INT, {.u_int = 0}},
        {MP_QSTR_block_size, MP_ARG_INT, {.u_int = 0}},
    };
    mp_arg_val_t args[MP_ARRAY_SIZE(allowed)];
    mp_arg_parse_all_kw_array(n_args, n_kw, all, MP_ARRAY_SIZE(allowed), allowed, args);
    blkdev_t *dev = args[0].u_int < 0 ? NULL : blkdev_get((unsigned)args[0].u_int);
    if (dev == NULL) {
        mp_raise_OSError(MP_ENODEV);
    }
    return new_device(dev, (int)args[0].u_int, args[1].u_int != 0 ? args[1].u_int : (mp_int_t)dev->sector_size);
}

static void mod_blkdev_print(const mp_print_t *print, mp_obj_t self_in, mp_print_kind_t kind) {
    const mod_blkdev_t *self = MP_OBJ_TO_PTR(self_in);
    mp_printf(print, "<BlockDevice %d: %s, %u MiB in blocks of %u%s>", self->index, self->dev->driver,
              (unsigned)(self->dev->sectors >> 11), (unsigned)self->block_size,
              self->dev->dead       ? ", dead"
              : self->dev->readonly ? ", read-only"
                                    : "");
}

static mp_obj_t transfer(blkdev_op_t op, size_t n_args, const mp_obj_t *args) {
    mod_blkdev_t *self = MP_OBJ_TO_PTR(args[0]);
    mp_int_t block = mp_obj_get_int(args[1]), offset = n_args > 3 ? mp_obj_get_int(args[3]) : 0;
    mp_buffer_info_t buf;
    mp_get_buffer_raise(args[2], &buf, op == BLKDEV_READ ? MP_BUFFER_WRITE : MP_BUFFER_READ);
    self->extended |= n_args > 3;
    if (block < 0 || offset < 0 || block > (mp_int_t)(self->dev->sectors * BLKDEV_SECTOR / self->block_size)) {
        return MP_OBJ_NEW_SMALL_INT(-MP_EINVAL);
    }
    uint64_t at = (uint64_t)block * self->block_size + (uint64_t)offset;
    if (op == BLKDEV_WRITE && self->extended) {
        return MP_OBJ_NEW_SMALL_INT(blkdev_write_ordered(self->dev, at, buf.buf, buf.len));
    }
    return MP_OBJ_NEW_SMALL_INT(blkdev_transfer(self->dev, op, at, buf.buf, buf.len));
}

static mp_obj_t mod_blkdev_readblocks(size_t n_args, const mp_obj_t *args) {
    return transfer(BLKDEV_READ, n_args, args);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_blkdev_readblocks_obj, 3, 4, mod_blkdev_readblocks);

static mp_obj_t mod_blkdev_writeblocks(size_t n_args, const mp_obj_t *args) {
    return transfer(BLKDEV_WRITE, n_args, args);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_blkdev_writeblocks_obj, 3, 4, mod_blkdev_writeblocks);

static mp_obj_t mod_blkdev_ioctl(mp_obj_t self_in, mp_obj_t op, mp_obj_t arg) {
    const mod_blkdev_t *self = MP_OBJ_TO_PTR(self_in);
    int r = 0;
    switch (mp_obj_get_int(op)) {
        case MP_BLOCKDEV_IOCTL_INIT:
        case MP_BLOCKDEV_IOCTL_DEINIT:
            break;
        case MP_BLOCKDEV_IOCTL_SYNC:
            r = blkdev_flush(self->dev);
            if (r < 0 && !self->extended) {
                mp_raise_OSError(-r);
            }
            break;
        case MP_BLOCKDEV_IOCTL_BLOCK_COUNT:
            return mp_obj_new_int_from_ull(self->dev->sectors * BLKDEV_SECTOR / self->block_size);
        case MP_BLOCKDEV_IOCTL_BLOCK_SIZE:
            return MP_OBJ_NEW_SMALL_INT(self->block_size);
        case MP_BLOCKDEV_IOCTL_BLOCK_ERASE: // nothing needs erasing before it is written, nor is a discard worth it
            r = self->dev->dead ? -MP_EIO : self->dev->readonly ? -MP_EROFS : 0;
            break;
        default:
            return mp_const_none;
    }
    return MP_OBJ_NEW_SMALL_INT(r);
}
static MP_DEFINE_CONST_FUN_OBJ_3(mod_blkdev_ioctl_obj, mod_blkdev_ioctl);

// discard(block, count): these blocks hold nothing any more; the host may give their room back.
static mp_obj_t mod_blkdev_discard(mp_obj_t self_in, mp_obj_t block, mp_obj_t count) {
    const mod_blkdev_t *self = MP_OBJ_TO_PTR(self_in);
    mp_int_t first = mp_obj_get_int(block), n = mp_obj_get_int(count);
    if (first < 0 || n < 0) {
        mp_raise_ValueError(NULL);
    }
    mp_int_t blocks = (mp_int_t)(self->dev->sectors * BLKDEV_SECTOR / self->block_size);
    if (first > blocks || n > blocks) { // or the bytes below do not fit in 64 bits
        mp_raise_OSError(MP_EINVAL);
    }
    int r = blkdev_discard(self->dev, (uint64_t)first * self->block_size, (uint64_t)n * self->block_size);
    if (r < 0) {
        mp_raise_OSError(-r);
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_3(mod_blkdev_discard_obj, mod_blkdev_discard);

// stats() -> (reads, bytes read, writes, bytes written, flushes, errors) since boot, as asked for by file systems.
static mp_obj_t mod_blkdev_stats(mp_obj_t self_in) {
    const blkdev_stats_t *s = &((mod_blkdev_t *)MP_OBJ_TO_PTR(self_in))->dev->stats;
    mp_obj_t t[] = {
        mp_obj_new_int_from_ull(s->reads),   mp_obj_new_int_from_ull(s->read_bytes),
        mp_obj_new_int_from_ull(s->writes),  mp_obj_new_int_from_ull(s->written_bytes),
        mp_obj_new_int_from_ull(s->flushes), mp_obj_new_int_from_ull(s->errors),
    };
    return mp_obj_new_tuple(MP_ARRAY_SIZE(t), t);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mod_blkdev_stats_obj, mod_blkdev_stats);

static void mod_blkdev_attr(mp_obj_t self_in, qstr attr, mp_obj_t *dest) {
    const mod_blkdev_t *self = MP_OBJ_TO_PTR(self_in);
    if (dest[0] != MP_OBJ_NULL) {
        return; // nothing can be set
    }
    if (attr == MP_QSTR_readonly) {
        dest[0] = mp_obj_new_bool(self->dev->readonly);
    } else if (attr == MP_QSTR_optional) {
        dest[0] = mp_obj_new_bool(is_optional(self->index));
    } else if (attr == MP_QSTR_size) {
        dest[0] = mp_obj_new_int_from_ull(self->dev->sectors * BLKDEV_SECTOR);
    } else if (attr == MP_QSTR_sector_size) {
        dest[0] = MP_OBJ_NEW_SMALL_INT(self->dev->sector_size);
    } else {
        dest[1] = MP_OBJ_SENTINEL; // look in locals_dict
    }
}

static const mp_rom_map_elem_t mod_blkdev_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_readblocks), MP_ROM_PTR(&mod_blkdev_readblocks_obj)},
    {MP_ROM_QSTR(MP_QSTR_writeblocks), MP_ROM_PTR(&mod_blkdev_writeblocks_obj)},
    {MP_ROM_QSTR(MP_QSTR_ioctl), MP_ROM_PTR(&mod_blkdev_ioctl_obj)},
    {MP_ROM_QSTR(MP_QSTR_stats), MP_ROM_PTR(&mod_blkdev_stats_obj)},
    {MP_ROM_QSTR(MP_QSTR_discard), MP_ROM_PTR(&mod_blkdev_discard_obj)},
};
static MP_DEFINE_CONST_DICT(mod_blkdev_locals, mod_blkdev_locals_table);

MP_DEFINE_CONST_OBJ_TYPE(mod_blkdev_type, MP_QSTR_BlockDevice, MP_TYPE_FLAG_NONE, make_new, mod_blkdev_make_new, print,
                         mod_blkdev_print, attr, mod_blkdev_attr, locals_dict, &mod_blkdev_locals);

// ramdisk(size[, block_size]) -> BlockDevice: the RAM disk of this VM, made by the first call and kept.
static mp_obj_t mod_blkdev_ramdisk(size_t n_args, const mp_obj_t *args) {
    mp_int_t size = mp_obj_get_int(args[0]);
    if (size < 8192) {
        mp_raise_ValueError(NULL);
    }
    blkdev_t *dev = blkdev_ram((uint64_t)size);
    if (dev == NULL) {
        mp_raise_OSError(MP_ENOMEM);
    }
    return new_device(dev, -1, n_args > 1 ? mp_obj_get_int(args[1]) : BLKDEV_SECTOR);
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(mod_blkdev_ramdisk_obj, 1, 2, mod_blkdev_ramdisk);
