// SPDX-License-Identifier: MIT
// port/hal/events.c with sources that follow a script and a clock that stands still. Commands: add; set SOURCE
// WHAT VALUE; clock NS; run; wait DEADLINE; one SOURCE DEADLINE. What happens is printed in order.

#include "talk.h"

#include "hal/events.c"

enum { SOURCES_MAX = 4 };

typedef struct {
    hal_event_source_t source;
    int index, runs_left, arms_left, nest; // runs_left: how often run still finds work
    uint64_t deadline;
} scripted_t;

static scripted_t scripted[SOURCES_MAX];
static int count;
static uint64_t now;

uint64_t hal_clock_ns(void) { return now; }

void hal_irq_timer(uint64_t deadline_ns) { printf("timer %llu\n", (unsigned long long)deadline_ns); }

void hal_irq_halt(void) { printf("halt\n"); }

static bool run(void *arg) {
    scripted_t *s = arg;
    printf("run %d\n", s->index);
    if (s->nest == 1) {
        printf("nested %d\n", hal_event_run());
    } else if (s->nest == 2) {
        hal_event_wait(UINT64_MAX);
        printf("nested wait\n");
    } else if (s->nest == 3) {
        printf("alone %d\n", hal_event_alone);
    }
    return s->runs_left > 0 && s->runs_left-- > 0;
}

static bool arm(void *arg) {
    scripted_t *s = arg;
    printf("arm %d\n", s->index);
    return s->arms_left > 0 && s->arms_left-- > 0;
}

static uint64_t deadline(void *arg) { return ((scripted_t *)arg)->deadline; }

static void set(scripted_t *s, const char *what, uint64_t v) {
    if (strcmp(what, "runs") == 0) {
        s->runs_left = (int)v;
    } else if (strcmp(what, "arms") == 0) {
        s->arms_left = (int)v;
        s->source.arm = arm;
    } else if (strcmp(what, "deadline") == 0) {
        s->deadline = v;
        s->source.deadline = deadline;
    } else if (strcmp(what, "nest") == 0) {
        s->nest = (int)v;
    } else if (strcmp(what, "basic") == 0) {
        s->source.basic = v != 0;
    }
}

static void command(const talk_t *t) {
    if (talk_is(t, "add")) {
        scripted_t *s = &scripted[count];
        s->index = count++;
        s->source.run = run;
        s->source.arg = s;
        hal_event_add(&s->source);
    } else if (talk_is(t, "set")) {
        set(&scripted[talk_number(t, 1)], t->word[2], talk_number(t, 3));
    } else if (talk_is(t, "clock")) {
        now = talk_number(t, 1);
    } else if (talk_is(t, "run")) {
        printf("worked %d\n", hal_event_run());
    } else if (talk_is(t, "one")) {
        hal_event_wait_one(&scripted[talk_number(t, 1)].source, talk_number(t, 2));
    } else if (talk_is(t, "wait")) {
        hal_event_wait(talk_number(t, 1));
    }
}

int main(void) { return talk(command); }
