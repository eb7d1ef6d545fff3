// SPDX-License-Identifier: MIT
// A frame on its last step to a card: what the card cannot do itself is done here (checksums, cutting of TCP), and
// IPv4 packets that are too long for the link are cut in fragments. Owns nothing. Not here: where it goes
// (packetfwd.h). Context: main loop; host tests.

#ifndef FLOE_PACKETSEND_H
#define FLOE_PACKETSEND_H

#include "packethost.h"

// Send a frame, whose headers lie in its first piece and whose cookie is a packet_ref_t. The reference is taken over;
// what cannot be sent is dropped and counted.
void packet_send(packet_base_t *b, unsigned card, netdev_frame_t *f);
// The same for one that is not to be cut in fragments, as it came from this link: no length is looked at.
void packet_send_whole(packet_base_t *b, unsigned card, netdev_frame_t *f);
// Complete a checksum that was left to the device.
void packet_send_sum(netdev_frame_t *f);
// A frame that the host took has left.
static inline void packet_send_done(packet_base_t *b, packet_ref_t *ref) { packet_base_put(b, ref); }

#endif
