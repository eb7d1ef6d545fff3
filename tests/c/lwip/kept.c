// SPDX-License-Identifier: MIT
// A check: whoever intercepts frames keeps as many as it may, and the rest stays in the card until some have left.
// Not here: the machine (rig.c). Context: one thread on the host.

#include <assert.h>

#include "netglue.h"
#include "rig.h"

enum { RX_PIECES = 48, MANY = 60, MOST = 17 }; // three quarters, less one frame in as many pieces as can be

static void *kept[MANY];
static unsigned kept_count, refused;

static netglue_fate_t keep(netglue_t *g, netdev_frame_t *f, uint64_t now_ns) {
    assert(now_ns > 0);
    if (!netglue_keep_frame(g, f->nsegs)) {
        refused++;
        return NETGLUE_DROPPED;
    }
    kept[kept_count++] = f->cookie;
    return NETGLUE_KEPT;
}

static void give_back(unsigned n) {
    while (n-- > 0) {
        netglue_give_back(netglue_get(0), kept[--kept_count], 1);
    }
}

void kept_frames(void) {
    uint8_t frame[60] = {0};
    rig_start(64 << 20, 0);
    card.rx_pieces = RX_PIECES;
    netglue_intercept = keep;
    for (unsigned i = 0; i < MANY; i++) {
        rig_receive(frame, sizeof frame, false, 1);
    }
    rig_run();
    rig_run();
    assert(kept_count == MOST && refused == 0 && rx_lent == MOST);
    rig_sleep_ms(1);
    assert(kept_count == MOST && card.tx_wanted); // asleep, until frames leave
    give_back(5);
    rig_run();
    assert(kept_count == MOST && refused == 0);
    rig_sleep_ms(1);
    give_back(MOST);
    rig_run();
    rig_sleep_ms(1);
    assert(kept_count == MOST && refused == 0);
    rig_sleep_ms(100); // nothing leaves any more: this machine itself hears all that is said to it
    rig_run();
    assert(refused > 0 && rx_lent == kept_count);
    give_back(kept_count);
    rig_receive(frame, sizeof frame, false, 1);
    rig_run();
    rig_sleep_ms(1);
    assert(kept_count == 1 && !card.tx_wanted);
    give_back(1);
    netglue_intercept = NULL;
}
