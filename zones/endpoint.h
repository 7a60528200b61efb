/*
 * endpoint: an address and a port as an administrator writes them.
 *
 *   192.0.2.1   192.0.2.1:5300   2001:db8::1   [2001:db8::1]:5300
 */
#ifndef ZONES_ENDPOINT_H
#define ZONES_ENDPOINT_H

#include <stdint.h>
#include <sys/socket.h>

#include "lib/slice.h"

struct endpoint {
	struct sockaddr_storage address;
	socklen_t size;
};

/* Without a port it is `port`. 0; or -1 for what is none. */
int endpoint_parse(struct endpoint *endpoint, struct slice text, uint16_t port);

#endif
