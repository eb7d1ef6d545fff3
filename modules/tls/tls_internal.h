// SPDX-License-Identifier: MIT
// Between the tls_*.c files only: what contexts and connections are made of. Owns nothing. Context: main loop.

#ifndef FLOE_TLS_INTERNAL_H
#define FLOE_TLS_INTERNAL_H

#include "mbedtls/pk.h"
#include "mbedtls/ssl.h"
#include "mbedtls/ssl_ticket.h"
#include "mbedtls/x509_crt.h"
#include "tls.h"

// A certificate chain of ours and its key.
typedef struct tls_own {
    struct tls_own *next;
    mbedtls_x509_crt crt;
    mbedtls_pk_context key;
} tls_own_t;

struct tls_ctx {
    int refs;
    int verify; // TLS_VERIFY_*
    bool server, has_ca, check_name, asks;
    mbedtls_ssl_config conf;
    mbedtls_x509_crt ca;
    mbedtls_ssl_ticket_context ticket;
    tls_own_t *own;
    void **alpn; // the block in use: link to the block before it, then the list; chosen names live in old ones
    int *ciphers;
};

struct tls_conn {
    tls_ctx_t *ctx; // counted
    mbedtls_ssl_context ssl;
    const tls_io_t *io;
    void *io_arg;
    int io_error;     // of the transport's last call, -errno
    int error;        // mbedTLS's, once the connection has failed
    size_t in_flight; // bytes of the caller's that are encrypted and not yet taken by the transport
    unsigned want;    // see tls_conn_want()
    bool started, full, has_session, eof, finished, ragged;
    bool said;       // something was sent in this step of the handshake
    uint32_t verify; // flags of the certificates that were checked
    bool self_signed;
    unsigned char alert;  // that the peer sent, once that is the error
    unsigned char checks; // CHECK_*: what of the peer's certificate this connection insisted on
    char *sni;            // server: the name the client asked for
};

enum { CHECK_CHAIN = 1, CHECK_NAME = 2, CHECK_ASKED = 4 };
enum { TLS_ERR_IO = -0x7f02, TLS_ERR_TRUNCATED = -0x7f03 }; // ours, beside mbedTLS's

#endif
