/*
 * certificate: whose certificate did a client prove to have?
 */
#ifndef PROXY_CERTIFICATE_H
#define PROXY_CERTIFICATE_H

#include <openssl/ssl.h>

#include "lib/buf.h"
#include "proxy/config.h"

/*
 * The name in the client's certificate, which TLS has verified, by the field
 * that is configured. 0; or -1 when there is no certificate, or not exactly
 * one such name in it.
 */
int certificate_read_name(
    SSL *ssl, enum config_certificate_name field, struct buf *name);

#endif
