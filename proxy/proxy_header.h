/*
 * proxy_header: the PROXY protocol (HAProxy's proxy-protocol.txt), versions 1
 * and 2, by which a load balancer says who the client is.
 *
 * The header is the first thing on a connection, before TLS. What version 2
 * adds in TLVs is checked for its form and otherwise ignored. Whose word counts
 * is for the caller to know. Pure.
 */
#ifndef PROXY_PROXY_HEADER_H
#define PROXY_PROXY_HEADER_H

#include <stdbool.h>

#include "lib/buf.h"
#include "proxy/resolve.h"

#define PROXY_HEADER_SIZE_MAX 4096 /* octets of a header of version 2 */
#define PROXY_HEADER_LINE_MAX 107  /* octets of one of version 1, with CRLF */

enum proxy_header_result {
	PROXY_HEADER_MORE, /* all of the input belongs to the header */
	PROXY_HEADER_DONE,
	PROXY_HEADER_BAD
};

struct proxy_header {
	bool proxied; /* false: the balancer speaks for itself (LOCAL,
			 UNKNOWN), or for a client without an IP address */
	union address client, local; /* who connected, and where to */
};

/* On DONE *size says how many octets the header has, on BAD *why (static text)
 * what is wrong. */
enum proxy_header_result proxy_header_parse(struct slice input,
    struct proxy_header *header, size_t *size, const char **why);

/* Adds a header of version 2; client NULL: LOCAL. Of two families IPv4 is
 * mapped into IPv6. */
void proxy_header_add(
    struct buf *out, const union address *client, const union address *local);

#endif
