// SPDX-License-Identifier: MIT
// Nodes: copies of node.so with data of their own. A node that is off is one whose data are again as they were when it
// was loaded, and whose blocks are gone. Owns their stacks, blocks and events. Context: the world's, and the nodes'
// own, which are all one thread.

#define _GNU_SOURCE // dl_iterate_phdr()

#include <assert.h>
#include <dlfcn.h>
#include <link.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "world.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define __sanitizer_finish_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define __asan_unpoison_memory_region(at, size) ((void)(at), (void)(size))
#endif

enum { STACK = 512 << 10, SEGMENTS = 4, POINT_FAR_NS = 50000, RAM = 64 << 20, PAGE = 4096 };
#define RAM_AT ((uint8_t *)0x200000000000) // of the first node; nothing else is near, on Linux and in a sanitizer

typedef struct block {
    struct block *next, *before;
    size_t bytes;
    void *whole;
} block_t;

typedef struct {
    uint64_t *at, *saved;
    size_t words;
} segment_t;

struct node {
    unsigned index;
    const sim_node_t *calls;
    segment_t segment[SEGMENTS];
    unsigned segments;
    uint8_t *stack;
    ucontext_t context; // where it begins
    jmp_buf at;         // where it goes on
    bool on, begun, ended, woken, halted, done, armed;
    uint64_t due;
    sim_start_t start;
    sim_host_t host;
    block_t blocks;
    unsigned allocs, objects; // since it was up
    uint8_t *ram;
    size_t areas; // bytes of it that are taken
    event_t *heap;
    unsigned events;
};

static node_t nodes[SIM_NODES];
static jmp_buf world_at;
static const void *world_stack;
static size_t world_stack_size;

// ---- events -------------------------------------------------------------------------------------

static bool sooner(const event_t *a, const event_t *b) { return a->t != b->t ? a->t < b->t : a->seq < b->seq; }

void push_event(unsigned node, uint64_t at, event_t e) {
    node_t *n = &nodes[node];
    assert(n->events < EVENTS_MAX);
    e.t = at;
    e.seq = world.seq++;
    unsigned i = n->events++;
    for (; i > 0 && sooner(&e, &n->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        n->heap[i] = n->heap[(i - 1) / 2];
    }
    n->heap[i] = e;
}

static event_t pop_event(node_t *n) {
    event_t top = n->heap[0], last = n->heap[--n->events];
    unsigned i = 0;
    for (unsigned child; (child = 2 * i + 1) < n->events; i = child) {
        child += child + 1 < n->events && sooner(&n->heap[child + 1], &n->heap[child]);
        if (!sooner(&n->heap[child], &last)) {
            break;
        }
        n->heap[i] = n->heap[child];
    }
    n->heap[i] = last;
    return top;
}

static void deliver(node_t *n, event_t e) {
    world.events++;
    switch (e.kind) {
        case EVENT_FRAME: {
            bool taken = n->on && !n->ended && n->calls->receive(e.data, e.len);
            trace(n->index, taken ? "frame" : "missed", e.len, e.hash);
            free(e.data);
            break;
        }
        case EVENT_WORK:
            n->calls->work(e.which);
            break;
        default:
            if (world.flush_fatal && medium_is_flush(e.which)) {
                world.cut_now = true; // when the node halts
                return;
            }
            medium_done(e.which);
            n->calls->disk_done(e.which);
    }
}

static void deliver_due(node_t *n) {
    while (n->events > 0 && n->heap[0].t <= world.now) {
        deliver(n, pop_event(n));
    }
}

// ---- what a node asks for -------------------------------------------------------------------------

static uint64_t host_clock(void *ctx) {
    world.now += 1000;
    deliver_due(ctx);
    return world.now;
}

static void host_point(void *ctx) {
    node_t *n = ctx;
    world.now += below(200);
    if (n->events > 0 && n->heap[0].t < world.now + POINT_FAR_NS && below(4) == 0) {
        world.now = n->heap[0].t > world.now ? n->heap[0].t : world.now;
    }
    deliver_due(n);
}

// From the world to a node, or back.
static void change(node_t *from, node_t *to) {
    void *fake = NULL;
    const void *bottom = to != NULL ? to->stack : world_stack;
    size_t size = to != NULL ? STACK : world_stack_size;
    world.running = to;
    __sanitizer_start_switch_fiber(&fake, bottom, size);
    if (_setjmp(from != NULL ? from->at : world_at) == 0) { // swapcontext() would ask the kernel for signals' mask
        if (to != NULL && !to->begun) {
            to->begun = true;
            setcontext(&to->context);
        }
        _longjmp(to != NULL ? to->at : world_at, 1);
    }
    if (from != NULL) {
        __sanitizer_finish_switch_fiber(fake, &world_stack, &world_stack_size);
    } else {
        __sanitizer_finish_switch_fiber(fake, NULL, NULL);
    }
}

static void host_halt(void *ctx, uint64_t until) {
    node_t *n = ctx;
    if (!n->woken) {
        n->due = until;
        n->halted = true;
        change(n, NULL);
        n->halted = false;
    }
    n->woken = false;
}

static void host_wake(void *ctx) {
    node_t *n = ctx;
    n->woken = true;
    if (n->halted) {
        uint64_t soon = world.now + 500 + below(20000);
        n->due = soon < n->due ? soon : n->due;
    }
}

static uint32_t host_below(void *ctx, uint32_t n) {
    (void)ctx;
    return below(n);
}

static bool refused(node_t *n) {
    const scenario_t *p = &world.plan;
    bool fails = false;
    for (unsigned i = 0; i < p->fails; i++) {
        fails |=
            p->fail_node[i] == n->index && n->allocs >= p->fail_at[i] && n->allocs < p->fail_at[i] + p->fail_for[i];
    }
    n->allocs += n->armed;
    return fails && n->armed && world.phase == SIM_FAULTS;
}

static void *host_alloc(void *ctx, size_t bytes, size_t align) {
    node_t *n = ctx;
    if (refused(n)) {
        trace(n->index, "no memory", bytes, 0);
        return NULL;
    }
    size_t head = (sizeof(block_t) + align - 1) & ~(align - 1);
    void *whole = NULL;
    if (posix_memalign(&whole, align < 16 ? 16 : align, head + bytes) != 0) {
        abort();
    }
    block_t *b = (block_t *)((uint8_t *)whole + head) - 1;
    *b = (block_t){.next = n->blocks.next, .before = &n->blocks, .bytes = bytes, .whole = whole};
    b->next->before = b;
    n->blocks.next = b;
    return memset(b + 1, 0xa5, bytes);
}

static void host_release(void *ctx, void *p) {
    (void)ctx;
    if (p == NULL) {
        return;
    }
    block_t *b = (block_t *)p - 1;
    b->next->before = b->before;
    b->before->next = b->next;
    free(b->whole);
}

static void *host_area(void *ctx, size_t bytes) {
    node_t *n = ctx;
    size_t whole = (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
    if (refused(n) || whole > RAM - n->areas) {
        trace(n->index, "no memory", bytes, 0);
        return NULL;
    }
    n->areas += whole;
    return n->ram + n->areas - whole;
}

static bool host_refuses(void *ctx, size_t bytes) {
    node_t *n = ctx;
    const scenario_t *p = &world.plan;
    bool fails = false;
    for (unsigned i = 0; i < p->lacks; i++) {
        fails |= n->objects >= p->lack_at[i] && n->objects < p->lack_at[i] + p->lack_for[i];
    }
    n->objects += n->armed;
    fails = fails && n->armed && world.phase == SIM_FAULTS;
    if (fails) {
        trace(n->index, "no object", bytes, n->objects);
    }
    return fails;
}

static size_t host_live(void *ctx, size_t bytes) {
    node_t *n = ctx;
    size_t count = 0;
    for (const block_t *b = n->blocks.next; b != &n->blocks; b = b->next) {
        count += b->bytes == bytes;
    }
    return count;
}

static void host_send(void *ctx, const uint8_t *frame, uint32_t len) { wire_send(((node_t *)ctx)->index, frame, len); }

static void host_notify(void *ctx, unsigned device) {
    push_event(((node_t *)ctx)->index, world.now + 500 + below(30000),
               (event_t){.kind = EVENT_WORK, .which = (uint8_t)device});
}

static void host_disk(void *ctx, unsigned slot, unsigned op, uint64_t at, void *base, uint32_t len) {
    uint64_t takes = medium_request(slot, op, at, base, len);
    push_event(((node_t *)ctx)->index, world.now + takes, (event_t){.kind = EVENT_DISK, .which = (uint8_t)slot});
}

static void host_log(void *ctx, const void *text, size_t len) {
    trace(((node_t *)ctx)->index, "says", len, hash_bytes(text, len));
    if (world.verbose) {
        printf("          %.*s", (int)len, (const char *)text);
    }
}

static void host_note(void *ctx, const char *what, uint64_t a, uint64_t b) {
    trace(((node_t *)ctx)->index, what, a, b);
}

static void host_done(void *ctx, bool done) {
    ((node_t *)ctx)->done = done;
    ((node_t *)ctx)->armed = true;
}

static sim_phase_t host_phase(void *ctx) {
    (void)ctx;
    return world.phase;
}

static uint64_t host_calm(void *ctx) {
    (void)ctx;
    return world.plan.calm;
}

static _Noreturn void host_broken(void *ctx, const char *text) {
    (void)ctx;
    broken(text);
}

// ---- lives --------------------------------------------------------------------------------------

static int find_segments(struct dl_phdr_info *info, size_t size, void *arg) {
    node_t *n = arg;
    (void)size;
    uintptr_t inside = (uintptr_t)n->calls;
    bool is = false, fixed = n->calls->serves[0] != '\0'; // scripts.py says why
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        is |= p->p_type == PT_LOAD && inside >= info->dlpi_addr + p->p_vaddr &&
              inside < info->dlpi_addr + p->p_vaddr + p->p_memsz;
    }
    if (is && fixed && info->dlpi_addr != 0) {
        fprintf(stderr, "the server's node is not where it was linked for: its runs would not be the same\n");
        exit(2);
    }
    for (int i = 0; is && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_W) != 0) {
            assert(n->segments < SEGMENTS);
            uintptr_t from = (info->dlpi_addr + p->p_vaddr) & ~7ul, to = info->dlpi_addr + p->p_vaddr + p->p_memsz;
            n->segment[n->segments].at = (uint64_t *)from;
            n->segment[n->segments++].words = (to - from + 7) / 8; // a page's end is behind it
        }
    }
    return is;
}

// Word by word: between variables the sanitizer has memory that nobody may touch.
__attribute__((no_sanitize("address"), optimize("no-tree-loop-distribute-patterns"))) static void
copy(uint64_t *to, const uint64_t *from, size_t words) {
    for (size_t i = 0; i < words; i++) {
        to[i] = from[i];
    }
}

void nodes_load(const char *folder) {
    for (unsigned i = 0; i < SIM_NODES; i++) {
        node_t *n = &nodes[i];
        char path[4096];
        snprintf(path, sizeof path, "%s/node%u.so", folder, i);
        void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        n->calls = so == NULL ? NULL : dlsym(so, "sim_node");
        if (n->calls == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            exit(2);
        }
        n->index = i;
        n->blocks.next = n->blocks.before = &n->blocks;
        n->heap = malloc(EVENTS_MAX * sizeof(event_t));
        n->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        n->ram = mmap(RAM_AT + (size_t)i * RAM, RAM, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        assert(n->heap != NULL && n->stack != MAP_FAILED && n->ram == RAM_AT + (size_t)i * RAM);
        dl_iterate_phdr(find_segments, n);
        for (unsigned s = 0; s < n->segments; s++) {
            n->segment[s].saved = malloc(n->segment[s].words * 8);
            copy(n->segment[s].saved, n->segment[s].at, n->segment[s].words);
        }
        n->host = (sim_host_t){n,          host_clock, host_point,   host_halt, host_wake,
                               host_below, host_alloc, host_release, host_area, host_refuses,
                               host_live,  host_send,  host_notify,  host_disk, host_log,
                               host_note,  host_done,  host_phase,   host_calm, host_broken};
    }
}

void node_cut(unsigned index) {
    node_t *n = &nodes[index];
    for (unsigned s = 0; s < n->segments; s++) {
        copy(n->segment[s].at, n->segment[s].saved, n->segment[s].words);
    }
    while (n->blocks.next != &n->blocks) {
        host_release(n, n->blocks.next + 1);
    }
    for (unsigned i = 0; i < n->events; i++) {
        free(n->heap[i].data);
    }
    n->events = 0;
    n->on = n->ended = n->halted = n->woken = n->done = n->armed = false;
    n->allocs = n->objects = 0;
    madvise(n->ram, n->areas, MADV_DONTNEED); // zeros
    n->areas = 0;
    n->due = UINT64_MAX;
}

void nodes_reset(void) {
    for (unsigned i = 0; i < SIM_NODES; i++) {
        node_cut(i);
    }
}

static void life(unsigned index) {
    node_t *n = &nodes[index];
    __sanitizer_finish_switch_fiber(NULL, &world_stack, &world_stack_size);
    n->calls->main(&n->host, &n->start);
    n->ended = true;
    n->due = UINT64_MAX;
    node_leave();
}

void node_leave(void) {
    node_t *n = world.running;
    n->halted = true;
    for (;;) {
        change(n, NULL);
    }
}

void node_boot(unsigned index, const sim_start_t *start) {
    node_t *n = &nodes[index];
    n->start = *start;
    n->on = n->halted = true;
    n->begun = false;
    n->due = world.now;
    __asan_unpoison_memory_region(n->stack, STACK); // whoever ran here last has not returned
    madvise(n->stack, STACK, MADV_DONTNEED);        // zeros: a collector of garbage looks at what nobody has written
    getcontext(&n->context);
    n->context.uc_stack.ss_sp = n->stack;
    n->context.uc_stack.ss_size = STACK;
    n->context.uc_link = NULL;
    makecontext(&n->context, (void (*)(void))life, 1, index);
}

bool node_is_on(unsigned index) { return nodes[index].on; }
bool node_has_ended(unsigned index) { return nodes[index].ended; }
bool node_is_done(unsigned index) { return nodes[index].done; }
const sim_node_t *node_calls(unsigned index) { return nodes[index].calls; }

uint64_t node_due(unsigned index) {
    const node_t *n = &nodes[index];
    uint64_t due = n->on && !n->ended ? n->due : UINT64_MAX;
    return n->events > 0 && n->heap[0].t < due ? n->heap[0].t : due;
}

void node_go_on(unsigned index) {
    node_t *n = &nodes[index];
    deliver_due(n);
    if (n->on && !n->ended && n->due <= world.now && world.broken[0] == '\0') {
        n->due = UINT64_MAX;
        change(NULL, n);
    }
}
