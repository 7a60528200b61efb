/*
 * hops: how often a message was passed on before it came here, by the Received
 * lines of its header (RFC 5321 section 6.3). Pure.
 */
#ifndef PROXY_HOPS_H
#define PROXY_HOPS_H

#include <stdbool.h>

#include "lib/slice.h"

/* Begin with zeros. */
struct hops {
	unsigned count;
	unsigned
	    matched; /* octets of the field's name that the line began with */
	bool other;  /* the line is counted, or another field's */
	bool begun;  /* the line is not empty */
	bool cr;     /* the last octet was one */
	bool body;   /* the header is over */
};

/* A message as it comes, in pieces; lines end in CRLF or LF. */
void hops_watch(struct hops *hops, struct slice data);

#endif
