#include "lib/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* Cuts the port off; 0, or -1 for a bad one. */
static int
split_port(struct slice *text, uint16_t *port)
{
	size_t colon = slice_find_last(*text, ':');
	bool bracketed = text->size > 0 && text->data[0] == '[';
	size_t end = bracketed ? slice_find(*text, ']') : SIZE_MAX;
	uint64_t number;

	if (bracketed && end == SIZE_MAX)
		return -1;
	if (bracketed ? end + 1 == text->size
		      : colon == SIZE_MAX || slice_find(*text, ':') != colon) {
		if (bracketed)
			*text = slice_from_offset(slice_first(*text, end), 1);
		return 0;
	}
	if (bracketed && colon != end + 1)
		return -1;
	if (slice_to_uint(slice_from_offset(*text, colon + 1), 65535, &number) <
		0 ||
	    number == 0)
		return -1;
	*port = (uint16_t)number;
	*text = bracketed ? slice_from_offset(slice_first(*text, end), 1)
			  : slice_first(*text, colon);
	return 0;
}

int
endpoint_parse(struct endpoint *endpoint, struct slice text, uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&endpoint->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&endpoint->address;
	char address[INET6_ADDRSTRLEN + 1];

	*endpoint = (struct endpoint){ 0 };
	if (split_port(&text, &port) < 0 || text.size == 0 ||
	    slice_find(text, '\0') != SIZE_MAX || text.size >= sizeof(address))
		return -1;
	memcpy(address, text.data, text.size);
	address[text.size] = '\0';
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		endpoint->size = sizeof(*v4);
		return 0;
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		endpoint->size = sizeof(*v6);
		return 0;
	}
	return -1;
}

int
endpoint_format(struct buf *out, const struct endpoint *endpoint)
{
	const struct sockaddr_in *v4 =
	    (const struct sockaddr_in *)&endpoint->address;
	const struct sockaddr_in6 *v6 =
	    (const struct sockaddr_in6 *)&endpoint->address;
	bool four = endpoint->address.ss_family == AF_INET;
	char text[INET6_ADDRSTRLEN];

	if (!inet_ntop(endpoint->address.ss_family,
		four ? (const void *)&v4->sin_addr
		     : (const void *)&v6->sin6_addr,
		text, sizeof(text)))
		return -1;
	return buf_printf(out, "%s%s%s:%u", four ? "" : "[", text,
	    four ? "" : "]", ntohs(four ? v4->sin_port : v6->sin6_port));
}

bool
endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	const struct sockaddr_in *a4 = (const struct sockaddr_in *)&a->address;
	const struct sockaddr_in *b4 = (const struct sockaddr_in *)&b->address;
	const struct sockaddr_in6 *a6 =
	    (const struct sockaddr_in6 *)&a->address;
	const struct sockaddr_in6 *b6 =
	    (const struct sockaddr_in6 *)&b->address;

	if (a->address.ss_family != b->address.ss_family)
		return false;
	if (a->address.ss_family == AF_INET)
		return a4->sin_port == b4->sin_port &&
		       a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return a6->sin6_port == b6->sin6_port &&
	       memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) ==
		   0;
}
