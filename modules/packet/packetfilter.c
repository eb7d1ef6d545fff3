// SPDX-License-Identifier: MIT
// The order in which rules and flows are asked: flow, prerouting, destination; then input, or forward, postrouting and
// source. A flow is made when all have agreed, so that what is dropped leaves no trace. Owns nothing.
// Context: main loop; host tests.

#include "packetfilter.h"

#include <string.h>

#include "packetnat.h"
#include "packetparse.h"

enum { ND_FIRST = 133, ND_LAST = 137, MLD_FIRST = 130, MLD_LAST = 132, MLD2 = 143, ND_HOPS = 255 };

static packet_step_t run(packet_rules_t *r, packet_pass_t *s, packet_t *p, unsigned hook, packet_verdict_t *v) {
    if ((s->flows != NULL && s->look.follows) || !packet_rules_has(r, hook)) {
        return PACKET_GOES; // a later fragment goes the way of its first one
    }
    packet_rules_run(r, hook, &p->key, s->now_ns, v);
    p->key.mark = v->mark;
    s->reject = v->reject;
    return v->kind == PACKET_DROP ? PACKET_STOPS : v->kind == PACKET_REJECT ? PACKET_REFUSED : PACKET_GOES;
}

// Ask the rules in use at a hook. PACKET_GOES also where there are none.
static inline packet_step_t ask(packet_pass_t *s, packet_t *p, unsigned hook, packet_verdict_t *v) {
    packet_rules_t *r = packet_rules_in_use();
    *v = (packet_verdict_t){.kind = PACKET_ACCEPT, .mark = p->key.mark};
    return r == NULL ? PACKET_GOES : run(r, s, p, hook, v);
}

static bool begins(const packet_pass_t *s) {
    return s->flows != NULL && s->look.flow == NULL && s->look.state == PACKET_NEW;
}

static packet_step_t note(packet_pass_t *s, const packet_t *p) {
    if (s->flows == NULL) {
        return PACKET_GOES;
    }
    if (packet_flow_commit(s->flows, p, &s->look) != 0) {
        return PACKET_NO_FLOW;
    }
    if (s->look.flow != NULL) {
        s->look.flow->mark = p->key.mark;
    }
    s->noted = s->look.flow != NULL && !s->look.passing;
    return PACKET_GOES;
}

static void look(packet_pass_t *s, packet_t *p) {
    p->key.state = PACKET_UNTRACKED;
    if (s->flows != NULL) {
        packet_flow_look(s->flows, p, s->now_ns, &s->look);
        p->key.mark = s->look.flow != NULL ? s->look.flow->mark : 0;
    }
}

packet_step_t packet_filter_came(packet_pass_t *s, packet_t *p) {
    packet_verdict_t v;
    look(s, p);
    if (s->look.lost) {
        return PACKET_STOPS;
    }
    packet_step_t step = ask(s, p, PACKET_PREROUTING, &v);
    if (step != PACKET_GOES || s->flows == NULL) {
        return step;
    }
    if (s->look.early && s->may_wait && packet_rules_in_use() != NULL) {
        return PACKET_EARLY;
    }
    if (v.kind == PACKET_DNAT && begins(s)) {
        packet_nat_t to = {.first = v.port, .last = v.port};
        memcpy(to.address, v.addr, sizeof to.address);
        if (packet_nat_dst(s->flows, &s->look, &to) != 0) {
            return PACKET_NO_FLOW;
        }
        s->to_another = true;
    }
    packet_nat_translate(p, &s->look, PACKET_NAT_DST);
    return PACKET_GOES;
}

// What neighbours say to each other (RFC 4861, RFC 2710, RFC 3810): without it there is no link. Nobody beyond it can
// have sent it, as its hop limit says.
static bool of_the_link(const packet_key_t *k) {
    bool nd = k->icmp_type >= ND_FIRST && k->icmp_type <= ND_LAST && k->ttl == ND_HOPS;
    bool mld = ((k->icmp_type >= MLD_FIRST && k->icmp_type <= MLD_LAST) || k->icmp_type == MLD2) && k->ttl == 1;
    return k->family == 6 && k->proto == PACKET_ICMP6 && (nd || mld);
}

packet_step_t packet_filter_input(packet_pass_t *s, packet_t *p) {
    packet_verdict_t v;
    packet_step_t step = of_the_link(&p->key) ? PACKET_GOES : ask(s, p, PACKET_INPUT, &v);
    if (step == PACKET_GOES && s->to_another) {
        step = packet_nat_src(s->flows, &s->look, NULL) == 0 ? PACKET_GOES : PACKET_NO_FLOW;
    }
    return step == PACKET_GOES ? note(s, p) : step;
}

packet_step_t packet_filter_group(packet_pass_t *s, packet_t *p) {
    packet_verdict_t v;
    look(s, p);
    return of_the_link(&p->key) ? PACKET_GOES : ask(s, p, PACKET_INPUT, &v);
}

packet_step_t packet_filter_forward(packet_pass_t *s, packet_t *p) {
    packet_verdict_t v;
    return ask(s, p, PACKET_FORWARD, &v);
}

packet_step_t packet_filter_leaves(packet_pass_t *s, packet_t *p, const uint8_t *ip4) {
    packet_verdict_t v;
    packet_step_t step = ask(s, p, PACKET_POSTROUTING, &v);
    if (step != PACKET_GOES || s->flows == NULL) {
        return step;
    }
    bool changes = v.kind == PACKET_SNAT || v.kind == PACKET_MASQUERADE;
    if (begins(s) && (changes || s->to_another)) {
        packet_nat_t to = {.first = v.port, .last = v.port};
        memcpy(to.address, v.kind == PACKET_SNAT ? v.addr : ip4, sizeof to.address);
        bool nobody = (to.address[0] | to.address[1] | to.address[2] | to.address[3]) == 0; // the card has no address
        if ((changes && nobody) || packet_nat_src(s->flows, &s->look, changes ? &to : NULL) != 0) {
            return PACKET_NO_FLOW;
        }
    }
    step = note(s, p);
    if (step == PACKET_GOES) {
        packet_nat_translate(p, &s->look, PACKET_NAT_SRC);
    }
    return step;
}

void packet_filter_undo(const packet_pass_t *s, packet_t *p) {
    if (s->flows != NULL) {
        packet_nat_restore(p, &s->look);
    }
}

void packet_filter_sent(packet_pass_t *s, packet_t *p) {
    look(s, p);
    (void)note(s, p); // without room it goes all the same, and its answer is a new flow
}
