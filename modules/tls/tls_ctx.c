// SPDX-License-Identifier: MIT
// TLS contexts: what is trusted, shown and allowed, for all connections that share it.
// Owns each context: mbedTLS's configuration, certificates, keys, the key of session tickets.
// Not here: connections (tls_conn.c). Context: main loop.

#include <errno.h>
#include <string.h>

#include "mbedtls/platform_util.h"
#include "psa/crypto.h"
#include "tls_internal.h"

enum { TICKET_LIFE_S = 7200, ALPN_MAX = 255 };

// Forward secrecy and authenticated encryption only; a script may ask for others with set_ciphers(). mbedTLS is fastest
// at ChaCha20, ahead of AES-GCM even where the CPU has instructions for that.
#define SUITES_AES_128 \
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
        MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
#define SUITES_AES_256 \
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, \
        MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
#define SUITES_CHACHA \
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, \
        MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
static const int suites[] = {SUITES_CHACHA, SUITES_AES_128, SUITES_AES_256, 0};

// mbedTLS's defaults with the shorter hashes first:
// RSA keys of 1024 bits, which tests still use, have no room for more.
static const uint16_t signatures[] = {
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP521R1_SHA512, MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,       MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,       MBEDTLS_TLS1_3_SIG_NONE};

// ---- hooks of mbedTLS ---------------------------------------------------------------------------

static int on_sni(void *arg, mbedtls_ssl_context *ssl, const unsigned char *name, size_t len) {
    tls_conn_t *c = mbedtls_ssl_get_user_data_p(ssl);
    tls_free(c->sni);
    c->sni = tls_calloc(1, len + 1);
    if (c->sni == NULL) {
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    }
    memcpy(c->sni, name, len);
    return 0;
}

// ---- life ---------------------------------------------------------------------------------------

tls_ctx_t *tls_ctx_new(bool server, int *error) {
    unsigned char probe[16];
    *error = -EIO;
    if (tls_random(NULL, probe, sizeof(probe)) != 0) {
        return NULL;
    }
    *error = -ENOMEM;
    tls_ctx_t *ctx = psa_crypto_init() == PSA_SUCCESS ? tls_calloc(1, sizeof(*ctx)) : NULL;
    if (ctx == NULL) {
        return NULL;
    }
    ctx->refs = 1;
    ctx->server = server;
    ctx->check_name = true;
    mbedtls_ssl_config_init(&ctx->conf);
    mbedtls_x509_crt_init(&ctx->ca);
    mbedtls_ssl_ticket_init(&ctx->ticket);
    int side = server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT;
    if (mbedtls_ssl_config_defaults(&ctx->conf, side, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0) {
        tls_ctx_release(ctx);
        return NULL;
    }
    tls_ctx_set_verify(ctx, server ? TLS_VERIFY_NONE : TLS_VERIFY_REQUIRED);
    mbedtls_ssl_conf_rng(&ctx->conf, tls_random, NULL);
    mbedtls_ssl_conf_ciphersuites(&ctx->conf, suites);
    mbedtls_ssl_conf_sig_algs(&ctx->conf, signatures);
    if (server) {
        mbedtls_ssl_conf_sni(&ctx->conf, on_sni, ctx);
        if (mbedtls_ssl_ticket_setup(&ctx->ticket, tls_random, NULL, MBEDTLS_CIPHER_AES_256_GCM, TICKET_LIFE_S) == 0) {
            mbedtls_ssl_conf_session_tickets_cb(&ctx->conf, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse,
                                                &ctx->ticket);
        }
    } else {
        mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(&ctx->conf,
                                                                 MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
    }
    return ctx;
}

void tls_ctx_keep(tls_ctx_t *ctx) { ctx->refs++; }

void tls_ctx_release(tls_ctx_t *ctx) {
    if (--ctx->refs > 0) {
        return;
    }
    mbedtls_ssl_config_free(&ctx->conf);
    mbedtls_x509_crt_free(&ctx->ca);
    mbedtls_ssl_ticket_free(&ctx->ticket);
    while (ctx->own != NULL) {
        tls_own_t *own = ctx->own;
        ctx->own = own->next;
        mbedtls_x509_crt_free(&own->crt);
        mbedtls_pk_free(&own->key);
        tls_free(own);
    }
    while (ctx->alpn != NULL) {
        void **block = ctx->alpn;
        ctx->alpn = block[0];
        tls_free(block);
    }
    tls_free(ctx->ciphers);
    tls_free(ctx);
}

void tls_ctx_renew_tickets(tls_ctx_t *ctx) {
    enum { KEYS = 2, NAME_LEN = 4, KEY_LEN = 32 };
    unsigned char name[NAME_LEN], key[KEY_LEN];
    for (int i = 0; ctx->server && i < KEYS; i++) { // each takes the place of the older one
        tls_random(NULL, name, sizeof(name));
        tls_random(NULL, key, sizeof(key));
        mbedtls_ssl_ticket_rotate(&ctx->ticket, name, sizeof(name), key, sizeof(key), TICKET_LIFE_S);
    }
    mbedtls_platform_zeroize(key, sizeof(key));
}

bool tls_ctx_is_server(const tls_ctx_t *ctx) { return ctx->server; }

// ---- settings -----------------------------------------------------------------------------------

_Static_assert(TLS_VERIFY_NONE == MBEDTLS_SSL_VERIFY_NONE && TLS_VERIFY_OPTIONAL == MBEDTLS_SSL_VERIFY_OPTIONAL &&
                   TLS_VERIFY_REQUIRED == MBEDTLS_SSL_VERIFY_REQUIRED,
               "our numbers are mbedTLS's");

int tls_ctx_verify(const tls_ctx_t *ctx) { return ctx->verify; }

void tls_ctx_set_verify(tls_ctx_t *ctx, int mode) {
    ctx->verify = mode;
    mbedtls_ssl_conf_authmode(&ctx->conf, mode);
}

bool tls_ctx_check_name(const tls_ctx_t *ctx) { return ctx->check_name; }

void tls_ctx_set_check_name(tls_ctx_t *ctx, bool on) { ctx->check_name = on; }

void tls_ctx_set_asks(tls_ctx_t *ctx, bool on) { ctx->asks = on; }

int tls_ctx_version(const tls_ctx_t *ctx, bool max) {
    return (int)(max ? ctx->conf.MBEDTLS_PRIVATE(max_tls_version) : ctx->conf.MBEDTLS_PRIVATE(min_tls_version));
}

int tls_ctx_set_version(tls_ctx_t *ctx, bool max, int version) {
    if (version != TLS_V1_2 && version != TLS_V1_3) {
        return -EINVAL;
    }
    if (max) {
        mbedtls_ssl_conf_max_tls_version(&ctx->conf, (mbedtls_ssl_protocol_version)version);
    } else {
        mbedtls_ssl_conf_min_tls_version(&ctx->conf, (mbedtls_ssl_protocol_version)version);
    }
    return 0;
}

int tls_ctx_set_alpn(tls_ctx_t *ctx, const char *const *names, size_t n) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(names[i]);
        if (len == 0 || len > ALPN_MAX) {
            return -EINVAL;
        }
        bytes += len + 1;
    }
    // One block: a link, the pointers, a NULL, the texts.
    void **block = tls_calloc(1, (n + 2) * sizeof(char *) + bytes);
    if (block == NULL) {
        return -ENOMEM;
    }
    char **list = (char **)block + 1;
    char *text = (char *)(list + n + 1);
    for (size_t i = 0; i < n; i++) {
        list[i] = strcpy(text, names[i]);
        text += strlen(text) + 1;
    }
    mbedtls_ssl_conf_alpn_protocols(&ctx->conf, (const char **)list);
    block[0] = ctx->alpn;
    ctx->alpn = block;
    return 0;
}

int tls_ctx_set_ciphers(tls_ctx_t *ctx, const int *ids, size_t n) {
    int *copy = tls_calloc(n + 1, sizeof(int));
    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, ids, n * sizeof(int));
    mbedtls_ssl_conf_ciphersuites(&ctx->conf, copy);
    tls_free(ctx->ciphers);
    ctx->ciphers = copy;
    return 0;
}

const int *tls_cipher_list(void) { return mbedtls_ssl_list_ciphersuites(); }

const char *tls_cipher_name(int id) { return mbedtls_ssl_get_ciphersuite_name(id); }

int tls_cipher_id(const char *name) { return mbedtls_ssl_get_ciphersuite_id(name); }

// ---- certificates -------------------------------------------------------------------------------

int tls_ctx_add_ca(tls_ctx_t *ctx, tls_blob_t pem) {
    int r = mbedtls_x509_crt_parse(&ctx->ca, pem.data, pem.len);
    ctx->has_ca = ctx->has_ca || r >= 0;
    mbedtls_ssl_conf_ca_chain(&ctx->conf, &ctx->ca, NULL);
    return r >= 0 ? r : tls_is_no_memory(r) ? -ENOMEM : -EINVAL;
}

bool tls_ctx_has_ca(const tls_ctx_t *ctx) { return ctx->has_ca; }

static int parse_key(mbedtls_pk_context *key, tls_blob_t blob) {
    int r = mbedtls_pk_parse_key(key, blob.data, blob.len, NULL, 0, tls_random, NULL);
    return r == 0 ? 0 : tls_is_no_memory(r) ? -ENOMEM : TLS_BAD_KEY;
}

int tls_ctx_check_key(tls_blob_t blob) {
    mbedtls_pk_context key;
    mbedtls_pk_init(&key);
    int r = parse_key(&key, blob);
    mbedtls_pk_free(&key);
    return r;
}

static int parse_own(tls_own_t *own, tls_blob_t cert, tls_blob_t key) {
    int r = parse_key(&own->key, key);
    if (r != 0) {
        return r;
    }
    r = mbedtls_x509_crt_parse(&own->crt, cert.data, cert.len);
    if (r != 0) {
        return tls_is_no_memory(r) ? -ENOMEM : TLS_BAD_CERT;
    }
    return mbedtls_pk_check_pair(&own->crt.pk, &own->key, tls_random, NULL) == 0 ? 0 : TLS_BAD_PAIR;
}

int tls_ctx_add_cert(tls_ctx_t *ctx, tls_blob_t cert, tls_blob_t key) {
    tls_own_t *own = tls_calloc(1, sizeof(*own));
    if (own == NULL) {
        return -ENOMEM;
    }
    mbedtls_x509_crt_init(&own->crt);
    mbedtls_pk_init(&own->key);
    int r = parse_own(own, cert, key);
    if (r == 0 && mbedtls_ssl_conf_own_cert(&ctx->conf, &own->crt, &own->key) != 0) {
        r = -ENOMEM;
    }
    if (r != 0) {
        mbedtls_x509_crt_free(&own->crt);
        mbedtls_pk_free(&own->key);
        tls_free(own);
        return r;
    }
    own->next = ctx->own;
    ctx->own = own;
    return 0;
}
