// SPDX-License-Identifier: MIT
// port/xen/grant.c over a fake Xen that keeps both versions of the table. Commands: only V: versions that Xen takes (1,
// 2, 3: both, 0: none); frames MAX; query ERR: of the size; maps_left N; dma_left N; cmdline WORDS; grant DOM PAGE RO;
// end REF; free; entry REF: flags, domain, frame as Xen reads them; use REF 1|0: the other side maps it, or not; all:
// grants until there is none, how many; anew: another domain, whose table is empty; churn SEED
// COUNT: random grants and ends, checked against a model.

#include "talk.h"

#include "../support/fuzz_lives.c"
#include "hal/internal.h"

#include "xen/grant.c"

uintptr_t hal_ram_offset = 0x600000;

enum { PAGES = 1 << 16 };

static unsigned versions = 3, version, frames_max = 4, maps;
static int query_err, maps_left = -1, dma_left = -1;
static char cmdline[100];

_Noreturn void hal_panic(const char *fmt, ...) {
    printf("PANIC %s\n", fmt);
    fflush(stdout);
    _Exit(120);
}
void hal_console_log(const void *data, size_t len) { printf("LOG %.*s", (int)len, (const char *)data); }

void *hal_mem_dma(size_t bytes, size_t align) {
    void *p = dma_left-- == 0 ? NULL : aligned_alloc(align, bytes);
    return p == NULL ? NULL : memset(p, 0, bytes);
}

bool hal_mem_return(void *p, size_t bytes) {
    (void)bytes;
    free(p);
    return true;
}

int hal_cmdline_next(const char *key, size_t *pos, char *out, size_t size) {
    const char *at = strstr(cmdline, key);
    if (*pos > 0 || at == NULL) {
        return -ENOENT;
    }
    *pos = 1;
    snprintf(out, size, "%s", at + strlen(key) + 1);
    return (int)strlen(at + strlen(key) + 1);
}

static struct {
    uint8_t *frame[64], *status[64];
} xen;

int xen_physmap(unsigned space, uint64_t index, const void *page) {
    if (space != XEN_SPACE_GRANT_TABLE || (uintptr_t)page % HAL_PAGE_SIZE != 0 || maps_left-- == 0) {
        return -ENOMEM;
    }
    maps++;
    bool status = (index & (1ull << 31)) != 0;
    index &= ~(1ull << 31);
    if (index >= (status ? (frames_max + 7) / 8 : frames_max) || (status && version != 2)) {
        return -EINVAL;
    }
    *(status ? &xen.status[index] : &xen.frame[index]) = memset((uint8_t *)(uintptr_t)page, 0, HAL_PAGE_SIZE);
    return 0;
}

long xen_hypercall(unsigned number, long a, long b, long c) {
    if (number != XEN_GRANT_TABLE_OP || c != 1) {
        return -ENOSYS;
    }
    if (a == GNTTABOP_SET_VERSION) {
        uint32_t v = *(uint32_t *)b;
        if ((versions & v) == 0 || v > 2) {
            return -ENOSYS;
        }
        version = v;
        return 0;
    }
    query_size_t *q = (query_size_t *)b;
    q->frames = 1;
    q->frames_max = frames_max;
    q->status = (int16_t)query_err;
    return q->dom == XEN_DOMID_SELF ? 0 : -EPERM;
}

typedef struct {
    uint16_t flags, dom;
    uint64_t frame;
} seen_t;

static uint16_t *flags_of(unsigned ref) {
    unsigned per = version == 2 ? 256 : 512;
    return (uint16_t *)(xen.frame[ref / per] + ref % per * (4096 / per));
}

static seen_t seen(unsigned ref) {
    const uint16_t *e = flags_of(ref);
    seen_t s = {.flags = e[0], .dom = e[1]};
    memcpy(&s.frame, (const uint8_t *)e + (version == 2 ? 8 : 4), version == 2 ? 8 : 4);
    return s;
}

static void use(unsigned ref, bool on) {
    uint16_t *flags = version == 2 ? (uint16_t *)(xen.status[ref / 2048] + ref % 2048 * 2) : flags_of(ref);
    *flags = (uint16_t)(on ? *flags | GTF_READING | GTF_WRITING : *flags & ~(GTF_READING | GTF_WRITING));
}

static uint8_t *page_number(uint64_t n) { return (uint8_t *)(n * HAL_PAGE_SIZE + hal_ram_offset); }

// Frames of another domain, of no content, in pages that hold what they held.
static void anew(void) {
    memset(&xen, 0, sizeof(xen));
    version = maps = 0;
    grants_suspend(HAL_SUSPENDING);
    grants_suspend(HAL_RESUMED);
}

static void life(void) {
    static unsigned page_of[64 * 512]; // 0: not granted
    static bool in_use[64 * 512];
    static unsigned held[4000];
    unsigned count = 0;
    versions = 1 + fuzz_pick(2);
    frames_max = 1 + fuzz_pick(6);
    for (unsigned step = 0; step < 6000; step++) {
        unsigned k = count > 0 ? fuzz_pick(count) : 0, page = 1 + fuzz_pick(PAGES);
        switch (fuzz_pick(step / 1000 % 2 ? 4 : 8)) {
            case 0:
            case 1:
                if (count > 0) {
                    unsigned ref = held[k];
                    bool ended = xen_grant_end(ref);
                    FUZZ_CHECK(ended == !in_use[ref]);
                    seen_t s = seen(ref);
                    FUZZ_CHECK(ended ? s.flags == 0 : s.frame == page_of[ref] && (s.flags & GTF_PERMIT_ACCESS));
                    held[k] = ended ? held[--count] : held[k];
                    page_of[ref] = ended ? 0 : page_of[ref];
                }
                break;
            case 2:
                if (count > 0) {
                    in_use[held[k]] = !in_use[held[k]];
                    use(held[k], in_use[held[k]]);
                }
                break;
            default: {
                if (count == 4000) {
                    break;
                }
                unsigned left = xen_grant_free_count(), ro = fuzz_pick(2), dom = fuzz_pick(9);
                xen_grant_t ref = xen_grant_page((uint16_t)dom, page_number(page), ro);
                FUZZ_CHECK((ref == 0) == (left == 0));
                if (ref != 0) {
                    seen_t s = seen(ref);
                    FUZZ_CHECK(ref >= 8 && page_of[ref] == 0 && s.frame == page && s.dom == dom);
                    FUZZ_CHECK(s.flags == (ro ? GTF_PERMIT_ACCESS | GTF_READONLY : GTF_PERMIT_ACCESS));
                    FUZZ_CHECK(xen_grant_free_count() == left - 1);
                    page_of[ref] = page;
                    held[count++] = ref;
                }
            }
        }
    }
}

static void command(const talk_t *t) {
    if (talk_is(t, "only")) {
        versions = (unsigned)talk_number(t, 1);
    } else if (talk_is(t, "frames")) {
        frames_max = (unsigned)talk_number(t, 1);
    } else if (talk_is(t, "query")) {
        query_err = (int)strtol(t->word[1], NULL, 0);
    } else if (talk_is(t, "maps_left")) {
        maps_left = (int)talk_number(t, 1);
    } else if (talk_is(t, "dma_left")) {
        dma_left = (int)talk_number(t, 1);
    } else if (talk_is(t, "cmdline")) {
        strcpy(cmdline, t->word[1]);
    } else if (talk_is(t, "grant")) {
        bool ro = talk_number(t, 3) != 0;
        printf("%u\n", xen_grant_page((uint16_t)talk_number(t, 1), page_number(talk_number(t, 2)), ro));
    } else if (talk_is(t, "end")) {
        printf("%d\n", xen_grant_end((xen_grant_t)talk_number(t, 1)));
    } else if (talk_is(t, "free")) {
        printf("%u\n", xen_grant_free_count());
    } else if (talk_is(t, "entry")) {
        seen_t s = seen((unsigned)talk_number(t, 1));
        printf("%u %u %u %lu\n", version, s.flags, s.dom, (unsigned long)s.frame);
    } else if (talk_is(t, "use")) {
        use((unsigned)talk_number(t, 1), talk_number(t, 2) != 0);
    } else if (talk_is(t, "all")) {
        unsigned n = 0;
        while (xen_grant_page(0, page_number(1), false) != 0) {
            n++;
        }
        printf("%u %u\n", n, maps);
    } else if (talk_is(t, "anew")) {
        anew();
        printf("%u %u\n", version, maps);
    } else if (talk_is(t, "churn")) {
        printf("%d\n", fuzz_lives(life, talk_number(t, 1), talk_number(t, 2)));
    }
}

int main(void) { return talk(command); }
