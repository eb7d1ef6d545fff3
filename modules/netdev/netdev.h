// SPDX-License-Identifier: MIT
// Frames in, frames out: the contract between a network driver and a protocol stack. Neither knows the
// other. Nothing from here upward may know which hypervisor it runs on.
//
// A driver fills in netdev_ops_t and calls netdev_register(); a stack enumerates with netdev_get() and
// calls the verbs. Four verbs in fixed order: rx_take, rx_return, tx_provide, tx_return; each moves the
// ownership of buffers between the two sides and says so. Context: main loop only; no verb ever waits.
// Errors: -EAGAIN not now, nothing changed; -EIO the device is dead (it lied or vanished), for good.

#ifndef FLOE_NETDEV_H
#define FLOE_NETDEV_H

#include <stdbool.h>
#include <stdint.h>

enum { NETDEV_MAX = 8, NETDEV_MAC_LEN = 6, NETDEV_MAX_SEGS = 20 };

// What a device can do for us (bit masks).
enum {
    NETDEV_F_TX_CSUM = 1u << 0, // fills in a checksum at csum_start + csum_offset
    NETDEV_F_TX_TSO4 = 1u << 1, // cuts TCP over IPv4 into gso_size pieces
    NETDEV_F_TX_TSO6 = 1u << 2,
    NETDEV_F_RX_CSUM = 1u << 3, // says per frame whether the checksum is known good
};

typedef enum { NETDEV_GSO_NONE, NETDEV_GSO_TCP4, NETDEV_GSO_TCP6 } netdev_gso_t;

typedef struct {
    void *base; // first byte
    uint32_t len;
} netdev_seg_t;

// One Ethernet frame (from destination MAC to end of payload, no FCS) in up to NETDEV_MAX_SEGS pieces.
typedef struct {
    netdev_seg_t seg[NETDEV_MAX_SEGS];
    uint16_t nsegs;
    uint16_t csum_start; // byte offset where summing starts; used when csum_needed; rx: 0 where only the stack can tell
    uint16_t csum_offset; // where the sum goes, counted from csum_start
    uint16_t gso_size;    // payload bytes per piece; 0 with NETDEV_GSO_NONE
    uint16_t hdr_len;     // tx: bytes of all headers, for gso; rx: 0
    uint8_t gso;          // netdev_gso_t; rx: what the host says, which the frame need not bear out
    bool csum_needed;     // the pseudo-header sum is in place; tx: the device completes it; rx: nobody has, yet
    bool csum_good;       // rx: the device (or the host that made the frame) vouches for the checksum
    uint16_t headroom; // bytes in front of the first piece: rx: that are the frame's, too; tx: the driver's to change
    void *cookie;      // tx: the stack's, handed back by tx_return; rx: the driver's, untouched by the stack
} netdev_frame_t;

typedef struct netdev netdev_t;

typedef struct {
    // Take the next received frame. 0: the stack owns the frame's buffers until rx_return; it may
    // read and change the bytes. -EAGAIN: none.
    int (*rx_take)(netdev_t *n, netdev_frame_t *out);
    // Give the buffers of one taken frame back; identified by its cookie. Any order.
    void (*rx_return)(netdev_t *n, void *cookie);
    // Queue a frame. 0: the device owns the segments until tx_return yields its cookie. -EAGAIN: queue
    // full. -EMSGSIZE: no such frame can be sent. Only ring memory is written: the device is told by kick.
    int (*tx_provide)(netdev_t *n, const netdev_frame_t *f);
    // Cookie of a frame that has left, NULL when none. Order is the device's.
    void *(*tx_return)(netdev_t *n);
    // Tell the device about everything provided and returned since the last kick (at most one exit per queue).
    void (*kick)(netdev_t *n);
    // About to sleep: arm interrupts. True: there is already work, do not sleep.
    bool (*arm)(netdev_t *n);
    // Carrier, from the device's status.
    bool (*link_up)(netdev_t *n);
} netdev_ops_t;

typedef struct {
    uint64_t rx_frames, rx_bytes, rx_dropped;
    uint64_t tx_frames, tx_bytes, tx_full;
    uint64_t kicks;
} netdev_stats_t;

struct netdev {
    const netdev_ops_t *ops;
    const char *driver; // "virtio-net", "xen-netfront"
    uint8_t mac[NETDEV_MAC_LEN];
    uint16_t mtu;
    uint16_t rx_buffers; // the stack holds at most half so many frames; 0: not told
    uint16_t rx_pieces;  // receive buffers in all, each a segment of a frame; 0: not told
    uint32_t features;   // NETDEV_F_*
    bool dead;
    bool rx_paused; // the stack's: arm does not look at what was received, which is not taken now
    bool tx_wanted; // the stack's: arm has frames interrupt that leave
    netdev_stats_t stats;
    void *stack; // the stack's own, NULL at registration
};

// The struct stays the driver's and lives as long as the VM. 0, or -ENOSPC past NETDEV_MAX.
int netdev_register(netdev_t *n);
// What to say in rx_buffers, where there are so many buffers and the largest frame takes `each` of them: so much that a
// quarter of the buffers, and at the least one such frame's, is left to everybody else. Never 0.
uint16_t netdev_rx_share(uint32_t buffers, uint32_t each);
netdev_t *netdev_get(unsigned index); // in order of registration; NULL past the last

#endif
