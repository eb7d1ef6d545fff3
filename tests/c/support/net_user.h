// SPDX-License-Identifier: MIT
// What a test does with a network card, whatever driver it has: netdev.h's verbs by commands (netuser.py).

#ifndef NET_USER_H
#define NET_USER_H

#include "netdev.h"

// N is the card's number; "none" is the answer where there is no such card.
// nic N ("mac mtu features dead"); link N; stats N; arm N; kick N;
// rx N ("0 COOKIE csum_good segments bytes", or -errno); rxret N COOKIE;
// tx N COOKIE CSUM GSO GSO_SIZE HDR_LEN CSUM_START CSUM_OFFSET LEN...; txret N (the cookie, or 0).
// False: none of them.
bool net_user_command(char **word, unsigned words);

#endif
