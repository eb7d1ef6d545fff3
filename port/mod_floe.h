// SPDX-License-Identifier: MIT
// What module `floe` (mod_floe.c) has from elsewhere. Owns nothing. Not here: which image has which of it (mod_floe.c).

#ifndef FLOE_MOD_FLOE_H
#define FLOE_MOD_FLOE_H

#include "py/obj.h"

MP_DECLARE_CONST_FUN_OBJ_2(floe_swap_obj); // port/dev/swap.c

// Of images that have disks (modules/blkdev/mod_blkdev.c).
extern const mp_obj_type_t mod_blkdev_type;
extern const mp_obj_fun_builtin_var_t mod_blkdev_ramdisk_obj;

#endif
