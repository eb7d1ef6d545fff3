// SPDX-License-Identifier: MIT
// Feature switches of the interpreter, on top of MicroPython's EXTRA_FEATURES level. port.mk sets FLOE_DEV
// for the archive that has the compiler. Owns the configuration; no code here but the hooks' one-liners.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_EXTRA_FEATURES)

#ifndef FLOE_DEV
#define FLOE_DEV (0)
#endif

#ifndef FLOE_READY // ready kernels: port.mk compiles what differs a second time
#define FLOE_READY (0)
#endif

// ---- types ----
typedef long mp_int_t;
typedef unsigned long mp_uint_t;
typedef long mp_off_t;
#define MP_SSIZE_MAX (0x7fffffffffffffff)
#define MP_STATE_PORT MP_STATE_VM
#include <alloca.h>

#include "libc/decimal.h"

// ---- compiler: only in the dev archive ----
#define MICROPY_ENABLE_COMPILER (FLOE_DEV)
#define MICROPY_EMIT_X64 (FLOE_DEV)
#define MICROPY_PERSISTENT_CODE_LOAD (FLOE_DEV || FLOE_READY)
#define MICROPY_PY_SYS_SETTRACE (0)
#define MICROPY_HELPER_REPL (FLOE_DEV)
#define MICROPY_REPL_EVENT_DRIVEN (FLOE_DEV)
#define MICROPY_ENABLE_VM_ABORT (FLOE_DEV)
#define MICROPY_REPL_EMACS_KEYS (1)
#define MICROPY_REPL_EMACS_WORDS_MOVE (FLOE_DEV)
#define MICROPY_REPL_AUTO_INDENT (FLOE_DEV) // no line of input() begins with an indent
#define MICROPY_USE_READLINE_HISTORY (1)
#define MICROPY_READLINE_HISTORY_SIZE (50)
#define MICROPY_MODULE_FROZEN_MPY (1)
#define MICROPY_QSTR_EXTRA_POOL mp_qstr_frozen_const_pool

// Native code is assembled in the GC heap and copied into pages that the monitor then makes executable.
void *floe_commit_exec(void *code, size_t len, void *reloc);
#define MP_PLAT_COMMIT_EXEC(buf, len, reloc) floe_commit_exec(buf, len, reloc)

// ---- memory ----
#define MICROPY_ENABLE_GC (1)
#define MICROPY_GC_SPLIT_HEAP (1)
#define MICROPY_GC_SPLIT_HEAP_AUTO (1)
void *floe_heap_alloc(size_t bytes);
void floe_heap_free(void *p);
#define MP_PLAT_ALLOC_HEAP(size) floe_heap_alloc(size)
#define MP_PLAT_FREE_HEAP(ptr) floe_heap_free(ptr)
#define MICROPY_ENABLE_FINALISER (1)
#define MICROPY_STACK_CHECK (1)
#define MICROPY_STACK_CHECK_MARGIN (16384)
#define MICROPY_ENABLE_EMERGENCY_EXCEPTION_BUF (1)
#define MICROPY_MALLOC_USES_ALLOCATED_SIZE (1)
#define MICROPY_MEM_STATS (FLOE_DEV)
#define MICROPY_ALLOC_PATH_MAX (256)

// ---- language ----
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_DOUBLE)
#define MICROPY_PARSE_FLOAT decimal_value // port/patches/micropython/float-literals.patch
#define MICROPY_LONGINT_IMPL (MICROPY_LONGINT_IMPL_MPZ)
#define MICROPY_ERROR_REPORTING (MICROPY_ERROR_REPORTING_DETAILED)
#define MICROPY_WARNINGS (1)
#define MICROPY_OPT_COMPUTED_GOTO (1)
#define MICROPY_OPT_MAP_LOOKUP_CACHE_SIZE (256) // names fall on every second entry: the index keeps a tag bit
#define MICROPY_PY_FSTRINGS (1)
#define MICROPY_PY_BUILTINS_HELP (FLOE_DEV)
#define MICROPY_PY_BUILTINS_HELP_MODULES (FLOE_DEV)
#define MICROPY_PY_GC_COLLECT_RETVAL (1)
#define MICROPY_KBD_EXCEPTION (1)
#define MICROPY_ENABLE_SCHEDULER (1)
#define MICROPY_SCHEDULER_DEPTH (8)
#define MICROPY_SCHEDULER_STATIC_NODES (FLOE_DEV)
#define MICROPY_EPOCH_IS_1970 (1)

// ---- sys, os, time, machine ----
#define MICROPY_PY_SYS_PLATFORM "floe"
#define MICROPY_HW_BOARD_NAME "floe"
#define MICROPY_HW_MCU_NAME "x86-64 VM"
#define MICROPY_PY_SYS_PATH_ARGV_DEFAULTS (1)
#define MICROPY_PY_SYS_STDFILES (1)
#define MICROPY_PY_SYS_STDIO_BUFFER (1)
#define MICROPY_PY_SYS_EXC_INFO (1)
#define MICROPY_PY_SYS_ATEXIT (1)
#define MICROPY_PY_OS_INCLUDEFILE "port/modos.c"
#define MICROPY_PY_OS_DUPTERM (FLOE_DEV)
#define mp_interrupt_char hal_console_interrupt_char // os.dupterm's name for it
#define MICROPY_PY_OS_UNAME (1)
#define MICROPY_PY_OS_URANDOM (1)
#define MICROPY_PY_OS_GETENV_PUTENV_UNSETENV (1)
#define MICROPY_PY_TIME_INCLUDEFILE "port/modtime.c"
#define MICROPY_PY_TIME_GMTIME_LOCALTIME_MKTIME (1)
#define MICROPY_PY_TIME_CUSTOM_SLEEP (1)
#define MICROPY_PY_TIME_TIME_TIME_NS (1)
#define MICROPY_PY_MACHINE (1)
#define MICROPY_PY_MACHINE_INCLUDEFILE "port/modmachine.c"
#define MICROPY_PY_MACHINE_RESET (1)
#define MICROPY_PY_MACHINE_TIMER (1)
#define MICROPY_PY_MACHINE_BARE_METAL_FUNCS (1)
#define MICROPY_PY_MACHINE_PIN_BASE (1)
#define MICROPY_PY_MACHINE_PULSE (1)
unsigned long floe_random_seed(void);
#define MICROPY_PY_RANDOM_SEED_INIT_FUNC (floe_random_seed())

// ---- files ----
#define MICROPY_VFS (1)
#define MICROPY_READER_VFS (1)
#define MICROPY_VFS_ROM (1)
#define MICROPY_VFS_ROM_IOCTL (1)
#ifndef FLOE_DISK // images with disks: port.mk compiles what differs a second time
#define FLOE_DISK (0)
#endif
#define MICROPY_VFS_LFS1 (FLOE_DISK && FLOE_DEV)
#define MICROPY_VFS_LFS2 (FLOE_DISK)
#define MICROPY_VFS_FAT (FLOE_DISK)
#define MICROPY_FATFS_ENABLE_LFN (1)
#define MICROPY_FATFS_LFN_CODE_PAGE 437
#define MICROPY_FATFS_MAX_SS (4096)
#define MICROPY_FATFS_RPATH (2)
#define MICROPY_PY_OS_SYNC (FLOE_DISK)

// ---- network: modules/lwip brings socket and network ----
#define MICROPY_PY_ASYNCIO (1)
#define MICROPY_PY_SELECT (1)
#define MICROPY_PY_SELECT_SELECT (1)
#define MICROPY_PY_SOCKET (0)
#define MICROPY_PY_LWIP (0)
#define MICROPY_PY_NETWORK (0)
#define MICROPY_PY_SSL (0)
#define MICROPY_PY_WEBSOCKET (1)
#define MICROPY_PY_HASHLIB (0) // modules/tls brings hashlib, tls, and what cryptolib calls
#define MICROPY_PY_CRYPTOLIB (1)
#define MICROPY_PY_CRYPTOLIB_CTR (1)
#define MICROPY_PY_CRYPTOLIB_CONSTS (1)
#define MICROPY_SSL_MBEDTLS (1)
#define MICROPY_PY_DEFLATE_COMPRESS (1)
#define MICROPY_PY_RE_MATCH_GROUPS (1)
#define MICROPY_PY_RE_MATCH_SPAN_START_END (1)
#define MICROPY_PY_RE_DEBUG (FLOE_DEV)
#define MICROPY_PY_MARSHAL (FLOE_DEV)
#define MICROPY_PY_FUNCTION_ATTRS_CODE (FLOE_DEV)
#define MICROPY_PY_ONEWIRE (0)
#define MICROPY_PY_MACHINE_I2C (0)
#define MICROPY_PY_MACHINE_SPI (0)
#define MICROPY_PY_MACHINE_SOFTI2C (0)
#define MICROPY_PY_MACHINE_SOFTSPI (0)

// ---- events: devices are looked at every so many jumps of the bytecode, and while waiting ----
bool hal_event_run(void);
void mp_hal_wait_ms(int timeout_ms);
#define MICROPY_INTERNAL_EVENT_HOOK hal_event_run()
#define MICROPY_INTERNAL_WFE(TIMEOUT_MS) mp_hal_wait_ms((int)(TIMEOUT_MS))
#define MICROPY_VM_HOOK_COUNT (1000)
#define MICROPY_VM_HOOK_INIT static unsigned vm_hook_divisor = MICROPY_VM_HOOK_COUNT;
#define MICROPY_VM_HOOK_POLL \
    if (--vm_hook_divisor == 0) { \
        vm_hook_divisor = MICROPY_VM_HOOK_COUNT; \
        hal_event_run(); \
    }
#define MICROPY_VM_HOOK_LOOP MICROPY_VM_HOOK_POLL
#define MICROPY_VM_HOOK_RETURN MICROPY_VM_HOOK_POLL
