// SPDX-License-Identifier: MIT
// What makes a run repeatable: the variables of the code under test lie in two sections of their own (fuzzbuild.py
// renames them), are copied when the program starts and put back before each run; its allocations go through here and
// are freed after each run. Owns the input and the list of blocks. Not here: what is tested. Context: libFuzzer.

#include "world.h"

#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_MOST = 64 << 20, STATUS_STRAY = 3, STATUS_PANIC = 120, MAGIC = 0x464c4f45 };
enum { BLOCK_LARGE = 64 << 10, LARGES = 32, LARGE_ALIGN = 64, FILL = 0xbe }; // FILL: as the sanitizer has new blocks

bool fuzz_may_panic, fuzz_may_stray;

static const uint8_t *input;
static size_t left;
static jmp_buf out;
static bool says; // what the code under test prints: FUZZ_SAY=1

// ---- input ---------------------------------------------------------------------------------------

size_t in_left(void) { return left; }

uint8_t in_u8(void) {
    if (left == 0) {
        return 0;
    }
    left--;
    return *input++;
}

uint16_t in_u16(void) {
    uint16_t high = in_u8();
    return (uint16_t)(high << 8 | in_u8());
}

uint32_t in_u32(void) {
    uint32_t high = in_u16();
    return high << 16 | in_u16();
}

uint64_t in_u64(void) {
    uint64_t high = in_u32();
    return high << 32 | in_u32();
}

uint32_t in_below(uint32_t n) { return (n <= 256 ? in_u8() : in_u16()) % n; }

bool in_one_of(uint32_t n) { return left > 0 && in_u8() % n == 0; }

void *fuzz_malloc(size_t size);

void *in_space(size_t size) {
    void *p = fuzz_malloc(size);
    return memset(p, 0, size);
}

uint8_t *in_rest(size_t most, size_t *len) {
    size_t n = left < most ? left : most;
    uint8_t *p = fuzz_malloc(n);
    memcpy(p, input, n);
    input += n;
    left -= n;
    *len = n;
    return p;
}

uint8_t *in_bytes(size_t most, size_t *len) {
    size_t n = most < 256 ? in_u8() : in_u16();
    n = n < most ? n : most;
    return in_rest(n, len);
}

// ---- judge ---------------------------------------------------------------------------------------

_Noreturn void fuzz_broken(const char *what, const char *file, int line) {
    fprintf(stderr, "BROKEN %s, %s:%d\n", what, file, line);
    abort();
}

_Noreturn void fuzz_leave(void) { longjmp(out, 1); }

_Noreturn void fuzz__Exit(int status) {
    if ((status == STATUS_PANIC && fuzz_may_panic) || (status == STATUS_STRAY && fuzz_may_stray)) {
        fuzz_leave();
    }
    fprintf(stderr, "ENDED with %d; FUZZ_SAY=1 shows what it said\n", status);
    abort();
}

_Noreturn void fuzz_exit(int status) { fuzz__Exit(status); }

int fuzz_vprintf(const char *fmt, va_list ap) { return says ? vfprintf(stderr, fmt, ap) : 0; }

int fuzz_printf(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = fuzz_vprintf(fmt, ap);
    va_end(ap);
    return n;
}

int fuzz_puts(const char *s) { return fuzz_printf("%s\n", s); }
int fuzz_putchar(int c) { return fuzz_printf("%c", c); }

// ---- memory --------------------------------------------------------------------------------------
// A header stands in front of each block and is poisoned as the block's surroundings are.

typedef struct block {
    struct block *next, *prev;
    void *start; // of the allocation that holds header and block
    size_t size;
    uint64_t magic;
    uint8_t *saved; // what is in it when each run begins, for a block of fuzz_start()'s
} block_t;
_Static_assert(sizeof(block_t) % 16 == 0, "alignment of malloc");

static block_t blocks = {.next = &blocks, .prev = &blocks};
static block_t *kept; // the first of fuzz_start()'s, NULL behind the last

// Large blocks that were freed, poisoned. They serve a later run: the kernel takes longer to make their pages anew than
// a run does. Within a run none comes back.
static struct {
    void *start;
    size_t ahead, size;
    bool spent; // freed in this run
} large[LARGES];
static unsigned larges;

static void *take_large(size_t ahead, size_t size) {
    for (unsigned i = 0; i < larges; i++) {
        if (!large[i].spent && large[i].ahead == ahead && large[i].size == size) {
            void *start = large[i].start;
            large[i] = large[--larges];
            ASAN_UNPOISON_MEMORY_REGION(start, ahead + size);
            return start;
        }
    }
    return NULL;
}

static bool keep_large(void *start, size_t ahead, size_t size) {
    if (size < BLOCK_LARGE || larges == LARGES) {
        return false;
    }
    large[larges].start = start;
    large[larges].ahead = ahead;
    large[larges].size = size;
    large[larges++].spent = true;
    ASAN_POISON_MEMORY_REGION(start, ahead + size);
    return true;
}

static void *allocate(size_t align, size_t size) {
    if (size > BLOCK_MOST) {
        return NULL;
    }
    align = size >= BLOCK_LARGE && align < LARGE_ALIGN ? LARGE_ALIGN : align;
    size_t ahead = align > sizeof(block_t) ? align : sizeof(block_t);
    void *start = size >= BLOCK_LARGE ? take_large(ahead, size) : NULL;
    if (start == NULL && posix_memalign(&start, align < 16 ? 16 : align, ahead + size) != 0) {
        return NULL;
    }
    uint8_t *p = (uint8_t *)start + ahead;
    block_t *b = (block_t *)p - 1;
    *b = (block_t){blocks.next, &blocks, start, size, MAGIC, NULL};
    if (blocks.next != &blocks) {
        ASAN_UNPOISON_MEMORY_REGION(blocks.next, sizeof(block_t));
        blocks.next->prev = b;
        ASAN_POISON_MEMORY_REGION(blocks.next, sizeof(block_t));
    } else {
        blocks.prev = b;
    }
    blocks.next = b;
    ASAN_POISON_MEMORY_REGION(start, ahead);
    return p;
}

static void set_neighbour(block_t *b, block_t *next, block_t *prev) {
    if (b != &blocks) {
        ASAN_UNPOISON_MEMORY_REGION(b, sizeof *b);
    }
    b->next = next != NULL ? next : b->next;
    b->prev = prev != NULL ? prev : b->prev;
    if (b != &blocks) {
        ASAN_POISON_MEMORY_REGION(b, sizeof *b);
    }
}

static block_t *opened(void *p) {
    block_t *b = (block_t *)p - 1;
    ASAN_UNPOISON_MEMORY_REGION(b, sizeof *b);
    FUZZ_CHECK(b->magic == MAGIC); // freed twice, or never allocated
    return b;
}

void fuzz_free(void *p) {
    if (p == NULL) {
        return;
    }
    block_t *b = opened(p);
    if (b->saved != NULL) { // is there again in the next run
        ASAN_POISON_MEMORY_REGION(b, sizeof *b);
        return;
    }
    set_neighbour(b->next, NULL, b->prev);
    set_neighbour(b->prev, b->next, NULL);
    ASAN_UNPOISON_MEMORY_REGION(b, sizeof *b);
    b->magic = 0;
    if (!keep_large(b->start, (size_t)((uint8_t *)p - (uint8_t *)b->start), b->size)) {
        free(b->start);
    }
}

// What is in a block that served an earlier run does not decide anything.
void *fuzz_malloc(size_t size) {
    void *p = allocate(16, size);
    return p == NULL || size < BLOCK_LARGE ? p : memset(p, FILL, size);
}

void *fuzz_calloc(size_t n, size_t size) {
    void *p = size != 0 && n > BLOCK_MOST / size ? NULL : allocate(16, n * size);
    return p == NULL ? NULL : memset(p, 0, n * size);
}

void *fuzz_realloc(void *p, size_t size) {
    void *new = fuzz_malloc(size);
    if (new != NULL && p != NULL) {
        block_t *b = opened(p);
        size_t old = b->size;
        ASAN_POISON_MEMORY_REGION(b, sizeof *b);
        memcpy(new, p, old < size ? old : size);
        fuzz_free(p);
    }
    return new;
}

char *fuzz_strdup(const char *s) {
    size_t size = strlen(s) + 1;
    char *p = allocate(16, size);
    return p == NULL ? NULL : memcpy(p, s, size);
}

// The caller clears it: hal_mem_dma() of the fakes.
int fuzz_posix_memalign(void **p, size_t align, size_t size) {
    *p = allocate(align, size);
    return *p == NULL ? ENOMEM : 0;
}

static void free_all(void) {
    while (blocks.next != &blocks) {
        fuzz_free(blocks.next + 1);
    }
    for (unsigned i = 0; i < larges; i++) {
        large[i].spent = false;
    }
}

// ---- variables -----------------------------------------------------------------------------------

extern uint8_t start_data[] __asm__("__start_tested_data") __attribute__((weak));
extern uint8_t stop_data[] __asm__("__stop_tested_data") __attribute__((weak));
extern uint8_t start_bss[] __asm__("__start_tested_bss") __attribute__((weak));
extern uint8_t stop_bss[] __asm__("__stop_tested_bss") __attribute__((weak));
static uint8_t *saved_data, *saved_bss;

// Over the poisoned gaps between variables, too.
__attribute__((no_sanitize("address"))) static void copy(uint8_t *to, const uint8_t *from, size_t len) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
}

// What fuzz_start() has allocated lives on, and is what it was when a run begins.
static void keep_all(void) {
    block_t *last = NULL;
    while (blocks.next != &blocks) {
        block_t *b = opened(blocks.next + 1);
        blocks.next = b->next;
        b->saved = malloc(b->size + 1);
        copy(b->saved, (uint8_t *)(b + 1), b->size);
        b->next = last;
        last = b;
    }
    blocks.prev = &blocks;
    kept = last;
    for (block_t *b = kept, *next; b != NULL; b = next) {
        next = b->next;
        ASAN_POISON_MEMORY_REGION(b, sizeof *b);
    }
}

static void restore_kept(void) {
    for (block_t *b = kept, *next; b != NULL; b = next) {
        b = opened(b + 1);
        next = b->next;
        copy((uint8_t *)(b + 1), b->saved, b->size);
        ASAN_POISON_MEMORY_REGION(b, sizeof *b);
    }
}

// A large quarantine costs more in page faults than it finds in runs that end after milliseconds. Where a block was
// allocated is told when a crash is run once more (fuzzrun.py).
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0:quarantine_size_mb=4:thread_local_quarantine_size_kb=64:allocator_may_return_null=1:"
           "malloc_context_size=1";
}

const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void) { return "print_stacktrace=1"; }

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    says = getenv("FUZZ_SAY") != NULL;
    if (fuzz_start != NULL) {
        fuzz_start();
        keep_all();
    }
    saved_data = malloc((size_t)(stop_data - start_data) + 1);
    saved_bss = malloc((size_t)(stop_bss - start_bss) + 1);
    copy(saved_data, start_data, (size_t)(stop_data - start_data));
    copy(saved_bss, start_bss, (size_t)(stop_bss - start_bss));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input = data;
    left = size;
    fuzz_may_panic = fuzz_may_stray = false;
    if (setjmp(out) == 0) {
        fuzz_one();
    }
    free_all();
    restore_kept();
    copy(start_data, saved_data, (size_t)(stop_data - start_data));
    copy(start_bss, saved_bss, (size_t)(stop_bss - start_bss));
    return 0;
}
