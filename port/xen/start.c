// SPDX-License-Identifier: MIT
// Finding Xen, mapping the page it shares with us, and the platform it is to port/hal (Xen public/xen.h, memory.h,
// hvm/hvm_op.h, hvm/params.h). Owns the shared page. Not here: what is in it (evtchn.c, timer.c).
// Context: once, first of all.

#include "../hal/internal.h"
#include "shared.h"

enum {
    XENMEM_ADD_TO_PHYSMAP = 7,
    HVMOP_SET_PARAM = 0,
    HVMOP_GET_PARAM = 1,
    HVM_PARAM_CALLBACK_IRQ = 0,
};

typedef struct {
    uint16_t domid, size;
    uint32_t space;
    uint64_t index, gpfn;
} xen_add_to_physmap_t;
_Static_assert(sizeof(xen_add_to_physmap_t) == 24, "struct xen_add_to_physmap");

typedef struct {
    uint16_t domid, pad;
    uint32_t index;
    uint64_t value;
} xen_hvm_param_t;
_Static_assert(sizeof(xen_hvm_param_t) == 16, "struct xen_hvm_param");

xen_shared_info_t *xen_shared;

bool xen_present(void) { return xen_shared != NULL; }

int64_t xen_param(unsigned index) {
    xen_hvm_param_t p = {.domid = XEN_DOMID_SELF, .index = index};
    long r = xen_hypercall(XEN_HVM_OP, HVMOP_GET_PARAM, (long)&p, 0);
    return r < 0 ? r : (int64_t)p.value;
}

int xen_physmap(unsigned space, uint64_t index, const void *page) {
    xen_add_to_physmap_t where = {
        .domid = XEN_DOMID_SELF,
        .space = space,
        .index = index,
        .gpfn = hal_physical(page) / HAL_PAGE_SIZE,
    };
    return (int)xen_hypercall(XEN_MEMORY_OP, XENMEM_ADD_TO_PHYSMAP, (long)&where, 0);
}

static hal_platform_t platform = {
    .clock = "pvclock",
    .timer = xen_timer,
    .write = xen_early_write,
    .relax = xen_relax,
    .end = xen_end,
};

// Xen's page in the place of this one. Writing the parameter, whatever to, is what makes Xen look at the processor's
// mode and lay the page out for 64 bits. The value is an interrupt that no PVH guest has; by one other than 0 the tools
// know a guest whose call to be suspended has a result.
static void map_shared(xen_shared_info_t *page) {
    xen_hvm_param_t callback = {.domid = XEN_DOMID_SELF, .index = HVM_PARAM_CALLBACK_IRQ, .value = 1};
    hal_assert(xen_hypercall(XEN_HVM_OP, HVMOP_SET_PARAM, (long)&callback, 0) == 0);
    hal_assert(xen_physmap(XEN_SPACE_SHARED_INFO, 0, page) == 0);
}

void xen_start(void) {
    if (hal_cpu_hypervisor() != HAL_HV_XEN) {
        return;
    }
    xen_shared_info_t *page = hal_mem_dma(HAL_PAGE_SIZE, HAL_PAGE_SIZE); // its frame is replaced by Xen's
    hal_assert(page != NULL);
    map_shared(page);
    xen_shared = page;
    platform.time = &page->vcpu[0].time;
    platform.wall = &page->wall;
    hal_platform = &platform;
}

static void run(void) {
    int r = xen_evtchn_listen();
    if (r == 0) {
        r = xen_timer_init();
    }
    hal_assert(r == 0);
}

void xen_run(void) {
    if (xen_present()) {
        int r = xen_evtchn_init();
        hal_assert(r == 0);
        run();
    }
}

void xen_anew(void) {
    map_shared(xen_shared);
    run();
}
