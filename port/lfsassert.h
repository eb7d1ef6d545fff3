// SPDX-License-Identifier: MIT
// Forced into the compilation of littlefs. Upstream compiles it without assertions, and then a file opened for reading
// can be written, and the reverse: that assertion alone becomes OSError(EBADF).

#ifndef FLOE_LFSASSERT_H
#define FLOE_LFSASSERT_H

_Noreturn void floe_lfs_refused(int code); // misc.c

// The search is done by the compiler: every other assertion is nothing.
#define LFS2_ASSERT(test) \
    (__builtin_strstr(#test, "(file->flags & LFS2_O_") == 0 || (test) ? (void)0 : floe_lfs_refused(9 /* EBADF */))

#endif
