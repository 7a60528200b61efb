/*
 * tls: OpenSSL contexts for clients and for back ends.
 *
 * Made by the parent, before the jails and with its right to read keys, and
 * inherited by its relays; so all relays of a generation share the keys of
 * session tickets, and a client may resume at any of them.
 */
#ifndef PROXY_TLS_H
#define PROXY_TLS_H

#include <openssl/ssl.h>

#include "lib/buf.h"
#include "proxy/config.h"

/*
 * NULL with a line "FILE: text" in errors when a file cannot be used. NULL
 * without errors when no certificate is configured.
 */
SSL_CTX *tls_front_context(const struct config_tls *tls, struct buf *errors);
SSL_CTX *tls_back_context(
    const struct config_backend *backend, struct buf *errors);

#endif
