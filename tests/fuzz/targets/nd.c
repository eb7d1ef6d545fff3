// SPDX-License-Identifier: MIT
// ICMPv6 from neighbours, routers and far away, with a right checksum: advertisements, solicitations, redirects,
// packets too big, multicast listeners. lwIP's nd6.c, icmp6.c, mld6.c and modules/lwip/netneigh.c

#include <string.h>

#include "net.h"

enum { MESSAGE = 300 };

void fuzz_one(void) {
    static const uint8_t types[] = {133, 134, 135, 136, 137, 2, 1, 3, 128, 130, 131, 132};
    static uint8_t message[MESSAGE + 4];
    net_start();
    rig_sleep_ms(1100); // its own address is nobody else's by now
    while (in_left() > 0) {
        size_t len;
        uint8_t how = in_u8(), which = in_u8();
        uint8_t *body = in_bytes(MESSAGE, &len);
        message[0] = which < 192 ? types[which % sizeof types] : which;
        message[1] = how & 0x80 ? in_u8() : 0;
        memcpy(message + 4, body, len);
        net_ip6(how & 7, 58, message, 4 + len);
        if (how & 8) {
            net_turn();
        }
    }
    net_turn();
}
