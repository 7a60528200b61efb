#include "proxy/network.h"

#include <arpa/inet.h>
#include <string.h>

#include "lib/slice.h"

#define MAPPED_BITS 96 /* before the address of IPv4 */

static const uint8_t mapped[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool
is_ipv4(const uint8_t octets[NETWORK_ADDRESS_SIZE])
{
	return memcmp(octets, mapped, sizeof(mapped)) == 0;
}

/* Has every bit from `bits` on cleared; false when that changed it. */
static bool
cut(uint8_t octets[NETWORK_ADDRESS_SIZE], unsigned bits)
{
	bool same = true;

	for (unsigned i = 0; i < NETWORK_ADDRESS_SIZE; i++) {
		unsigned kept = bits <= i * 8 ? 0 : bits - i * 8;
		uint8_t mask =
		    (uint8_t)(kept >= 8 ? 0xffU : 0xff00U >> kept & 0xffU);

		same = same && (octets[i] & ~mask) == 0;
		octets[i] &= mask;
	}
	return same;
}

static void
map(const union address *address, uint8_t octets[NETWORK_ADDRESS_SIZE])
{
	if (address->any.sa_family == AF_INET6) {
		memcpy(octets, &address->in6.sin6_addr, NETWORK_ADDRESS_SIZE);
		return;
	}
	memcpy(octets, mapped, sizeof(mapped));
	memcpy(octets + sizeof(mapped), &address->in.sin_addr, 4);
}

int
network_parse(const char *text, struct network *network, const char **why)
{
	union address address = { .any.sa_family = AF_INET };
	const char *slash = strchr(text, '/');
	size_t size = slash ? (size_t)(slash - text) : strlen(text);
	char copy[INET6_ADDRSTRLEN];
	uint64_t bits = 32;

	*why = "is not an IP address, or one and /BITS";
	if (size >= sizeof(copy))
		return -1;
	memcpy(copy, text, size);
	copy[size] = '\0';
	if (inet_pton(AF_INET, copy, &address.in.sin_addr) != 1) {
		address.any.sa_family = AF_INET6;
		bits = 128;
		if (inet_pton(AF_INET6, copy, &address.in6.sin6_addr) != 1)
			return -1;
	}
	if (slash && slice_to_uint(slice_from(slash + 1), bits, &bits) < 0)
		return -1;
	if (address.any.sa_family == AF_INET)
		bits += MAPPED_BITS;
	map(&address, network->octets);
	network->bits = (unsigned)bits;
	*why = "has bits behind its prefix";
	return cut(network->octets, network->bits) ? 0 : -1;
}

bool
network_contains(const struct network *network, const union address *address)
{
	uint8_t octets[NETWORK_ADDRESS_SIZE];

	map(address, octets);
	if (is_ipv4(octets) && network->bits < MAPPED_BITS)
		return false;
	cut(octets, network->bits);
	return memcmp(octets, network->octets, sizeof(octets)) == 0;
}

bool
networks_contain(const struct networks *networks, const union address *address)
{
	for (size_t i = 0; i < networks->count; i++)
		if (network_contains(&networks->items[i], address))
			return true;
	return false;
}

void
network_prefix(const union address *address, unsigned bits_ipv4,
    unsigned bits_ipv6, uint8_t prefix[NETWORK_ADDRESS_SIZE])
{
	map(address, prefix);
	cut(prefix, is_ipv4(prefix) ? MAPPED_BITS + bits_ipv4 : bits_ipv6);
}
