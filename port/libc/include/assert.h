// SPDX-License-Identifier: MIT
// A failed assertion is a PANIC, also in release builds.
#ifndef FLOE_LIBC_ASSERT_H
#define FLOE_LIBC_ASSERT_H
_Noreturn void libc_assert_failed(const char *what, const char *file, int line);
#ifdef NDEBUG
#define assert(e) ((void)0)
#else
#define assert(e) ((e) ? (void)0 : libc_assert_failed(#e, __FILE__, __LINE__))
#endif
#define static_assert _Static_assert
#endif
