// SPDX-License-Identifier: MIT
// A check: a VLAN's card over the rig's, and who gets what.
// Not here: the machine (rig.c). Context: one thread on the host.

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lwip/def.h"
#include "modules/packet/packetover.h"
#include "modules/packet/packetvlan.h"
#include "netcfg.h"
#include "netglue.h"
#include "rig.h"
#include "sock.h"

enum { TAG = 7, VLAN_PEER = 0x0a070001, VLAN_OURS = 0x0a070002, ARP = 0x0806 };

static sent_t last;
static unsigned sent;

static void note(const sent_t *f) {
    last = *f;
    sent++;
}

static netglue_fate_t receive(netglue_t *g, netdev_frame_t *f, uint64_t now_ns) {
    (void)now_ns;
    return packet_vlan_receive(g, f);
}

// An ARP request for our address of the VLAN's network, with this tag; -1: without.
static void request(int tag, unsigned nsegs) {
    uint8_t plain[64], frame[64];
    uint32_t len = make_arp(plain, 1, VLAN_PEER);
    put32(plain + 38, VLAN_OURS);
    unsigned more = tag >= 0 ? 4 : 0;
    memcpy(frame, plain, 12);
    put16(frame + 12, 0x8100);
    put16(frame + 14, (uint16_t)tag);
    memcpy(frame + 12 + more, plain + 12, len - 12);
    sent = 0;
    rig_receive(frame, len + more, false, nsegs);
    rig_sleep_ms(1);
}

void vlan(void) {
    rig_start(64 << 20, 0);
    assert(packet_vlan_add(1, TAG) == -ENODEV && packet_vlan_add(0, 0) == -EINVAL &&
           packet_vlan_add(0, 4095) == -EINVAL);
    assert(packet_vlan_add(0, TAG) == 1 && packet_vlan_add(0, TAG) == -EEXIST);
    assert(packet_vlan_tag(0) == 0 && packet_vlan_tag(1) == TAG && netglue_count() == 2);
    netglue_intercept = receive;
    nettx_forwarded = packet_over_sent;
    on_sent = note;
    ip4_addr_t ip = {lwip_htonl(VLAN_OURS)}, mask = {lwip_htonl(0xffffff00)}, none = {0};
    netif_set_addr(&netglue_get(1)->netif, &ip, &mask, &none);
    rig_sleep_ms(3000); // what a card says of its addresses when it comes up
    for (unsigned nsegs = 1; nsegs < 3; nsegs++) {
        request(TAG, nsegs);
        assert(sent == 1 && get16(last.data + 12) == 0x8100 && get16(last.data + 14) == TAG);
        assert(get16(last.data + 16) == ARP && get16(last.data + 24) == 2 && get32(last.data + 32) == VLAN_OURS);
        request(0x6000 | TAG, nsegs); // with a priority
        assert(sent == 1 && get16(last.data + 14) == TAG);
    }
    request(TAG + 1, 1);
    assert(sent == 0);
    request(0, 1); // VLAN 0 is the card itself, as is no tag: not that address
    assert(sent == 0);
    request(-1, 1);
    assert(sent == 0);
    rig_receive((const uint8_t *)"\x02\0\0\0\0\2\x02\0\0\0\0\1\x81\0\0\7", 16, false, 1);
    rig_sleep_ms(1);
    assert(sent == 0 && rx_lent == 0);
    static char data[1400];
    sock_t *u = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    sock_addr_t to = {IPADDR4_INIT(lwip_htonl(VLAN_PEER)), 9};
    assert(sock_send(u, data, sizeof data, &to) == (int)sizeof data);
    rig_sleep_ms(1);
    assert(last.len == 18 + 28 + sizeof data && get16(last.data + 14) == TAG && get16(last.data + 16) == 0x0800);
    card.dead = true;
    sock_send(u, data, sizeof data, &to);
    rig_sleep_ms(10);
    card.dead = false;
    sock_close(u);
    netglue_intercept = NULL;
}
