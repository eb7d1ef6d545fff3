// SPDX-License-Identifier: MIT
// port/xen/balloon.c with port/hal/mem.c over RAM that is only numbers, and a fake Xen that knows which pages are
// there. Commands: ram START END; missing PAGES: the domain began with so many fewer (they count as not there from the
// top); max KIB, target KIB ("-": the value cannot be read); probe; watch [ERRNO]; fire; run: turns until none works,
// how many; advance NS; take BYTES, return ADDR BYTES: what the heap does; refuse N: pages after which Xen refuses (-1:
// never); state: pages given, pages there, hal_mem_total() in pages, ns to the next turn (-1: none); fuzz SEED COUNT.

#include "talk.h"

#include "../support/fuzz_lives.c"

#include "hal/mem.c"
#include "xen/balloon.c"

enum { FRAMES = 1 << 16 };

boot_ram_t boot_ram[BOOT_RAM_MAX];
unsigned boot_ram_count;
uint64_t boot_ram_total;

static bool there[FRAMES];
static uint64_t now, missing;
static int64_t refuse = -1, values[2] = {-1, -1};
static xen_watch_t *watch;
static hal_event_source_t *source_added;
static unsigned calls;

static _Noreturn void stray(const char *what, uint64_t frame) {
    printf("STRAY %s %lu\n", what, (unsigned long)frame);
    fflush(stdout);
    _Exit(3);
}

_Noreturn void hal_panic(const char *fmt, ...) { stray(fmt, 0); }
uint64_t hal_clock_ns(void) { return now += 1000; }
void hal_event_add(hal_event_source_t *s) { source_added = s; }
bool xen_present(void) { return true; }
void hal_console_log(const void *data, size_t len) { printf("LOG %.*s", (int)len, (const char *)data); }

int xen_store_read_u64(xen_tx_t tx, const char *path, uint64_t max, uint64_t *out) {
    (void)tx;
    int64_t v = values[strcmp(path, "memory/target") == 0];
    *out = (uint64_t)v;
    return v < 0 ? -ENOENT : (uint64_t)v > max ? -EINVAL : 0;
}

static int watch_err;
int xen_store_watch(xen_watch_t *w) {
    watch = w;
    return watch_err;
}

static uint64_t count_there(void) {
    uint64_t n = 0;
    for (unsigned i = 0; i < FRAMES; i++) {
        n += there[i];
    }
    return n;
}

long xen_hypercall(unsigned number, long a, long b, long c) {
    (void)c;
    calls++;
    if (number != XEN_MEMORY_OP) {
        return -ENOSYS;
    }
    if (a == XENMEM_CURRENT_RESERVATION) {
        return *(uint16_t *)b == XEN_DOMID_SELF ? (long)(count_there() - missing + 16) : -EPERM;
    }
    const xen_reservation_t *r = (const xen_reservation_t *)b;
    bool add = a == XENMEM_POPULATE_PHYSMAP;
    if (r->dom != XEN_DOMID_SELF || r->count > STEP_PAGES || (r->order != 0 && r->order != 9)) {
        stray("reservation of order", r->order);
    }
    for (uint64_t i = 0; i < r->count; i++) {
        if (refuse >= 0 && refuse < 1 << r->order) {
            return (long)i;
        }
        refuse -= refuse >= 0 ? 1 << r->order : 0;
        for (uint64_t f = r->frames[i]; f < r->frames[i] + (1u << r->order); f++) {
            if (f >= FRAMES || there[f] == add) {
                stray(add ? "page that was there is asked for:" : "page that is not there is given:", f);
            }
            there[f] = add;
        }
        now += 1000u << r->order;
    }
    return (long)r->count;
}

static void add_ram(uint64_t start, uint64_t end) {
    boot_ram[boot_ram_count++] = (boot_ram_t){start + hal_ram_offset, end + hal_ram_offset};
    boot_ram_total += end - start;
    memset(there + start / HAL_PAGE_SIZE, 1, (end - start) / HAL_PAGE_SIZE);
}

static unsigned run(void) {
    unsigned turns = 1;
    while (source.run(NULL)) {
        turns++;
    }
    return turns;
}

// All that is free, and all that someone holds, must be there.
static void check(const boot_ram_t *held, unsigned holds) {
    for (unsigned i = 0; i < boot_ram_count; i++) {
        for (uint64_t a = floor_of(i); a < boot_ram[i].end; a += HAL_PAGE_SIZE) {
            FUZZ_CHECK(there[frame(a)]);
        }
    }
    for (unsigned i = 0; i < holds; i++) {
        for (uint64_t a = held[i].start; a < held[i].end; a += HAL_PAGE_SIZE) {
            FUZZ_CHECK(there[frame(a)]);
        }
    }
}

static void life(void) {
    boot_ram_t held[40];
    unsigned holds = 0;
    boot_ram_count = 0;
    boot_ram_total = 0;
    memset(there, 0, sizeof(there));
    add_ram(1u << 20, (1u << 20) + (8 + fuzz_pick(100)) * 65536);
    if (fuzz_pick(2)) {
        add_ram(64u << 20, (64u << 20) + fuzz_pick(20000) * 4096ull);
    }
    uint64_t all = boot_ram_total;
    values[0] = (int64_t)(all / 1024 + fuzz_pick(2) * 512);
    values[1] = values[0] - fuzz_pick(2) * fuzz_pick((uint32_t)(all / 1024));
    missing = (uint64_t)(values[0] - values[1]) / 4;
    balloon_probe();
    missing = 0;
    xen_balloon_watch();
    for (unsigned step = 0; step < 60; step++) {
        uint64_t bytes = (1 + fuzz_pick(600)) * 4096ull;
        void *p;
        switch (fuzz_pick(6)) {
            case 0:
                values[1] = fuzz_pick(9) == 0 ? -1 : (int64_t)fuzz_pick((uint32_t)(all / 512));
                watch->fired(watch->arg);
                break;
            case 1:
                refuse = fuzz_pick(2) ? -1 : (int)fuzz_pick(3000);
                break;
            case 2:
                if (holds < HAL_ARRAY_LEN(held) && (p = hal_mem_take(bytes, HAL_PAGE_SIZE, 0)) != NULL) {
                    held[holds++] = (boot_ram_t){(uint64_t)p, (uint64_t)p + bytes};
                }
                break;
            case 3: {
                unsigned k = holds > 0 ? fuzz_pick(holds) : 0;
                if (holds > 0 && hal_mem_return((void *)held[k].start, held[k].end - held[k].start)) {
                    held[k] = held[--holds];
                }
                break;
            }
            default:
                now += fuzz_pick(2) ? 2 * AGAIN_NS : 0;
                run();
        }
        check(held, holds);
        FUZZ_CHECK(boot_ram_total == all - given * HAL_PAGE_SIZE && count_there() == all / HAL_PAGE_SIZE - given);
    }
}

static void command(const talk_t *t) {
    if (talk_is(t, "ram")) {
        add_ram(talk_number(t, 1), talk_number(t, 2));
    } else if (talk_is(t, "missing")) {
        missing = talk_number(t, 1);
    } else if (talk_is(t, "max") || talk_is(t, "target")) {
        values[talk_is(t, "target")] = strcmp(t->word[1], "-") == 0 ? -1 : (int64_t)talk_number(t, 1);
    } else if (talk_is(t, "probe")) {
        printf("%d\n", balloon_probe());
    } else if (talk_is(t, "watch")) {
        watch_err = t->n > 1 ? -(int)talk_number(t, 1) : 0;
        printf("%d\n", xen_balloon_watch());
    } else if (talk_is(t, "fire")) {
        watch->fired(watch->arg);
    } else if (talk_is(t, "run")) {
        printf("%u\n", run());
    } else if (talk_is(t, "advance")) {
        now += talk_number(t, 1);
    } else if (talk_is(t, "take")) {
        printf("%ld\n", (long)hal_mem_take(talk_number(t, 1), HAL_PAGE_SIZE, 0));
    } else if (talk_is(t, "return")) {
        printf("%d\n", hal_mem_return((void *)talk_number(t, 1), talk_number(t, 2)));
    } else if (talk_is(t, "refuse")) {
        refuse = strtoll(t->word[1], NULL, 0);
    } else if (talk_is(t, "calls")) {
        printf("%u\n", calls);
    } else if (talk_is(t, "state")) {
        uint64_t at = source.deadline(NULL);
        printf("%lu %lu %lu %ld\n", (unsigned long)given, (unsigned long)count_there(),
               (unsigned long)(hal_mem_total() / HAL_PAGE_SIZE),
               at == UINT64_MAX ? -1l : (long)(at > now ? at - now : 0));
    } else if (talk_is(t, "fuzz")) {
        printf("%d\n", fuzz_lives(life, talk_number(t, 1), talk_number(t, 2)));
    }
}

int main(void) {
    hal_ram_offset = 0x40000000;
    return talk(command);
}
