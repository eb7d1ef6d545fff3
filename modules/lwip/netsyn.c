// SPDX-License-Identifier: MIT
// What becomes of a SYN: a new connection from a pair in TIME_WAIT (RFC 6191), and SYN cookies (RFC 4987, 3.6) while a
// listener has many connections waiting. A cookie is the whole state of a half-open connection in the 32 bits of our
// sequence number: 24 of a keyed hash, 8 of what the SYN's options said. No timestamps are needed to keep them.
// Owns the cookies' key. Not here: which connection gives way when all are in use (netmem.c). Context: inside lwIP.

#include <string.h>

#include "hal.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "netglue.h"
#include "nethooks.h"
#include "netif/ethernet.h"
#include "netmem.h"
#include "netrand.h"

enum {
    COOKIES_FROM = 16, // connections of one listener that wait, half-open or to be accepted; then SYNs in WINDOW_MS
    WINDOW_MS = 1000,
    AGE_SHIFT = 35, // a cookie's time counts in steps of 34 s; it is good in its own and in the next one
    SACK_BIT = 8,   // options: 3 bits an index of mss_steps, one of SACK, 4 the window scale
    SCALE_SHIFT = 4,
    NO_SCALE = 15,
    OPTIONS_MASK = 0xff,
    OPTIONS_MAX = 12, // bytes of ours
};

static const uint16_t mss_steps[8] = {88, 536, 1000, 1220, 1360, 1400, 1440, 1460};
static uint64_t key[2];
static uint32_t last_age; // of the last cookie given out; 0: none yet

static uint32_t age_now(void) { return (uint32_t)(hal_clock_ns() >> AGE_SHIFT) + 1; }

static uint32_t cookie(const struct tcp_hdr *hdr, uint32_t isn, uint32_t age, uint8_t options) {
    uint32_t in[12] = {(uint32_t)hdr->src << 16 | hdr->dest, isn, age, options};
    size_t n = IP_IS_V6(ip_current_src_addr()) ? 16 : 4;
    memcpy(in + 4, &ip_current_src_addr()->u_addr, n);
    memcpy((uint8_t *)(in + 4) + n, &ip_current_dest_addr()->u_addr, n);
    return ((uint32_t)netrand_siphash(key, in, 16 + 2 * n) & ~(uint32_t)OPTIONS_MASK) | options;
}

// What a SYN's options say, as a cookie carries it (RFC 9293, 3.2; RFC 7323, 2.2; RFC 2018, 2).
static uint8_t read_options(const struct tcp_hdr *hdr) {
    const uint8_t *o = (const uint8_t *)(hdr + 1), *end = (const uint8_t *)hdr + TCPH_HDRLEN_BYTES(hdr);
    uint8_t step = 1, scale = NO_SCALE, sack = 0; // 536 is what a SYN means that does not say
    while (o < end && *o != LWIP_TCP_OPT_EOL) {
        if (*o == LWIP_TCP_OPT_NOP) {
            o++;
            continue;
        }
        if (end - o < 2 || o[1] < 2 || o[1] > end - o) {
            break;
        }
        if (o[0] == LWIP_TCP_OPT_MSS && o[1] == LWIP_TCP_OPT_LEN_MSS) {
            uint16_t mss = (uint16_t)(o[2] << 8 | o[3]);
            for (step = HAL_ARRAY_LEN(mss_steps) - 1; step > 0 && mss_steps[step] > mss; step--) {
            }
        } else if (o[0] == LWIP_TCP_OPT_WS && o[1] == LWIP_TCP_OPT_LEN_WS) {
            scale = LWIP_MIN(o[2], 14);
        } else if (o[0] == LWIP_TCP_OPT_SACK_PERM && o[1] == LWIP_TCP_OPT_LEN_SACK_PERM) {
            sack = SACK_BIT;
        }
        o += o[1];
    }
    return (uint8_t)(scale << SCALE_SHIFT | sack | step);
}

static uint16_t write_options(uint8_t *o, uint8_t options, struct netif *n) {
    uint8_t *start = o;
    uint16_t mss = tcp_eff_send_mss_netif(TCP_MSS, n, ip_current_src_addr());
    const uint8_t size[] = {LWIP_TCP_OPT_MSS, LWIP_TCP_OPT_LEN_MSS, (uint8_t)(mss >> 8), (uint8_t)mss};
    memcpy(o, size, sizeof size);
    o += sizeof size;
    if (options >> SCALE_SHIFT != NO_SCALE) {
        static const uint8_t ws[] = {LWIP_TCP_OPT_NOP, LWIP_TCP_OPT_WS, LWIP_TCP_OPT_LEN_WS, TCP_RCV_SCALE};
        memcpy(o, ws, sizeof ws);
        o += sizeof ws;
    }
    if (options & SACK_BIT) {
        static const uint8_t sack[] = {LWIP_TCP_OPT_NOP, LWIP_TCP_OPT_NOP, LWIP_TCP_OPT_SACK_PERM,
                                       LWIP_TCP_OPT_LEN_SACK_PERM};
        memcpy(o, sack, sizeof sack);
        o += sizeof sack;
    }
    return (uint16_t)(o - start);
}

// To where the frame came from: a flood from addresses of this network shall not push its true neighbours out of the
// tables of ARP and neighbour discovery.
static err_t reply4(struct netif *n, struct pbuf *p, const ip4_addr_t *to) {
    (void)to;
    const struct eth_addr *sender = (const struct eth_addr *)netglue_sender;
    return ethernet_output(n, p, (const struct eth_addr *)n->hwaddr, sender, ETHTYPE_IP);
}

static err_t reply6(struct netif *n, struct pbuf *p, const ip6_addr_t *to) {
    (void)to;
    const struct eth_addr *sender = (const struct eth_addr *)netglue_sender;
    return ethernet_output(n, p, (const struct eth_addr *)n->hwaddr, sender, ETHTYPE_IPV6);
}

static void send(struct netif *n, struct pbuf *p) {
    netif_output_fn out4 = n->output;
    netif_output_ip6_fn out6 = n->output_ip6;
    if (netglue_sender != NULL && n == ip_current_input_netif()) {
        n->output = reply4;
        n->output_ip6 = reply6;
    }
    ip_output_if(p, ip_current_dest_addr(), ip_current_src_addr(), TCP_TTL, 0, IP_PROTO_TCP, n);
    n->output = out4;
    n->output_ip6 = out6;
}

// Answer a SYN and forget it.
static void answer(const struct tcp_hdr *syn) {
    struct netif *n = ip_route(ip_current_dest_addr(), ip_current_src_addr());
    struct pbuf *p = n != NULL ? pbuf_alloc(PBUF_IP, TCP_HLEN + OPTIONS_MAX, PBUF_RAM) : NULL;
    if (p == NULL) {
        return;
    }
    if (last_age == 0) {
        for (unsigned i = 0; i < 4; i++) {
            key[i / 2] = key[i / 2] << 32 | netrand_u32();
        }
    }
    last_age = age_now();
    uint8_t options = read_options(syn);
    struct tcp_hdr *hdr = p->payload;
    uint16_t len = (uint16_t)(TCP_HLEN + write_options((uint8_t *)(hdr + 1), options, n));
    pbuf_realloc(p, len);
    hdr->src = lwip_htons(syn->dest);
    hdr->dest = lwip_htons(syn->src);
    hdr->seqno = lwip_htonl(cookie(syn, syn->seqno, last_age, options));
    hdr->ackno = lwip_htonl(syn->seqno + 1);
    TCPH_HDRLEN_FLAGS_SET(hdr, len / 4, TCP_SYN | TCP_ACK);
    hdr->wnd = PP_HTONS((u16_t)LWIP_MIN(TCP_WND, UINT16_MAX));
    hdr->chksum = 0;
    hdr->urgp = 0;
    IF__NETIF_CHECKSUM_ENABLED(n, NETIF_CHECKSUM_GEN_TCP) {
        hdr->chksum = ip_chksum_pseudo(p, IP_PROTO_TCP, p->tot_len, ip_current_dest_addr(), ip_current_src_addr());
    }
    send(n, p);
    pbuf_free(p);
}

// Give lwIP a segment once more, after its connection has been put where it will be found.
// The caller's reference stays.
static void again(struct pbuf *p, struct tcp_hdr *hdr) {
    hdr->src = lwip_htons(hdr->src);
    hdr->dest = lwip_htons(hdr->dest);
    hdr->seqno = lwip_htonl(hdr->seqno);
    hdr->ackno = lwip_htonl(hdr->ackno);
    hdr->wnd = lwip_htons(hdr->wnd);
    pbuf_add_header_force(p, TCPH_HDRLEN_BYTES(hdr));
    pbuf_ref(p);
    tcp_input(p, ip_current_input_netif());
}

// The half-open connection that a cookie stands for, as lwIP would have it after its SYN-ACK.
static bool restore(struct tcp_pcb_listen *l, const struct tcp_hdr *hdr) {
    struct tcp_pcb *pcb = tcp_alloc(l->prio);
    if (pcb == NULL) {
        return false;
    }
    uint32_t iss = hdr->ackno - 1;
    ip_addr_copy(pcb->local_ip, *ip_current_dest_addr());
    ip_addr_copy(pcb->remote_ip, *ip_current_src_addr());
    pcb->local_port = l->local_port;
    pcb->remote_port = hdr->src;
    pcb->state = SYN_RCVD;
    pcb->rcv_nxt = pcb->rcv_ann_right_edge = hdr->seqno;
    pcb->snd_wl1 = hdr->seqno - 1; // so that the window is taken from this segment
    pcb->snd_wl2 = pcb->lastack = iss;
    pcb->snd_nxt = pcb->snd_lbb = iss + 1;
    pcb->callback_arg = l->callback_arg;
    pcb->listener = l;
    pcb->so_options = l->so_options & SOF_INHERITED;
    pcb->netif_idx = l->netif_idx;
    uint8_t scale = (uint8_t)((iss & OPTIONS_MASK) >> SCALE_SHIFT);
    if (scale != NO_SCALE) {
        pcb->snd_scale = scale;
        pcb->rcv_scale = TCP_RCV_SCALE;
        tcp_set_flags(pcb, TF_WND_SCALE);
        pcb->rcv_wnd = pcb->rcv_ann_wnd = TCP_WND;
    }
    if (iss & SACK_BIT) {
        tcp_set_flags(pcb, TF_SACK);
    }
    pcb->mss = tcp_eff_send_mss(LWIP_MIN(mss_steps[iss & 7], TCP_MSS), &pcb->local_ip, &pcb->remote_ip);
    TCP_REG_ACTIVE(pcb);
    tcp_backlog_delayed(pcb);
    return true;
}

static bool queue_full(const struct tcp_pcb_listen *l) {
    return netlimit_queue_full != NULL && netlimit_queue_full(l->callback_arg);
}

// An ACK to a listener: of a cookie, or lwIP resets it. What finds no room is ignored: its sender repeats it.
static err_t take_ack(struct tcp_pcb_listen *l, struct tcp_hdr *hdr, struct pbuf *whole) {
    uint32_t age = age_now(), iss = hdr->ackno - 1;
    if (last_age == 0 || age - last_age > 1) {
        return ERR_OK;
    }
    for (uint32_t a = age; cookie(hdr, hdr->seqno - 1, a, (uint8_t)iss) != iss; a--) {
        if (a != age) {
            return ERR_OK;
        }
    }
    if (whole != NULL && !queue_full(l) && l->accepts_pending < UINT8_MAX && netlimit_make_room() && restore(l, hdr)) {
        again(whole, hdr);
    }
    return ERR_ABRT;
}

// Whether a SYN is answered with a cookie. That goes on while so many come, although the half-open connections time
// out: each new one would ask for the MAC address of a sender who does not exist, and push a true neighbour's out.
static bool flooded(const struct tcp_pcb_listen *l) {
    static uint32_t window, count;
    static bool on;
    uint32_t now = sys_now();
    if (now - window >= WINDOW_MS) {
        on = on && count >= COOKIES_FROM;
        window = now;
        count = 0;
    }
    count++;
    on = on || l->accepts_pending >= COOKIES_FROM;
    return on;
}

err_t netsyn_admit(struct tcp_pcb *pcb, struct tcp_hdr *hdr, struct pbuf *whole) {
    uint8_t flags = TCPH_FLAGS(hdr) & (TCP_SYN | TCP_ACK | TCP_RST);
    if (pcb->state == TIME_WAIT) {
        if (flags != TCP_SYN || !TCP_SEQ_GT(hdr->seqno, pcb->rcv_nxt)) {
            return ERR_OK;
        }
        tcp_abandon(pcb, 0);
        if (whole != NULL) { // or the peer's next SYN is let in
            again(whole, hdr);
        }
        return ERR_ABRT;
    }
    struct tcp_pcb_listen *l = (struct tcp_pcb_listen *)(void *)pcb;
    if (flags == TCP_ACK) {
        return take_ack(l, hdr, whole);
    }
    if (flags != TCP_SYN) {
        return ERR_OK;
    }
    if (queue_full(l)) {
        return ERR_MEM; // the peer repeats its SYN; by then accept() may have made room
    }
    if (!flooded(l)) {
        return netlimit_make_room() ? ERR_OK : ERR_MEM;
    }
    if (whole != NULL) {
        answer(hdr);
    }
    return ERR_ABRT;
}

// Cookies that the other machine has given out are not honoured here; the next one draws a key.
static void netsyn_copied(const hal_identity_t *id) {
    (void)id;
    last_age = 0;
}
HAL_COPIED(HAL_COPIED_SECRETS, netsyn_copied);
