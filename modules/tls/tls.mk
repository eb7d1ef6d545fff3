# SPDX-License-Identifier: MIT
# TLS, hashes and ciphers: source lists. MBEDTLS_SRC_C is upstream's, relative to build/upstream/mbedtls; FLOE_TLS_C is
# ours, relative to the top folder (the mod_*.c among them define qstrs and modules).

MBEDTLS_SRC_C := $(addprefix library/, \
    aes.c aesni.c asn1parse.c asn1write.c base64.c bignum.c bignum_core.c bignum_mod.c bignum_mod_raw.c chacha20.c \
    chachapoly.c cipher.c cipher_wrap.c constant_time.c ecdh.c ecdsa.c ecp.c ecp_curves.c gcm.c hkdf.c md.c md5.c \
    oid.c pem.c pk.c pk_ecc.c pk_wrap.c pkparse.c platform.c platform_util.c poly1305.c psa_crypto.c psa_crypto_aead.c \
    psa_crypto_cipher.c psa_crypto_client.c psa_crypto_driver_wrappers_no_static.c psa_crypto_ecp.c psa_crypto_hash.c \
    psa_crypto_mac.c psa_crypto_random.c psa_crypto_rsa.c psa_crypto_slot_management.c psa_util.c rsa.c \
    rsa_alt_helpers.c sha1.c sha256.c sha512.c ssl_ciphersuites.c ssl_client.c ssl_msg.c ssl_ticket.c ssl_tls.c \
    ssl_tls12_client.c ssl_tls12_server.c ssl_tls13_client.c ssl_tls13_generic.c ssl_tls13_keys.c ssl_tls13_server.c \
    x509.c x509_crt.c)

FLOE_TLS_FAST := $(addprefix modules/tls/, mod_hashlib.c mod_tlssock.c tls_conn.c)
FLOE_TLS_C := $(FLOE_TLS_FAST) $(addprefix modules/tls/, mod_tls.c tls_ctx.c tls_platform.c tls_text.c)

MBEDTLS_CFLAGS := -DMBEDTLS_CONFIG_FILE=\"modules/tls/mbedtls_config.h\" -I$(UP)/mbedtls/include

# What runs per byte or per handshake is compiled for speed.
MBEDTLS_FAST = $(addprefix $(BUILD)/mbedtls/library/, aes.o aesni.o bignum.o bignum_core.o chacha20.o ecp.o \
    ecp_curves.o gcm.o poly1305.o sha256.o sha512.o)
$(MBEDTLS_FAST): CFLAGS += $(FAST_OPT)
# These instructions are run where CPUID has them: see mbedtls_aesni_has_support().
$(addprefix $(BUILD)/mbedtls/library/, aes.o aesni.o gcm.o): CFLAGS += -maes -mpclmul
$(addprefix $(BUILD)/mbedtls/, $(MBEDTLS_SRC_C:.c=.o)): modules/tls/mbedtls_config.h
