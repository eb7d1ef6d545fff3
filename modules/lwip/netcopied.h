// SPDX-License-Identifier: MIT
// The network of a VM that has become a copy of another one. Owns nothing. Context: main loop.

#ifndef FLOE_NETCOPIED_H
#define FLOE_NETCOPIED_H

#include "hal.h"

// Be another machine: connections are the other one's and end here without a packet, what neighbours and name servers
// have said is asked again, cards have the addresses that the identity gives. Sockets that listen go on.
void netcopied_became(const hal_identity_t *id);

#endif
