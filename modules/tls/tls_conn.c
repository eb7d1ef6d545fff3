// SPDX-License-Identifier: MIT
// One TLS connection (RFC 5246, RFC 8446) over a transport that may say "not now" at any time. mbedTLS does the work;
// here is what it leaves to its caller: which bytes a blocked write had already taken, which direction it waits for,
// when a stream has ended and when it was cut off.
// Owns each connection. Not here: contexts (tls_ctx.c), words for errors (tls_text.c). Context: main loop.

#include <errno.h>
#include <string.h>

#include "tls_internal.h"

// ---- the transport, as mbedTLS wants it ---------------------------------------------------------

static int on_send(void *arg, const unsigned char *data, size_t len) {
    tls_conn_t *c = arg;
    ssize_t r = c->io->send(c->io_arg, data, len);
    c->said = true;
    if (r >= 0) {
        return (int)r;
    }
    c->io_error = (int)r;
    return r == -EAGAIN ? MBEDTLS_ERR_SSL_WANT_WRITE : TLS_ERR_IO;
}

static int on_recv(void *arg, unsigned char *out, size_t size) {
    tls_conn_t *c = arg;
    ssize_t r = c->io->recv(c->io_arg, out, size);
    if (r >= 0) {
        return (int)r;
    }
    c->io_error = (int)r;
    return r == -EAGAIN ? MBEDTLS_ERR_SSL_WANT_READ : TLS_ERR_IO;
}

// Remember what is wrong with the peer's certificates, for the words, and ask who wants to be asked.
static int on_verify(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags) {
    tls_conn_t *c = arg;
    if (depth == 0 && !c->ctx->check_name) {
        *flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_CN_MISMATCH;
    }
    if ((*flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) && crt->issuer_raw.len > 0 &&
        crt->issuer_raw.len == crt->subject_raw.len &&
        memcmp(crt->issuer_raw.p, crt->subject_raw.p, crt->issuer_raw.len) == 0) {
        c->self_signed = true;
    }
    c->verify |= *flags;
    bool accepted = !c->ctx->asks || c->io->accept(c->io_arg, crt->raw.p, crt->raw.len, depth);
    return accepted ? 0 : MBEDTLS_ERR_X509_FATAL_ERROR;
}

// ---- life ---------------------------------------------------------------------------------------

tls_conn_t *tls_conn_new(tls_ctx_t *ctx, const tls_io_t *io, void *io_arg, const char *hostname, int *error) {
    tls_conn_t *c = tls_calloc(1, sizeof(*c));
    *error = -ENOMEM;
    if (c == NULL) {
        return NULL;
    }
    tls_ctx_keep(ctx);
    c->ctx = ctx;
    c->io = io;
    c->io_arg = io_arg;
    mbedtls_ssl_init(&c->ssl);
    int r = mbedtls_ssl_setup(&c->ssl, &ctx->conf);
    if (r == 0 && !ctx->server) {
        r = mbedtls_ssl_set_hostname(&c->ssl, hostname);
    }
    if (r != 0) {
        *error = tls_is_no_memory(r) ? -ENOMEM : -EINVAL;
        tls_conn_free(c);
        return NULL;
    }
    mbedtls_ssl_set_user_data_p(&c->ssl, c);
    mbedtls_ssl_set_verify(&c->ssl, on_verify, c);
    mbedtls_ssl_set_bio(&c->ssl, c, on_send, on_recv, NULL);
    return c;
}

void tls_conn_free(tls_conn_t *c) {
    mbedtls_ssl_free(&c->ssl);
    tls_ctx_release(c->ctx);
    tls_free(c->sni);
    tls_free(c);
}

// ---- results ------------------------------------------------------------------------------------

// mbedTLS's result of a verb that by itself waits for `own`, as ours.
static ssize_t result(tls_conn_t *c, int r, unsigned own) {
    if (r >= 0) {
        return r;
    }
    if (r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE) {
        unsigned needs = r == MBEDTLS_ERR_SSL_WANT_READ ? TLS_WANT_IN : TLS_WANT_OUT;
        c->want = needs == own ? 0 : needs;
        return -EAGAIN;
    }
    if (r == TLS_ERR_IO) {
        return c->io_error;
    }
    c->error = r;
    if (r == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        c->alert = c->ssl.MBEDTLS_PRIVATE(in_msg)[1];
    }
    return -EPROTO;
}

// mbedTLS also says "want" when it only wants to be called again; then the transport has not said "not now".
static bool again(const tls_conn_t *c, int r) {
    return (r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE) && c->io_error != -EAGAIN;
}

static unsigned char checks_of(const tls_ctx_t *ctx) {
    int asked = ctx->asks && ctx->verify != TLS_VERIFY_NONE ? CHECK_ASKED : 0;
    return (unsigned char)(ctx->verify != TLS_VERIFY_REQUIRED
                               ? asked
                               : asked | CHECK_CHAIN | (ctx->check_name ? CHECK_NAME : 0));
}

// A client that speaks TLS 1.3 and has no keys yet, because it gave up while it was reading our flight, says so in a
// plain record (OpenSSL does), which mbedTLS takes for one that was changed on its way.
// It ends the handshake either way.
static bool plain_alert(const tls_conn_t *c, int r) {
    const unsigned char *record = c->ssl.MBEDTLS_PRIVATE(in_hdr); // type, version, length; level, alert
    return r == MBEDTLS_ERR_SSL_INVALID_MAC && record[0] == MBEDTLS_SSL_MSG_ALERT && record[3] == 0 && record[4] == 2 &&
           record[5] == MBEDTLS_SSL_ALERT_LEVEL_FATAL;
}

// Tell the peer why, where mbedTLS gives up without a word (RFC 8446, 6.2).
static void say_why(tls_conn_t *c, int r) {
    int alert = tls_is_no_memory(r) ? MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR : 0;
    switch (r) {
        case MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE: // no group in common
            alert = MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE;
            break;
        case MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER:
            alert = MBEDTLS_SSL_ALERT_MSG_ILLEGAL_PARAMETER;
            break;
        case MBEDTLS_ERR_SSL_DECODE_ERROR:
            alert = MBEDTLS_SSL_ALERT_MSG_DECODE_ERROR;
            break;
    }
    if (alert != 0 && !c->said) {
        mbedtls_ssl_send_alert_message(&c->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (unsigned char)alert);
    }
}

// One step of the handshake after the other. own: what the verb waits for.
static ssize_t handshake(tls_conn_t *c, unsigned own) {
    c->want = 0;
    if (c->error != 0) {
        return -EPROTO;
    }
    if (!c->started && c->ctx->verify != TLS_VERIFY_NONE && !tls_time_valid()) {
        return result(c, TLS_ERR_NO_CLOCK, own);
    }
    if (!c->started) {
        c->checks = checks_of(c->ctx);
    }
    c->started = true;
    while (!mbedtls_ssl_is_handshake_over(&c->ssl)) {
        if (c->ssl.MBEDTLS_PRIVATE(state) == MBEDTLS_SSL_SERVER_CERTIFICATE) {
            c->full = true;
        }
        c->io_error = 0;
        c->said = false;
        int r = mbedtls_ssl_handshake_step(&c->ssl);
        if (r != 0 && plain_alert(c, r)) {
            c->error = MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE;
            c->alert = c->ssl.MBEDTLS_PRIVATE(in_hdr)[6];
            return -EPROTO;
        }
        if (r != 0 && !again(c, r)) {
            say_why(c, r);
            return result(c, r, own);
        }
    }
    return 0;
}

// ---- verbs --------------------------------------------------------------------------------------

void tls_conn_allow_ragged_end(tls_conn_t *c) { c->ragged = true; }

int tls_conn_handshake(tls_conn_t *c) { return (int)handshake(c, 0); }

// mbedTLS tells the end of the transport by the result 0, which an out of no bytes has too.
static ssize_t do_read(tls_conn_t *c, void *out, size_t size) {
    ssize_t r = handshake(c, TLS_WANT_IN);
    if (r != 0 || c->eof) {
        return r;
    }
    int n;
    do {
        c->io_error = 0;
        n = mbedtls_ssl_read(&c->ssl, out, size);
        c->has_session = c->has_session || n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET;
    } while (n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET || again(c, n));
    bool cut_off = n == 0 && mbedtls_ssl_get_bytes_avail(&c->ssl) == 0;
    if (n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || (cut_off && c->ragged)) {
        c->eof = true;
        return 0;
    }
    return result(c, cut_off ? TLS_ERR_TRUNCATED : n, TLS_WANT_IN);
}

ssize_t tls_conn_recv(tls_conn_t *c, void *out, size_t size) { return size == 0 ? 0 : do_read(c, out, size); }

ssize_t tls_conn_readable(tls_conn_t *c, size_t max) {
    unsigned char none;
    ssize_t r = max == 0 ? 0 : do_read(c, &none, 0);
    if (r != 0 || c->eof) {
        return r;
    }
    size_t there = mbedtls_ssl_get_bytes_avail(&c->ssl);
    return (ssize_t)(there < max ? there : max);
}

// Go on with a record that the transport has not taken whole. 0: it has now.
static ssize_t flush(tls_conn_t *c) {
    // With a record left over mbedtls_ssl_write() sends that and does not look at the data.
    if (c->ssl.MBEDTLS_PRIVATE(out_left) != 0) {
        int n = mbedtls_ssl_write(&c->ssl, (const unsigned char *)"", c->in_flight);
        if (n < 0) {
            return result(c, n, TLS_WANT_OUT);
        }
    }
    return 0;
}

ssize_t tls_conn_send(tls_conn_t *c, const void *data, size_t len) {
    ssize_t r = handshake(c, TLS_WANT_OUT);
    if (r != 0 || len == 0) {
        return r;
    }
    if (c->in_flight == 0) {
        int max = mbedtls_ssl_get_max_out_record_payload(&c->ssl);
        size_t n = max > 0 && len > (size_t)max ? (size_t)max : len;
        int done = mbedtls_ssl_write(&c->ssl, data, n);
        if (done >= 0) {
            return done;
        }
        c->in_flight = c->ssl.MBEDTLS_PRIVATE(out_left) != 0 ? n : 0;
        return result(c, done, TLS_WANT_OUT);
    }
    r = flush(c);
    if (r != 0) {
        return r;
    }
    size_t done = c->in_flight < len ? c->in_flight : len;
    c->in_flight = 0;
    return (ssize_t)done;
}

int tls_conn_finish(tls_conn_t *c) {
    if (c->finished || c->error != 0 || !mbedtls_ssl_is_handshake_over(&c->ssl)) {
        return 0;
    }
    ssize_t r = c->in_flight != 0 ? flush(c) : 0;
    if (r == 0) {
        c->in_flight = 0;
        r = result(c, mbedtls_ssl_close_notify(&c->ssl), TLS_WANT_OUT);
    }
    c->finished = r == 0;
    return (int)r;
}

// ---- what is known ------------------------------------------------------------------------------

bool tls_conn_established(const tls_conn_t *c) {
    return c->error == 0 && mbedtls_ssl_is_handshake_over((mbedtls_ssl_context *)&c->ssl);
}

bool tls_conn_pending(const tls_conn_t *c) { return c->eof || mbedtls_ssl_check_pending(&c->ssl); }

unsigned tls_conn_want(const tls_conn_t *c) { return c->want; }

bool tls_conn_failed(const tls_conn_t *c) { return c->error != 0; }

int tls_conn_failure(const tls_conn_t *c, char text[TLS_TEXT_SIZE]) {
    tls_reason_t why = {.verify = c->verify, .self_signed = c->self_signed, .alert = -1};
    if (c->error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        why.alert = c->alert;
    }
    tls_text(text, c->error, &why);
    return c->error;
}

const char *tls_conn_cipher(const tls_conn_t *c) {
    return tls_conn_established(c) ? mbedtls_ssl_get_ciphersuite(&c->ssl) : NULL;
}

const char *tls_conn_version(const tls_conn_t *c) {
    return tls_conn_established(c) ? mbedtls_ssl_get_version(&c->ssl) : NULL;
}

const char *tls_conn_alpn(const tls_conn_t *c) { return mbedtls_ssl_get_alpn_protocol(&c->ssl); }

const char *tls_conn_hostname(const tls_conn_t *c) { return c->sni; }

bool tls_conn_resumed(const tls_conn_t *c) { return tls_conn_established(c) && !c->full; }

bool tls_conn_peer(const tls_conn_t *c, tls_blob_t *der) {
    const mbedtls_x509_crt *crt = tls_conn_established(c) ? mbedtls_ssl_get_peer_cert(&c->ssl) : NULL;
    if (crt != NULL) {
        *der = (tls_blob_t){crt->raw.p, crt->raw.len};
    }
    return crt != NULL;
}

// ---- resumption ---------------------------------------------------------------------------------

// A resumed handshake shows no certificate, so a session says behind mbedTLS's bytes what was verified when it did.

int tls_conn_session(tls_conn_t *c, unsigned char **out, size_t *len) {
    bool later = mbedtls_ssl_get_version_number(&c->ssl) == MBEDTLS_SSL_VERSION_TLS1_3; // comes with a ticket
    if (!tls_conn_established(c) || (later && !c->has_session)) {
        return -ENOENT;
    }
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    int r = mbedtls_ssl_get_session(&c->ssl, &session) == 0 ? -ENOMEM : -ENOENT;
    mbedtls_ssl_session_save(&session, NULL, 0, len);
    *out = r == -ENOMEM ? tls_calloc(1, *len + 1) : NULL;
    if (*out != NULL) {
        r = mbedtls_ssl_session_save(&session, *out, *len, len) == 0 ? 0 : -ENOENT;
        (*out)[(*len)++] = c->checks;
    }
    mbedtls_ssl_session_free(&session);
    if (r != 0) {
        tls_free(*out);
    }
    return r;
}

int tls_conn_set_session(tls_conn_t *c, const unsigned char *data, size_t len) {
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    int r = mbedtls_ssl_session_load(&session, data, len > 0 ? len - 1 : 0);
    bool enough = r != 0 || (checks_of(c->ctx) & ~data[len - 1]) == 0;
    if (r == 0 && enough) {
        r = mbedtls_ssl_set_session(&c->ssl, &session);
    }
    mbedtls_ssl_session_free(&session);
    return !enough ? -EACCES : r == 0 ? 0 : tls_is_no_memory(r) ? -ENOMEM : -EINVAL;
}
