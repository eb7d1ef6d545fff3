// SPDX-License-Identifier: MIT
// Frames of any kind, up to what a socket reads. Half of them get right checksums, or few would come far. lwIP and
// modules/lwip

#include "net.h"

void fuzz_one(void) {
    net_start();
    while (in_left() > 0) {
        size_t len;
        uint8_t how = in_u8();
        uint8_t *frame = in_bytes(1600, &len);
        if ((how & 1) == 0) {
            net_right_sums(frame, len);
        }
        net_frame(frame, len);
        net_turn();
    }
}
