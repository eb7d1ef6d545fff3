// SPDX-License-Identifier: MIT
// What a test does with a disk, whatever driver it has.

#ifndef DISK_USER_H
#define DISK_USER_H

#include "blkdev.h"

enum { DISK_BYTES_MAX = 1 << 20, DISK_STEPS = 150 };

// disk_use N; disk_info; disk_write, disk_ordered, disk_read AT LEN SEED; disk_flush; disk_discard AT LEN.
// False: none of them.
bool disk_user_command(char **word);
// Something at random, checked against what was written before. bytes: the medium, read after a flush; lied: from then
// on anything may come back, but only inside of buffers.
void disk_user_step(blkdev_t *b, const uint8_t *bytes, const bool *lied);

#endif
