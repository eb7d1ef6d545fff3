// SPDX-License-Identifier: MIT
// One lwIP interface per network device: netglue.c joins the two and receives, nettx.c sends. Owns what is
// in flight between them. Not here: when it runs (netstack.c), addresses (netcfg.c). Context: main loop.

#ifndef FLOE_NETGLUE_H
#define FLOE_NETGLUE_H

#include <stdbool.h>
#include <stdint.h>

#include "lwip/netif.h"
#include "netdev.h"

enum { NETTX_QUEUE = 512 };          // frames that wait for room in the device's ring; a power of two
#define NETGLUE_STUCK_NS 20000000ull // cards that send nothing for so long hold up no other one

typedef struct {
    struct pbuf *queue[NETTX_QUEUE]; // each holds one reference
    uint16_t head, count;
    uint16_t in_flight; // frames the device has
    bool refused;       // lwIP was told ERR_MEM and waits for tcp_txnow()
} nettx_t;

typedef struct netglue {
    struct netif netif; // netif.state points back here
    netdev_t *dev;
    uint16_t rx_held, rx_held_max;              // frames lwIP and sockets have, and may have
    uint16_t rx_kept;                           // receive buffers that whoever intercepts frames has
    uint64_t rx_full_since;                     // it has as many as it may; 0: it has not
    bool rx_full;                               // so that none is taken, for a while
    uint16_t gen_flags;                         // the NETIF_CHECKSUM_GEN_* part of netif.chksum_flags
    bool kick;                                  // something was provided or returned since the last kick
    bool dhcp_missed;                           // nobody has answered for seconds, and that was said
    uint8_t draws;                              // automatic IPv6 addresses that were another's
    uint32_t told[LWIP_IPV6_NUM_ADDRESSES + 1]; // netneigh.c: the last word of addresses that others claim, too
    nettx_t tx;
} netglue_t;

// Attach every registered device, in order; names them en0, en1, ... Once, after lwip_init().
void netglue_init(void);
// One more, which is registered with this, while there are less than NETDEV_MAX. It is down, and without addresses.
netglue_t *netglue_attach(netdev_t *dev);
unsigned netglue_count(void);
netglue_t *netglue_get(unsigned index); // NULL past the last; they lie one behind the other

// Take and deliver up to budget frames. True: there may be more.
bool netglue_rx(netglue_t *g, unsigned budget);
// Look at the carrier. True when it changed.
bool netglue_check_link(netglue_t *g);
// A received pbuf that will be kept for a while: gives up the driver's buffer for a copy when the packet is
// small or the driver runs short. Takes p, returns what to keep instead.
struct pbuf *netglue_keep(struct pbuf *p);

// Who looks at received frames before lwIP does, and sends them on without it (modules/packet): NULL where nobody is
// linked that does. PASSED: lwIP gets the frame; DROPPED: its buffer is returned; KEPT: the other has it, and returns
// it later, with netglue_give_back().
typedef enum { NETGLUE_PASSED, NETGLUE_DROPPED, NETGLUE_KEPT } netglue_fate_t;
extern netglue_fate_t (*netglue_intercept)(netglue_t *g, netdev_frame_t *f, uint64_t now_ns);
// Where whoever sends frames on puts itself: netglue_intercept, or behind whoever listens before it (modules/link).
extern netglue_fate_t (**netglue_forwarder)(netglue_t *g, netdev_frame_t *f, uint64_t now_ns);
// A frame of this card in so many pieces is kept; they are its driver's receive buffers. False: too many would be. No
// more frames are taken from a card just before that, for so long as those that are on their way leave.
bool netglue_keep_frame(netglue_t *g, unsigned pieces);
void netglue_give_back(netglue_t *g, void *cookie, unsigned pieces);

// lwIP's linkoutput: queue a frame. ERR_MEM: the queue is full, the caller keeps p.
err_t nettx_push(struct netif *netif, struct pbuf *p);
// Hand queued frames to the device, joining TCP segments where it cuts them itself.
void nettx_flush(netglue_t *g);
// Take back what has left.
void nettx_reclaim(netglue_t *g);
// Send a frame past lwIP, in front of what it has queued. Its cookie has NETTX_FORWARDED set and bit 0 clear, and goes
// to nettx_forwarded once the frame has left. 0, or -errno of tx_provide: not taken.
enum { NETTX_FORWARDED = 2 }; // bit of a cookie that is not lwIP's
int nettx_forward(netglue_t *g, const netdev_frame_t *f);
extern void (*nettx_forwarded)(void *cookie);
// Who hears of each frame that lwIP queues; NULL: nobody.
extern void (*nettx_heard)(netglue_t *g, const struct pbuf *p);

// The MAC address that the frame which lwIP works on came from;
// NULL: it works on none, or on one of this machine's own.
extern const uint8_t *netglue_sender;

#endif
