// SPDX-License-Identifier: MIT
// Network cards of a Xen guest: the handshake in XenStore (Xen public/io/netif.h, public/io/xenbus.h). Finds the cards,
// follows each backend's state, and cards that are pulled and plugged while the VM runs. Owns the list of cards.
// Not here: rings (netfront.c), several queues (not negotiated). Context: main loop; the probe waits, bounded.

#include <stdio.h>
#include <string.h>

#include "netfront.h"

enum { MTU_DEFAULT = 1500, MTU_MIN = 68, MTU_MAX = 65535 - 14 - 4, MTU_ONE_PAGE = HAL_PAGE_SIZE - 14 - 4 };
enum { NAME_ROOM = 32 };
#define CONNECT_NS 3000000000ull // for all cards together, at start

typedef struct {
    xenbus_dev_t bus; // first: `changed` gets its address
    netfront_t *rings;
    unsigned number;
    bool plugged;
    bool peer_saw_closed; // the backend has followed us to CLOSED
} vif_t;

static vif_t vifs[NETDEV_MAX];
static unsigned vif_count;
static xenbus_dev_t folder = {.path = "device/vif"}; // of all cards: what fails with it is tried again

// 1, 0, or -errno: not known now.
static int folder_exists(unsigned number) {
    char path[NAME_ROOM + NAME_ROOM], first[1];
    snprintf(path, sizeof(path), "device/vif/%u/backend", number);
    int len = xen_store_read(0, path, first, sizeof(first));
    return len < 0 && len != -ENOENT ? len : len > 0;
}

// Write a number into our folder.
static int put(vif_t *v, const char *name, unsigned value) {
    char path[sizeof(v->bus.path) + NAME_ROOM];
    snprintf(path, sizeof(path), "%s/%s", v->bus.path, name);
    return xen_store_printf(0, path, "%u", value);
}

static int read_terms(vif_t *v, netfront_terms_t *t) {
    bool no_csum4 = false;
    const struct {
        const char *name;
        bool *out;
    } feature[] = {
        {"feature-sg", &t->sg},
        {"feature-no-csum-offload", &no_csum4},
        {"feature-ipv6-csum-offload", &t->csum6},
        {"feature-gso-tcpv4", &t->gso4},
        {"feature-gso-tcpv6", &t->gso6},
    };
    for (unsigned i = 0; i < HAL_ARRAY_LEN(feature); i++) {
        uint64_t value;
        int r = xenbus_backend_u64(&v->bus, feature[i].name, 1, 0, &value);
        if (r < 0) {
            return xenbus_fail(&v->bus, feature[i].name, r);
        }
        *feature[i].out = value != 0;
    }
    t->csum4 = !no_csum4;
    return 0;
}

// Tell the backend where to find us and what it may give us. It reads all that once our state is CONNECTED.
static int write_contact(vif_t *v, const netfront_contact_t *c) {
    const struct {
        const char *name;
        unsigned value;
    } key[] = {
        {"tx-ring-ref", c->tx_ring},      {"rx-ring-ref", c->rx_ring},   {"event-channel", c->port},
        {"request-rx-copy", 1},           {"feature-rx-notify", 1},      {"feature-sg", 1},
        {"feature-ipv6-csum-offload", 1}, {"feature-gso-tcpv4", c->gso}, {"feature-gso-tcpv6", c->gso},
    };
    for (unsigned i = 0; i < HAL_ARRAY_LEN(key); i++) {
        int r = put(v, key[i].name, key[i].value);
        if (r < 0) {
            return xenbus_fail(&v->bus, key[i].name, r);
        }
    }
    return 0;
}

// The backend waits for us. What fails leaves the card without a link, until it is tried again.
static void connect(void *card) {
    vif_t *v = card;
    netfront_terms_t terms = {0};
    netfront_contact_t contact;
    if (netfront_netdev(v->rings)->dead) {
        return;
    }
    if (read_terms(v, &terms) < 0 || netfront_connect(v->rings, &terms, &contact) < 0) {
        xenbus_again(&v->bus);
        return;
    }
    netdev_t *dev = netfront_netdev(v->rings);
    if (!terms.sg && dev->mtu > MTU_ONE_PAGE) {
        dev->mtu = MTU_ONE_PAGE;
    }
    if (write_contact(v, &contact) < 0 || xenbus_switch(&v->bus, XENBUS_CONNECTED) < 0) {
        netfront_disconnect(v->rings);
        xenbus_again(&v->bus);
    }
}

// Whether the backend stays: 1, or 0 where it is being removed or says nothing sane.
static int ask_online(vif_t *v, uint64_t *out) {
    *out = 0;
    int r = xenbus_backend_u64(&v->bus, "online", 1, 0, out);
    return r == 0 || r == -EINVAL ? 0 : xenbus_fail(&v->bus, "online", r);
}

static void unplug(vif_t *v) {
    netfront_disconnect(v->rings);
    xenbus_close(&v->bus);
    v->plugged = false;
}

// The backend goes, or has gone: follow it. One that stays (an administrator took it down, or its driver was started
// anew) is asked to begin again, once it is CLOSED: one that was started anew may have taken what our folder still said
// for a contact, and has to see the end of that first. One that is being removed is not asked.
static void backend_closing(void *card) {
    vif_t *v = card;
    xenbus_state_t now = XENBUS_UNKNOWN;
    uint64_t online = 0;
    netfront_disconnect(v->rings);
    int r = v->bus.state == XENBUS_CLOSED ? 0 : xenbus_switch(&v->bus, XENBUS_CLOSED);
    if (r == 0) {
        r = xenbus_look(&v->bus, &now);
        v->peer_saw_closed = r == 0 && now == XENBUS_CLOSED;
        r = v->peer_saw_closed ? ask_online(v, &online) : r;
    }
    if (r == 0 && v->peer_saw_closed && online == 1) {
        r = xenbus_switch(&v->bus, XENBUS_INITIALISING);
    }
    if (r < 0) {
        xenbus_again(&v->bus);
    }
}

// We are CLOSED, and the backend waits for us again.
static void reinitialise(void *card) {
    vif_t *v = card;
    if (!v->peer_saw_closed) {
        return;
    }
    if (xenbus_switch(&v->bus, XENBUS_INITIALISING) < 0) {
        xenbus_again(&v->bus);
    } else {
        connect(v);
    }
}

static void both_connected(void *card) { netfront_start(((vif_t *)card)->rings); }

// The backend has seen what we took for refused, and the rings are gone: all over again.
static void half_connected(void *card) {
    if (((vif_t *)card)->bus.pause_ns != 0) {
        backend_closing(card);
    }
}

// Its folder is gone; ours with it when the card was pulled.
static void backend_gone(void *card) {
    vif_t *v = card;
    switch (folder_exists(v->number)) {
        case 0:
            unplug(v);
            break;
        case 1:
            backend_closing(v);
            break;
        default:
            netfront_disconnect(v->rings);
            xenbus_again(&v->bus);
    }
}

static const xenbus_rule_t rules[] = {
    {XENBUS_IN(XENBUS_INITIALISING), XENBUS_IN(XENBUS_INIT_WAIT), connect},
    {XENBUS_IN(XENBUS_INITIALISING), XENBUS_IN(XENBUS_CONNECTED), half_connected},
    {XENBUS_IN(XENBUS_CONNECTED), XENBUS_IN(XENBUS_CONNECTED), both_connected},
    {XENBUS_IN(XENBUS_CLOSED), XENBUS_IN(XENBUS_INIT_WAIT), reinitialise},
    {XENBUS_ANY, XENBUS_IN(XENBUS_CLOSING) | XENBUS_IN(XENBUS_CLOSED), backend_closing},
    {XENBUS_ANY, XENBUS_IN(XENBUS_UNKNOWN), backend_gone},
};

// Do what the two states ask for. Idempotent.
static void vif_changed(xenbus_dev_t *bus) {
    vif_t *v = (vif_t *)bus;
    // Our folder still names rings that are gone: that is said first, wherever the backend has got to meanwhile.
    bool stale_contact = bus->state == XENBUS_CONNECTED && !netfront_connected(v->rings);
    bool closing = stale_contact && bus->backend_state != XENBUS_UNKNOWN;
    if (v->plugged) {
        xenbus_act(rules, HAL_ARRAY_LEN(rules), bus->state, closing ? XENBUS_CLOSING : bus->backend_state, v);
    }
}

// ---- cards --------------------------------------------------------------------------------------

static bool parse_mac(const char *text, uint8_t *mac) {
    static const uint8_t zero[NETDEV_MAC_LEN];
    for (unsigned i = 0; i < NETDEV_MAC_LEN; i++, text += 3) {
        int high = xen_hex(text[0]), low = high < 0 ? -1 : xen_hex(text[1]);
        if (low < 0 || text[2] != (i + 1 < NETDEV_MAC_LEN ? ':' : '\0')) {
            return false;
        }
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return (mac[0] & 1) == 0 && memcmp(mac, zero, NETDEV_MAC_LEN) != 0;
}

// Address and MTU from our folder: what the stack sees of the card for as long as the VM lives.
static int identify(vif_t *v) {
    netdev_t *dev = netfront_netdev(v->rings);
    char path[sizeof(v->bus.path) + NAME_ROOM], text[sizeof("00:00:00:00:00:00") + 1];
    snprintf(path, sizeof(path), "%s/mac", v->bus.path);
    int r = xen_store_read(0, path, text, sizeof(text));
    if (r < 0 || !parse_mac(text, dev->mac)) {
        return xenbus_fail(&v->bus, "MAC address is none, a group's or zero", r < 0 ? r : -EINVAL);
    }
    uint64_t mtu = MTU_DEFAULT;
    snprintf(path, sizeof(path), "%s/mtu", v->bus.path);
    r = xen_store_read_u64(0, path, UINT32_MAX, &mtu);
    if ((r < 0 && r != -ENOENT) || (r == 0 && mtu < MTU_MIN)) {
        return xenbus_fail(&v->bus, "MTU is none, or below 68", r < 0 ? r : -EINVAL);
    }
    mtu = r == 0 ? mtu : MTU_DEFAULT;
    dev->mtu = mtu < MTU_MAX ? (uint16_t)mtu : MTU_MAX;
    netfront_identified(v->rings);
    return 0;
}

static int plug(vif_t *v, unsigned number) {
    v->number = number;
    v->bus.changed = vif_changed;
    int r = xenbus_open(&v->bus, "vif", number);
    v->plugged = r == 0;
    return r;
}

// XenStore could not say where its backend is.
static void plug_again(xenbus_dev_t *bus) {
    vif_t *v = (vif_t *)bus;
    int r = plug(v, v->number);
    if (r == 0) {
        vif_changed(bus);
    } else if (xenbus_may_pass(r)) {
        bus->changed = plug_again;
        xenbus_again(bus);
    }
}

static int vif_add(unsigned number) {
    if (vif_count == NETDEV_MAX) {
        return -ENOSPC;
    }
    vif_t *v = &vifs[vif_count];
    int r = plug(v, number);
    if (r < 0) {
        return r;
    }
    if (v->rings == NULL) { // else the one before this could not be used
        v->rings = netfront_new(&v->bus);
    }
    r = v->rings == NULL ? xenbus_fail(&v->bus, "no memory for packet buffers", -ENOMEM) : identify(v);
    if (r == 0 && (r = netdev_register(netfront_netdev(v->rings))) < 0) {
        xenbus_fail(&v->bus, "too many network devices", r);
    }
    if (r < 0) {
        xenbus_close(&v->bus);
        v->plugged = false;
        return r;
    }
    vif_count++;
    return 0;
}

// A card came while the VM runs. The stack knows the cards of its start only: one that was pulled becomes this one, if
// possible that of the same number. It keeps its address there, as on a wire that is put into another socket.
// 0, or -errno: it is not known now whether the card is there.
static int adopt(unsigned number) {
    vif_t *found = NULL;
    for (unsigned i = 0; i < vif_count; i++) {
        vif_t *v = &vifs[i];
        if (!v->plugged && !netfront_netdev(v->rings)->dead && (found == NULL || v->number == number)) {
            found = v;
        }
    }
    int there = found != NULL ? folder_exists(number) : 0;
    if (there == 1) {
        found->number = number;
        plug_again(&found->bus);
    }
    return there < 0 ? there : 0;
}

// A card is not in the list: pulled, or past its end. 0, or -errno: not known now.
static int miss(vif_t *v) {
    int there = folder_exists(v->number);
    if (there == 0) {
        unplug(v);
    }
    return there < 0 ? there : 0;
}

// Something below device/vif changed.
static void cards_changed(void *arg) {
    (void)arg;
    unsigned number[NETDEV_MAX];
    int count = xenbus_list("vif", number, NETDEV_MAX), err = count < 0 ? count : 0, r;
    bool known[NETDEV_MAX] = {false};
    for (unsigned i = 0; count >= 0 && i < vif_count; i++) {
        bool there = false;
        for (int k = 0; k < count && vifs[i].plugged; k++) {
            if (number[k] == vifs[i].number) {
                there = known[k] = true;
            }
        }
        r = vifs[i].plugged && !there ? miss(&vifs[i]) : 0;
        err = err == 0 ? r : err;
    }
    for (int k = 0; k < count; k++) {
        r = known[k] ? 0 : adopt(number[k]);
        err = err == 0 ? r : err;
    }
    if (err < 0) {
        xenbus_fail(&folder, "cards cannot be looked for", err);
        xenbus_again(&folder);
    } else {
        xenbus_settle(&folder);
    }
}

static void look_again(xenbus_dev_t *bus) { cards_changed(bus); }

// In another domain each card has another backend. The watch of device/vif, set again there, finds it (cards_changed).
static void vifs_suspend(hal_suspend_t what) {
    for (unsigned i = 0; what == HAL_RESUMED && i < vif_count; i++) {
        netfront_forget(vifs[i].rings);
        unplug(&vifs[i]);
    }
}
HAL_SUSPEND(vifs_suspend);

static void wait_backend(vif_t *v, unsigned states, uint64_t deadline_ns) {
    if (v->plugged) {
        (void)xenbus_wait(&v->bus, states, deadline_ns); // wherever the backend is then, it is answered
        vif_changed(&v->bus);
    }
}

static int netfront_probe(void) {
    static xen_watch_t watch = {.path = "device/vif", .fired = cards_changed};
    unsigned number[NETDEV_MAX];
    int count = xen_present() ? xenbus_list("vif", number, NETDEV_MAX) : 0, err = count < 0 ? count : 0;
    for (int i = 0; i < count; i++) {
        int r = vif_add(number[i]);
        err = err == 0 ? r : err;
    }
    uint64_t deadline = hal_clock_ns() + CONNECT_NS;
    for (unsigned i = 0; i < vif_count; i++) {
        wait_backend(&vifs[i], XENBUS_IN(XENBUS_INIT_WAIT) | XENBUS_IN(XENBUS_CONNECTED), deadline);
    }
    for (unsigned i = 0; i < vif_count; i++) {
        wait_backend(&vifs[i], XENBUS_IN(XENBUS_CONNECTED) | XENBUS_IN(XENBUS_CLOSING) | XENBUS_IN(XENBUS_CLOSED),
                     deadline);
        if (!netfront_netdev(vifs[i].rings)->ops->link_up(netfront_netdev(vifs[i].rings))) {
            xenbus_fail(&vifs[i].bus, "the backend is not ready: no link yet", -ETIMEDOUT);
        }
    }
    if (vif_count > 0) {
        folder.changed = look_again;
        xen_store_watch(&watch);
    }
    return err < 0 ? err : (int)vif_count;
}

const hal_driver_t xen_netfront_driver = {"xen-netfront", netfront_probe};
