// SPDX-License-Identifier: MIT
// The C heap: Doug Lea's malloc (from libffi's source package) over hal_mem_sbrk(). Owns its configuration.
// Not here: the GC heap, which takes its areas from the other end of RAM. Context: main loop.

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../hal/internal.h"

#define LACKS_UNISTD_H 1
#define LACKS_FCNTL_H 1
#define LACKS_SYS_PARAM_H 1
#define LACKS_SYS_MMAN_H 1
#define LACKS_STRINGS_H 1
#define LACKS_STRING_H 1
#define LACKS_SYS_TYPES_H 1
#define LACKS_ERRNO_H 1
#define LACKS_STDLIB_H 1
#define LACKS_SCHED_H 1
#define LACKS_TIME_H 1
#define fprintf(...) ((void)0) // malloc_stats() has nowhere to print
#define NO_SEGMENT_TRAVERSAL 1
#define MALLINFO_FIELD_TYPE size_t
#define HAVE_MMAP 0
#define HAVE_MREMAP 0
#define HAVE_MORECORE 1
#define MORECORE hal_mem_sbrk
#define MORECORE_CONTIGUOUS 1
#define malloc_getpagesize 4096
#define DEFAULT_GRANULARITY (64 * 1024)
#define DEFAULT_TRIM_THRESHOLD (1024 * 1024)
#define USE_LOCKS 0
#define ABORT hal_panic("C heap corrupted")
#define PROCEED_ON_ERROR 0
#define MALLOC_FAILURE_ACTION
#include "libffi/src/dlmalloc.c"

#include "../port.h"

size_t libc_malloc_used(void) { return mallinfo().uordblks; }
