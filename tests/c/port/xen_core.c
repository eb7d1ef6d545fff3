// SPDX-License-Identifier: MIT
// port/xen's start.c, evtchn.c, timer.c, end.c and suspend.c over an Xen that is a switch: hypercalls are printed
// as "call NUMBER OP ARGUMENT" (its bytes in hexadecimal) and answered with what was set. Commands: answer RESULT
// [HEX] (the next hypercall: its result, and what it leaves at the start of its argument); start; run; arm; alloc
// DOM; virq N; close|unmask|notify|take PORT; wait PORT NS [ROUND] (the event comes in that round of polling); word
// INDEX [VALUE] (64-bit word of the shared page); timer NS; clock NS; tsc N; now; pv VERSION TSC SYSTEM MUL SHIFT;
// store RESULT; ring PROD CONS; write HEX; out N; end CODE [REBOOT]; suspend.

#include "talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "hal/internal.h"

static uint64_t tsc, clock_ns;
uint64_t hal_clock_cycles(void) { return tsc; }
#include "xen/start.c"

#include "xen/end.c"
#include "xen/evtchn.c"
#include "xen/suspend.c"
#include "xen/timer.c"

uintptr_t hal_ram_offset = 0x400000;
enum { ANSWERS = 16, PAGE_AT = 0x20000000, RING_PFN = 0x20001, RING_PORT = 2 };

static struct {
    long result;
    size_t len;
    unsigned char *bytes;
} answer[ANSWERS];
static unsigned answers, answered;
static unsigned polls, event_round;
static xen_port_t event_port;
static int store_result;
static jmp_buf ended;
const hal_platform_t *hal_platform;
bool xen_control_reboot; // control.c's

static size_t argument_size(unsigned number, long op) {
    if (number == XEN_MEMORY_OP) {
        return sizeof(xen_add_to_physmap_t);
    }
    if (number == XEN_HVM_OP) {
        return op == HVMOP_SET_EVTCHN_UPCALL_VECTOR ? 5 : sizeof(xen_hvm_param_t);
    }
    if (number == XEN_EVENT_CHANNEL_OP) {
        return op == EVTCHNOP_BIND_VIRQ ? 12 : op == EVTCHNOP_ALLOC_UNBOUND ? 8 : 4;
    }
    return number == XEN_SCHED_OP ? (op == SCHEDOP_POLL ? sizeof(xen_sched_poll_t) : 4) : 0;
}

long xen_hypercall(unsigned number, long a, long b, long c) {
    unsigned char *argument = (unsigned char *)(number == XEN_VCPU_OP ? c : b);
    size_t size = number == XEN_VCPU_OP && argument != NULL ? 12 : argument_size(number, a);
    if (number == XEN_HVM_OP && a == HVMOP_GET_PARAM) { // asked often: not printed
        xen_hvm_param_t *p = (xen_hvm_param_t *)b;
        p->value = p->index == XEN_PARAM_CONSOLE_PFN ? RING_PFN : RING_PORT;
        return 0;
    }
    printf("call %u %ld ", number, a);
    talk_print_bytes(argument, number == XEN_SCHED_OP && a == SCHEDOP_POLL ? 0 : size);
    if (number == XEN_SCHED_OP && a == SCHEDOP_POLL) {
        xen_sched_poll_t *p = (xen_sched_poll_t *)b;
        printf("poll %u %u %llu\n", p->nr_ports, p->ports[0], (unsigned long long)p->timeout);
        if (++polls == event_round) {
            xen_shared->evtchn_pending[event_port / 64] |= BIT64(event_port % 64);
        } else if (event_round == 0 || polls > event_round) {
            tsc += 1000000; // the time is over
        }
    }
    if (number == XEN_SCHED_OP && a == SCHEDOP_SHUTDOWN && *(uint32_t *)b != SHUTDOWN_SUSPEND) {
        longjmp(ended, 1);
    }
    if (answered == answers) {
        return 0;
    }
    if (answer[answered].len > 0) {
        memcpy(argument, answer[answered].bytes, answer[answered].len);
    }
    return answer[answered++].result;
}

hal_hv_t hal_cpu_hypervisor(void) { return HAL_HV_XEN; }
uint64_t hal_clock_ns(void) { return clock_ns; }
void *hal_mem_dma(size_t bytes, size_t align) {
    (void)bytes, (void)align;
    return (void *)PAGE_AT;
}
int hal_irq_msi(uint64_t *addr, uint32_t *data) {
    *addr = 0;
    *data = 0x47;
    return 7;
}

void hal_console_flush(uint64_t timeout_ns) { printf("flush %llu\n", (unsigned long long)timeout_ns); }
void hal_suspend_tell(hal_suspend_t what) { printf("tell %d prod %u\n", what, xen_console_prod); }
void hal_clock_stop(void) { printf("stop\n"); }
void hal_clock_go(void) { printf("go\n"); }
void hal_entropy_init(void) { printf("entropy\n"); }
void xen_store_anew(void) { printf("store\n"); }

static hal_event_source_t *source;
void hal_event_add(hal_event_source_t *s) { source = s; }

TALK_PANIC(longjmp(ended, 2))

int xen_store_printf(xen_tx_t tx, const char *path, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    printf("store %u %s ", tx, path);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    hal_assert(store_result != 1); // the client itself panics
    return store_result;
}

int xen_blob_size(const char *name) { return name == NULL; }
int xen_blob_read(const char *name, void *out, size_t len) { return name == NULL && out == NULL && len; }
int xen_blob_next(const char *prefix, size_t *pos, char *out, size_t size) {
    return prefix == NULL && pos && out && size;
}
bool xen_blob_uuid(uint8_t out[16]) { return out == NULL; }

static void with_port(const talk_t *t, void (*verb)(xen_port_t)) { verb((xen_port_t)talk_number(t, 1)); }

static void event_command(const talk_t *t) {
    xen_port_t port = 0;
    if (talk_is(t, "alloc")) {
        int r = xen_evtchn_alloc((uint16_t)talk_number(t, 1), &port);
        printf("%d %u\n", r, port);
    } else if (talk_is(t, "virq")) {
        int r = xen_evtchn_virq((unsigned)talk_number(t, 1), &port);
        printf("%d %u\n", r, port);
    } else if (talk_is(t, "close")) {
        with_port(t, xen_evtchn_close);
    } else if (talk_is(t, "unmask")) {
        with_port(t, xen_evtchn_unmask);
    } else if (talk_is(t, "notify")) {
        with_port(t, xen_evtchn_notify);
    } else if (talk_is(t, "take")) {
        printf("%d\n", xen_evtchn_take((xen_port_t)talk_number(t, 1)));
    } else if (talk_is(t, "wait")) {
        event_port = (xen_port_t)talk_number(t, 1);
        event_round = (unsigned)talk_number(t, 3);
        polls = 0;
        printf("%d\n", xen_evtchn_wait(event_port, talk_number(t, 2)));
    }
}

static void ring_command(const talk_t *t) {
    xencons_ring_t *ring = (xencons_ring_t *)((uintptr_t)RING_PFN * HAL_PAGE_SIZE);
    if (talk_is(t, "ring")) {
        ring->out_prod = (uint32_t)talk_number(t, 1);
        ring->out_cons = (uint32_t)talk_number(t, 2);
    } else if (talk_is(t, "write")) {
        size_t len;
        unsigned char *p = talk_bytes(t, 1, &len);
        xen_early_write((const char *)p, len);
        free(p);
        printf("%u\n", ring->out_prod);
    } else if (talk_is(t, "out")) {
        for (uint64_t n = talk_number(t, 1); n > 0; n--) {
            printf("%02x", (unsigned char)ring->out[ring->out_cons++ % XENCONS_OUT]);
        }
        printf("\n");
    }
}

static void seed(void) { printf("SEED\n"); }

static void guarded(const talk_t *t) {
    if (talk_is(t, "start")) {
        xen_start();
        printf("%d\n", hal_platform != NULL && xen_present());
    } else if (talk_is(t, "run")) {
        xen_run();
    } else if (talk_is(t, "suspend")) {
        printf("%d\n", xen_suspend(seed));
    } else if (talk_is(t, "end")) {
        xen_control_reboot = talk_number(t, 2) != 0;
        xen_end((int)talk_number(t, 1));
    } else {
        event_command(t);
        ring_command(t);
    }
}

static void command(const talk_t *t) {
    uint64_t *page = (uint64_t *)PAGE_AT;
    if (talk_is(t, "answer")) {
        answer[answers].result = (long)talk_number(t, 1);
        answer[answers].bytes = talk_bytes(t, 2, &answer[answers].len);
        answers++;
    } else if (talk_is(t, "arm")) {
        printf("%d\n", source->arm(source->arg));
    } else if (talk_is(t, "word")) {
        if (t->n > 2) {
            page[talk_number(t, 1)] = talk_number(t, 2);
        }
        printf("%llu\n", (unsigned long long)page[talk_number(t, 1)]);
    } else if (talk_is(t, "timer")) {
        xen_timer(talk_number(t, 1));
    } else if (talk_is(t, "clock")) {
        clock_ns = talk_number(t, 1);
    } else if (talk_is(t, "tsc")) {
        tsc = talk_number(t, 1);
    } else if (talk_is(t, "now")) {
        printf("%llu\n", (unsigned long long)xen_time_ns());
    } else if (talk_is(t, "pv")) {
        monitor_pvclock_t *pv = &((xen_shared_info_t *)page)->vcpu[0].time;
        pv->version = (uint32_t)talk_number(t, 1);
        pv->tsc_timestamp = talk_number(t, 2);
        pv->system_time = talk_number(t, 3);
        pv->tsc_to_system_mul = (uint32_t)talk_number(t, 4);
        pv->tsc_shift = (int8_t)talk_number(t, 5);
    } else if (talk_is(t, "store")) {
        store_result = (int)talk_number(t, 1);
    } else if (setjmp(ended) == 0) {
        guarded(t);
    }
}

int main(void) {
    void *want = (void *)PAGE_AT;
    if (mmap(want, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != want) {
        perror("mmap");
        return 1;
    }
    return talk(command);
}
