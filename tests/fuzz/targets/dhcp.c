// SPDX-License-Identifier: MIT
// A DHCP server that answers with anything, in any order, to a client that asks. lwIP's dhcp.c and
// modules/lwip/netcfg.c

#include <string.h>

#include "net.h"
#include "netcfg.h"
#include "netglue.h"

enum { BOOTP = 236, OPTIONS = 500, SERVER_PORT = 67, CLIENT_PORT = 68 };

static uint32_t xid;

static void on_frame(const sent_t *f) {
    if (f->len >= 14 + 20 + 8 + BOOTP && get16(f->data + 12) == 0x0800 && get16(f->data + 36) == SERVER_PORT) {
        xid = get32(f->data + 42 + 4);
    }
}

void fuzz_one(void) {
    static uint8_t udp[8 + BOOTP + 4 + OPTIONS];
    net_start();
    on_sent = on_frame;
    FUZZ_CHECK(netcfg_start_dhcp(&netglue_get(0)->netif));
    rig_sleep_ms(20);
    while (in_left() > 0) {
        size_t len;
        uint8_t how = in_u8();
        memset(udp, 0, sizeof udp);
        uint8_t *bootp = udp + 8;
        memcpy(bootp, "\2\1\6\0", 4);
        put32(bootp + 4, how & 1 ? in_u32() : xid);
        put32(bootp + 16, 0x0a000000 | in_u8());
        memcpy(bootp + 28, card.mac, 6);
        if (how & 2) { // sname and file may hold options, too
            size_t n;
            uint8_t *more = in_bytes(192, &n);
            memcpy(bootp + 44, more, n);
        }
        memcpy(bootp + BOOTP, "\x63\x82\x53\x63\x35\1", 6);
        bootp[BOOTP + 6] = how & 4 ? in_u8() : how & 8 ? 5 : 2; // ACK, OFFER
        uint8_t *options = in_bytes(OPTIONS - 7, &len);
        memcpy(bootp + BOOTP + 7, options, len);
        len += 8 + BOOTP + 7;
        put16(udp, SERVER_PORT);
        put16(udp + 2, CLIENT_PORT);
        put16(udp + 4, (uint32_t)len);
        net_ip4(17, udp, len);
        net_turn();
    }
    rig_sleep_ms(2000);
}
