/*
 * network: networks of clients, as configured: 192.0.2.0/24, 2001:db8::/32, or
 * an address by itself. IPv4 addresses that come mapped into IPv6 (RFC 4291
 * section 2.5.5.2) count as IPv4. Pure.
 */
#ifndef PROXY_NETWORK_H
#define PROXY_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/resolve.h"

#define NETWORK_ADDRESS_SIZE 16

struct network {
	uint8_t octets[NETWORK_ADDRESS_SIZE]; /* IPv4: mapped */
	unsigned bits;                        /* of those, 0 to 128 */
};

struct networks {
	struct network *items; /* owned */
	size_t count;
};

/* 0; or -1 with *why (static text), for bits behind the prefix as well. */
int network_parse(const char *text, struct network *network, const char **why);
/* IPv4 addresses are in no network of IPv6, ::/0 included. */
bool network_contains(
    const struct network *network, const union address *address);
bool networks_contain(
    const struct networks *networks, const union address *address);

/*
 * The address with only its first bits left, mapped: who counts as one client
 * where addresses are counted.
 */
void network_prefix(const union address *address, unsigned bits_ipv4,
    unsigned bits_ipv6, uint8_t prefix[NETWORK_ADDRESS_SIZE]);

#endif
