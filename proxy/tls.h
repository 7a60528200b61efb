/*
 * tls: OpenSSL contexts for clients and for back ends.
 *
 * Made by the parent, before the jails and with its right to read keys, and
 * inherited by its relays; so all relays of a generation share the keys of
 * session tickets, and a client may resume at any of them.
 *
 * Towards clients there is a context for each certificate, and for each set of
 * certificates, one a kind of key, that have a name in common; which one serves
 * is up to the name that the client asks for, and within it OpenSSL chooses by
 * the signatures that the client understands (RFC 8446 section 4.2.3).
 */
#ifndef PROXY_TLS_H
#define PROXY_TLS_H

#include <stdbool.h>
#include <time.h>

#include <openssl/ssl.h>

#include "lib/buf.h"
#include "lib/service.h"
#include "proxy/config.h"
#include "proxy/tls_names.h"
#include "proxy/tls_tickets.h"

struct tls_certificate {
	char *file;       /* owned */
	SSL_CTX *context; /* owned; has it alone */
	time_t not_after; /* its own, not its authorities' */
	enum tls_key key;
};

/* Certificates that serve together. */
struct tls_set {
	int certificates[TLS_KEY_COUNT]; /* or TLS_NO_CERTIFICATE */
	SSL_CTX *context;                /* owned */
};

struct tls_front {
	SSL_CTX *context; /* of the default certificates; NULL: no TLS */
	struct tls_certificate *certificates; /* owned; the defaults first */
	size_t certificate_count;
	struct tls_set *sets; /* owned; of names; the default's first */
	size_t set_count;
	struct tls_names names;
	struct tls_tickets tickets;
};

/*
 * Owned by the caller; lines "FILE: text" or "FILE:LINE: text" are added to
 * errors for files that cannot be used. Without a certificate in the
 * configuration it has no context.
 */
struct tls_front *tls_front_new(
    const struct config_tls *tls, struct buf *errors);
void tls_front_free(struct tls_front **front);

/*
 * Before the handshake of a client of that service: which ALPN protocol (RFC
 * 7301) is ours, and whether the client owes a certificate (enum
 * config_client_certificate).
 */
void tls_front_expect(SSL *ssl, enum service_kind service, int certificate);

enum tls_client_part {
	TLS_CLIENT_SUBJECT,     /* the whole name, RFC 4514 */
	TLS_CLIENT_COMMON_NAME, /* its CN */
	TLS_CLIENT_UID,         /* its uid */
	TLS_CLIENT_MAIL         /* the first rfc822Name */
};

/*
 * Who a client is by its verified certificate, for SASL EXTERNAL and logs. 0;
 * or -1 when it showed none, or its certificate does not say.
 */
int tls_client_name(const SSL *ssl, enum tls_client_part part, struct buf *out);

/* NULL with a line in errors. */
SSL_CTX *tls_back_context(
    const struct config_backend *backend, struct buf *errors);

#endif
