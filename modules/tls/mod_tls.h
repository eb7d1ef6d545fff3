// SPDX-License-Identifier: MIT
// What the files of module tls share. Owns nothing. Context: main loop; may raise.

#ifndef FLOE_MOD_TLS_H
#define FLOE_MOD_TLS_H

#include "py/obj.h"
#include "tls.h"

typedef struct {
    mp_obj_base_t base;
    tls_ctx_t *ctx; // NULL once finalised
    mp_obj_t verify_callback;
    bool suppress_ragged_eofs; // of connections that do not say
} mod_tls_ctx_t;

// ---- mod_tlssock.c ------------------------------------------------------------------------------
extern const mp_obj_type_t mod_tls_socket_type;
// A connection over `sock`, any stream. hostname: None or a str; session: None or bytes of an earlier one; ragged: an
// end without close_notify is an end.
mp_obj_t mod_tls_socket_new(mod_tls_ctx_t *ctx, mp_obj_t sock, mp_obj_t hostname, mp_obj_t session, bool ragged);
void mod_tls_socket_handshake(mp_obj_t self_in); // waits for its end, also over a non-blocking stream

// ---- mod_tls.c ----------------------------------------------------------------------------------
// OSError(ENOMEM) or, for -EINVAL, ValueError with this text.
NORETURN void mod_tls_raise(int r, mp_rom_error_text_t invalid);

#endif
