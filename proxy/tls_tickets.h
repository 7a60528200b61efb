/*
 * tls_tickets: keys of session tickets (RFC 5077 section 4, RFC 8446 section
 * 4.6.1) from a file, so that a client may resume at any proxy of the cell.
 *
 * The file has the base64 of 80 random octets on each line, with `#` remarks
 * and empty lines between; or it is nothing but such octets, 80 for each key.
 * Of each key the first 16 octets name it, 32 authenticate (HMAC-SHA-256), 32
 * encrypt (AES-256-CBC). The first key seals new tickets, all open old ones: a
 * new key is first added below the others everywhere, then moved to the top.
 */
#ifndef PROXY_TLS_TICKETS_H
#define PROXY_TLS_TICKETS_H

#include <openssl/ssl.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define TLS_TICKETS_KEY_SIZE 80
#define TLS_TICKETS_KEYS_MAX 16

struct tls_ticket_key {
	unsigned char name[16], authenticate[32], encrypt[32];
};

struct tls_tickets {
	struct tls_ticket_key keys[TLS_TICKETS_KEYS_MAX];
	size_t count;
};

/* 0; or -1 with "FILE:LINE: text" in errors. Wipes nothing of `text`. */
int tls_tickets_parse(struct tls_tickets *tickets, struct slice text,
    const char *file, struct buf *errors);
/* The same from a file. */
int tls_tickets_read(
    struct tls_tickets *tickets, const char *file, struct buf *errors);
/* Has a context use them; borrows them for as long as it lives. */
void tls_tickets_set(SSL_CTX *context, struct tls_tickets *tickets);

#endif
