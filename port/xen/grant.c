// SPDX-License-Identifier: MIT
// The grant table (Xen public/grant_table.h): which pages other domains may use. Version 1 where Xen takes it, else
// version 2. Owns the table's frames and the list of free references, which runs through the unused word of the
// free entries. Not here: what a page is granted for. Context: main loop.
//
// The boot word floe.xen.grants=2 asks for version 2, which else is taken only where version 1 is refused.

#include "../hal/internal.h"
#include "shared.h"

enum {
    GNTTABOP_QUERY_SIZE = 6,
    GNTTABOP_SET_VERSION = 8,
    GTF_PERMIT_ACCESS = 1,
    GTF_READONLY = 1 << 2,
    GTF_READING = 1 << 3,
    GTF_WRITING = 1 << 4,
    RESERVED = 8, // 0: the console's, 1: XenStore's, both set up by the host
    FRAMES_MAX = 64,
    ENTRIES_V1 = HAL_PAGE_SIZE / 8,
    ENTRIES_V2 = HAL_PAGE_SIZE / 16,
    STATUS_PER_FRAME = HAL_PAGE_SIZE / 2,
};
#define STATUS_FRAMES (1ull << 31) // XENMAPIDX_grant_table_status

typedef struct {
    volatile uint16_t flags;
    uint16_t dom;
    uint32_t word; // version 1: the page's frame; free, in both: the next free reference
} entry_t;
typedef struct {
    entry_t head;
    uint64_t frame;
} entry2_t;
_Static_assert(sizeof(entry_t) == 8 && sizeof(entry2_t) == 16, "grant_entry_v1, grant_entry_v2.full_page");

typedef struct {
    uint16_t dom, pad;
    uint32_t frames, frames_max;
    int16_t status;
} query_size_t;
_Static_assert(sizeof(query_size_t) == 16, "struct gnttab_query_size");

static struct {
    unsigned version; // 0: not set up; -1: there is no table
    unsigned frames, frames_max, per_frame;
    unsigned free;     // references in the list
    xen_grant_t first; // of the list; 0: none
    uint8_t *frame[FRAMES_MAX];
    volatile uint16_t *status[FRAMES_MAX * ENTRIES_V2 / STATUS_PER_FRAME];
} table;

static entry_t *entry(xen_grant_t ref) {
    return (entry_t *)(table.frame[ref / table.per_frame] + ref % table.per_frame * (HAL_PAGE_SIZE / table.per_frame));
}

static volatile uint16_t *status(xen_grant_t ref) {
    return &table.status[ref / STATUS_PER_FRAME][ref % STATUS_PER_FRAME];
}

static void release(xen_grant_t ref) {
    entry(ref)->word = table.first;
    table.first = ref;
    table.free++;
}

// A page of ours in whose place Xen puts one of the table's; the one that was in it before, if any.
static void *map(void *old, uint64_t index) {
    void *page = old != NULL ? old : hal_mem_dma(HAL_PAGE_SIZE, HAL_PAGE_SIZE);
    if (page != NULL && xen_physmap(XEN_SPACE_GRANT_TABLE, index, page) != 0) {
        if (old == NULL) {
            hal_mem_return(page, HAL_PAGE_SIZE);
        } // else it was Xen's: in another domain there is no memory behind it
        page = NULL;
    }
    return page;
}

static bool add_frame(void) {
    unsigned n = table.frames, first = n * table.per_frame;
    if (n >= table.frames_max) {
        return false;
    }
    if (table.version == 2 && first % STATUS_PER_FRAME == 0) {
        unsigned s = first / STATUS_PER_FRAME;
        if ((table.status[s] = map((void *)(uintptr_t)table.status[s], STATUS_FRAMES | s)) == NULL) {
            return false;
        }
    }
    table.frame[n] = map(table.frame[n], n);
    if (table.frame[n] == NULL) {
        table.frames_max = n; // not asked again
        return false;
    }
    table.frames++;
    for (xen_grant_t ref = first + table.per_frame; ref-- > first;) {
        if (ref >= RESERVED) {
            release(ref);
        }
    }
    return true;
}

static long grant_op(int op, void *arg) { return xen_hypercall(XEN_GRANT_TABLE_OP, op, (long)arg, 1); }

static bool set_version(uint32_t version) {
    uint32_t v = version;
    if (grant_op(GNTTABOP_SET_VERSION, &v) != 0 || v != version) {
        return false;
    }
    table.version = version;
    table.per_frame = version == 2 ? ENTRIES_V2 : ENTRIES_V1;
    return true;
}

static bool start(void) {
    char wanted[2];
    size_t pos = 0;
    query_size_t q = {.dom = XEN_DOMID_SELF};
    if (table.version != 0) {
        return table.frames > 0;
    }
    bool second = hal_cmdline_next("floe.xen.grants", &pos, wanted, sizeof(wanted)) == 1 && wanted[0] == '2';
    if ((!second && set_version(1)) || set_version(2)) {
        bool known = grant_op(GNTTABOP_QUERY_SIZE, &q) == 0 && q.status == 0;
        table.frames_max = known && q.frames_max < FRAMES_MAX ? q.frames_max : known ? FRAMES_MAX : 1;
        if (add_frame()) {
            return true;
        }
    }
    static const char line[] = "xen: no grant table; no network card and no disk can be used\n";
    table.version = -1u;
    hal_console_log(line, sizeof(line) - 1);
    return false;
}

xen_grant_t xen_grant_page(uint16_t dom, const void *page, bool readonly) {
    hal_assert((uintptr_t)page % HAL_PAGE_SIZE == 0);
    if (!start() || (table.first == 0 && !add_frame())) {
        return 0;
    }
    xen_grant_t ref = table.first;
    entry_t *e = entry(ref);
    table.first = e->word;
    table.free--;
    e->dom = dom;
    if (table.version == 2) {
        e->word = 0;
        ((entry2_t *)e)->frame = hal_physical(page) / HAL_PAGE_SIZE;
    } else {
        e->word = (uint32_t)(hal_physical(page) / HAL_PAGE_SIZE);
    }
    hal_wmb(); // what is granted before the flag that grants it
    e->flags = (uint16_t)(GTF_PERMIT_ACCESS | (readonly ? GTF_READONLY : 0));
    return ref;
}

// Take the permission back; false, and it is as before, while the page is in use.
static bool withdraw(xen_grant_t ref) {
    volatile uint16_t *flags = &entry(ref)->flags;
    uint16_t was = *flags;
    if (table.version == 2) {
        *flags = 0;
        hal_mb(); // no new use before the look at the old ones
        if ((*status(ref) & (GTF_READING | GTF_WRITING)) != 0) {
            *flags = was;
            return false;
        }
        return true;
    }
    do {
        if ((was & (GTF_READING | GTF_WRITING)) != 0) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(flags, &was, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return true;
}

bool xen_grant_end(xen_grant_t ref) {
    hal_assert(ref >= RESERVED && ref < table.frames * table.per_frame);
    hal_assert((entry(ref)->flags & GTF_PERMIT_ACCESS) != 0);
    if (!withdraw(ref)) {
        return false;
    }
    release(ref);
    return true;
}

// In another domain the table is empty: nobody has anything of ours, and all references are free.
static void grants_suspend(hal_suspend_t what) {
    unsigned had = table.frames;
    if (what == HAL_SUSPENDING || had == 0) {
        return;
    }
    table.frames = table.free = table.first = 0;
    hal_assert(set_version(table.version));
    while (table.frames < had && add_frame()) {
    }
}
HAL_SUSPEND(grants_suspend);

unsigned xen_grant_free_count(void) {
    return start() ? table.free + (table.frames_max - table.frames) * table.per_frame : 0;
}
