// SPDX-License-Identifier: MIT
// What the files of module network share. Owns nothing. Context: main loop; may raise.

#ifndef FLOE_MOD_NETWORK_H
#define FLOE_MOD_NETWORK_H

#include "lwip/netif.h"
#include "py/obj.h"

// Both raise ValueError for a key they do not know.
typedef struct {
    mp_obj_t (*get)(struct netif *n, qstr key);
    void (*set)(struct netif *n, qstr key, mp_obj_t value);
} mod_network_config_t;

extern const mp_obj_type_t mod_network_lan_type;

mp_obj_t mod_network_lan(unsigned index); // index below netglue_count()
// The common shape of ipconfig('param') and ipconfig(param=value, ...).
mp_obj_t mod_network_get_or_set(struct netif *n, size_t n_args, const mp_obj_t *args, mp_map_t *kwargs,
                                const mod_network_config_t *config);

#endif
