// SPDX-License-Identifier: MIT
// What module `floe` takes from mod_blkdev.c, in images that have disks.

#ifndef FLOE_MOD_BLKDEV_H
#define FLOE_MOD_BLKDEV_H

#include "py/obj.h"

extern const mp_obj_type_t mod_blkdev_type;
extern const mp_obj_fun_builtin_var_t mod_blkdev_ramdisk_obj;

#endif
