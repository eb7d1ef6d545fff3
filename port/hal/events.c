// SPDX-License-Identifier: MIT
// The main loop's event sources and the one place where the VM sleeps. Owns the list, not its members.
// Not here: what a source does. Context: main loop; hal_event_run() does not nest.

#include "internal.h"

#define DRAIN_STEP_NS 1000000ull

static hal_event_source_t *sources;
bool hal_event_alone;
static bool running;
static bool panicking; // only the console's own sources run
static bool news;      // a source did work since hal_event_wait() last returned: its caller's condition may hold by now

void hal_event_add(hal_event_source_t *s) {
    hal_event_source_t **end = &sources;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    s->next = NULL;
    *end = s;
}

bool hal_event_run(void) {
    if (running) {
        return false;
    }
    running = true;
    bool worked = false;
    for (hal_event_source_t *s = sources; s != NULL; s = s->next) {
        worked |= (!panicking || s->console) && s->run(s->arg);
    }
    running = false;
    news |= worked;
    return worked;
}

void hal_event_panic(void) {
    panicking = true;
    running = false;
}

// In line: an image that does not fork has one of the two calls.
static inline __attribute__((always_inline)) bool arm_source(const hal_event_source_t *s, uint64_t *deadline_ns) {
    if (s->deadline != NULL) {
        uint64_t d = s->deadline(s->arg);
        *deadline_ns = d < *deadline_ns ? d : *deadline_ns;
    }
    return s->arm != NULL && s->arm(s->arg);
}

static bool arm_sources(uint64_t *deadline_ns) {
    bool work = false;
    for (hal_event_source_t *s = sources; s != NULL; s = s->next) {
        work |= arm_source(s, deadline_ns);
    }
    return work;
}

void hal_event_wait(uint64_t deadline_ns) {
    if (running) {
        return;
    }
    hal_event_run();
    if (!news) { // else the caller looks at its condition before anyone sleeps
        if (!arm_sources(&deadline_ns) && deadline_ns > hal_clock_ns()) {
            hal_irq_timer(deadline_ns);
            hal_irq_halt();
        }
        hal_event_run();
    }
    news = false;
}

// The next one of those that are served while `one` is alone; s: the first that may be it.
static hal_event_source_t *served(hal_event_source_t *s, const hal_event_source_t *one) {
    while (s != NULL && s != one && !s->basic) {
        s = s->next;
    }
    return s;
}

static bool run_alone(const hal_event_source_t *one) {
    bool worked = false;
    running = true;
    for (hal_event_source_t *s = served(sources, one); s != NULL; s = served(s->next, one)) {
        worked |= s->run(s->arg);
    }
    running = false;
    return worked;
}

void hal_event_wait_one(const hal_event_source_t *one, uint64_t deadline_ns) {
    hal_event_alone = true;
    if (!run_alone(one)) {
        bool work = false;
        for (hal_event_source_t *s = served(sources, one); s != NULL; s = served(s->next, one)) {
            work |= arm_source(s, &deadline_ns);
        }
        if (!work && deadline_ns > hal_clock_ns()) {
            hal_irq_timer(deadline_ns);
            hal_irq_halt();
        }
        run_alone(one);
    }
    hal_event_alone = false;
}

static bool any_busy(void) {
    for (hal_event_source_t *s = sources; s != NULL; s = s->next) {
        if (s->busy != NULL && s->busy(s->arg)) {
            return true;
        }
    }
    return false;
}

bool hal_event_still(void) {
    for (hal_event_source_t *s = sources; s != NULL; s = s->next) {
        if (s->still != NULL && !s->still(s->arg)) {
            return false;
        }
    }
    return true;
}

void hal_event_drain(uint64_t timeout_ns) {
    uint64_t end = hal_clock_ns() + timeout_ns;
    for (uint64_t now; (now = hal_clock_ns()) < end && any_busy();) {
        hal_event_wait(now + DRAIN_STEP_NS);
    }
}
