/*
 * endpoint: an address and a port as an administrator writes them.
 *
 *   192.0.2.1   192.0.2.1:5300   2001:db8::1   [2001:db8::1]:5300
 *
 * Addresses only: nothing is resolved.
 */
#ifndef LIB_ENDPOINT_H
#define LIB_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/buf.h"
#include "lib/slice.h"

struct endpoint {
	struct sockaddr_storage address;
	socklen_t size;
};

/* Without a port it is `port`. 0; or -1 for what is none. */
int endpoint_parse(struct endpoint *endpoint, struct slice text, uint16_t port);
/* 192.0.2.1:5300, [2001:db8::1]:5300; 0, or -1 when it does not fit. */
int endpoint_format(struct buf *out, const struct endpoint *endpoint);
/* The same address and port. */
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

#endif
