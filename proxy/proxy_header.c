#include "proxy/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

#define SIGNATURE      "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_SIZE 12
#define FIXED_SIZE     16 /* signature, version and command, family, length */
#define TLV_SIZE       3  /* type and length */

enum {
	COMMAND_LOCAL = 0x20,
	COMMAND_PROXY = 0x21,
	FAMILY_UNSPEC = 0x00,
	FAMILY_TCP4 = 0x11,
	FAMILY_TCP6 = 0x21,
	FAMILY_UNIX = 0x31,
	SIZE_TCP4 = 12, /* octets of addresses and ports */
	SIZE_TCP6 = 36,
	SIZE_UNIX = 216
};

static enum proxy_header_result
bad(const char **why, const char *text)
{
	*why = text;
	return PROXY_HEADER_BAD;
}

/* Is the input a beginning of that, or the other way round? */
static bool
begins(struct slice input, const char *text, size_t size)
{
	size_t common = input.size < size ? input.size : size;

	return memcmp(input.data, text, common) == 0;
}

/* ---- version 1 ---- */

/* Without leading zeros, as the specification wants it. */
static bool
read_port(struct slice word, union address *address)
{
	uint64_t port;

	if (slice_to_uint(word, UINT16_MAX, &port) < 0 ||
	    (word.size > 1 && word.data[0] == '0'))
		return false;
	address_set_port(address, (uint16_t)port);
	return true;
}

static bool
read_address(struct slice word, int family, union address *address)
{
	void *octets = family == AF_INET ? (void *)&address->in.sin_addr
					 : (void *)&address->in6.sin6_addr;
	char text[INET6_ADDRSTRLEN];

	if (word.size == 0 || word.size >= sizeof(text))
		return false;
	memcpy(text, word.data, word.size);
	text[word.size] = '\0';
	address->any.sa_family = (sa_family_t)family;
	return strlen(text) == word.size &&
	       inet_pton(family, text, octets) == 1;
}

/* What stands before the next space, which may be nothing. */
static struct slice
take_word(struct slice *rest)
{
	size_t space = slice_find(*rest, ' ');
	struct slice word = slice_first(*rest, space);

	*rest = space == SIZE_MAX ? slice_from("")
				  : slice_from_offset(*rest, space + 1);
	return word;
}

static bool
read_line(struct slice line, struct proxy_header *header)
{
	struct slice word = take_word(&line);
	int family;

	if (slice_is(word, "UNKNOWN"))
		return true;
	if (slice_is(word, "TCP4"))
		family = AF_INET;
	else if (slice_is(word, "TCP6"))
		family = AF_INET6;
	else
		return false;
	header->proxied = true;
	return read_address(take_word(&line), family, &header->client) &&
	       read_address(take_word(&line), family, &header->local) &&
	       read_port(take_word(&line), &header->client) &&
	       read_port(line, &header->local);
}

static enum proxy_header_result
parse_line(struct slice input, struct proxy_header *header, size_t *size,
    const char **why)
{
	static const char prefix[] = "PROXY ";
	size_t prefix_size = sizeof(prefix) - 1;
	size_t end =
	    slice_find(slice_first(input, PROXY_HEADER_LINE_MAX), '\n');

	if (end == SIZE_MAX)
		return input.size < PROXY_HEADER_LINE_MAX
			   ? PROXY_HEADER_MORE
			   : bad(why, "its line is too long");
	if (end <= prefix_size || input.data[end - 1] != '\r')
		return bad(why, "its line does not end in CRLF");
	*size = end + 1;
	input = slice_from_offset(slice_first(input, end - 1), prefix_size);
	return read_line(input, header)
		   ? PROXY_HEADER_DONE
		   : bad(why, "its line cannot be understood");
}

/* ---- version 2 ---- */

static unsigned
read_16(const char *at)
{
	return (unsigned)(unsigned char)at[0] << 8 | (unsigned char)at[1];
}

/* Type, length, value, and so on to the very end. */
static bool
are_tlvs(struct slice rest)
{
	while (rest.size >= TLV_SIZE) {
		size_t size = TLV_SIZE + read_16(rest.data + 1);

		if (rest.size < size)
			return false;
		rest = slice_from_offset(rest, size);
	}
	return rest.size == 0;
}

static void
read_tcp4(const char *at, struct proxy_header *header)
{
	header->proxied = true;
	header->client.any.sa_family = header->local.any.sa_family = AF_INET;
	memcpy(&header->client.in.sin_addr, at, 4);
	memcpy(&header->local.in.sin_addr, at + 4, 4);
	address_set_port(&header->client, (uint16_t)read_16(at + 8));
	address_set_port(&header->local, (uint16_t)read_16(at + 10));
}

static void
read_tcp6(const char *at, struct proxy_header *header)
{
	header->proxied = true;
	header->client.any.sa_family = header->local.any.sa_family = AF_INET6;
	memcpy(&header->client.in6.sin6_addr, at, 16);
	memcpy(&header->local.in6.sin6_addr, at + 16, 16);
	address_set_port(&header->client, (uint16_t)read_16(at + 32));
	address_set_port(&header->local, (uint16_t)read_16(at + 34));
}

/* What comes behind the fixed part of a PROXY command. */
static enum proxy_header_result
read_family(unsigned family, struct slice rest, struct proxy_header *header,
    const char **why)
{
	size_t size;

	switch (family) {
	case FAMILY_UNSPEC:
		return PROXY_HEADER_DONE;
	case FAMILY_TCP4:
		size = SIZE_TCP4;
		break;
	case FAMILY_TCP6:
		size = SIZE_TCP6;
		break;
	case FAMILY_UNIX:
		size = SIZE_UNIX;
		break;
	default:
		return bad(why, "it is of no family of streams");
	}
	if (rest.size < size)
		return bad(why, "it is too short for its addresses");
	if (!are_tlvs(slice_from_offset(rest, size)))
		return bad(why, "its TLVs have wrong lengths");
	if (family == FAMILY_TCP4)
		read_tcp4(rest.data, header);
	else if (family == FAMILY_TCP6)
		read_tcp6(rest.data, header);
	return PROXY_HEADER_DONE;
}

static enum proxy_header_result
parse_octets(struct slice input, struct proxy_header *header, size_t *size,
    const char **why)
{
	unsigned command;

	if (input.size < FIXED_SIZE)
		return PROXY_HEADER_MORE;
	command = (unsigned char)input.data[SIGNATURE_SIZE];
	*size = FIXED_SIZE + read_16(input.data + FIXED_SIZE - 2);
	if (command != COMMAND_LOCAL && command != COMMAND_PROXY)
		return bad(why, "its version or command is unknown");
	if (*size > PROXY_HEADER_SIZE_MAX)
		return bad(why, "it is too long");
	if (input.size < *size)
		return PROXY_HEADER_MORE;
	if (command == COMMAND_LOCAL)
		return PROXY_HEADER_DONE;
	return read_family((unsigned char)input.data[SIGNATURE_SIZE + 1],
	    slice_from_offset(slice_first(input, *size), FIXED_SIZE), header,
	    why);
}

enum proxy_header_result
proxy_header_parse(struct slice input, struct proxy_header *header,
    size_t *size, const char **why)
{
	*header = (struct proxy_header){ .proxied = false };
	if (input.size == 0)
		return PROXY_HEADER_MORE;
	if (begins(input, "PROXY ", 6))
		return parse_line(input, header, size, why);
	if (begins(input, SIGNATURE, SIGNATURE_SIZE))
		return parse_octets(input, header, size, why);
	return bad(why, "it is no header of the PROXY protocol");
}

/* ---- for back ends ---- */

static void
add_16(struct buf *out, unsigned number)
{
	buf_add_char(out, (char)(number >> 8));
	buf_add_char(out, (char)(number & 0xff));
}

/* The octets of an address, mapped into IPv6 where that is asked for. */
static void
add_address(struct buf *out, const union address *address, bool ipv6)
{
	static const char mapped[] = "\0\0\0\0\0\0\0\0\0\0\xff\xff";

	if (address->any.sa_family == AF_INET6) {
		buf_add(out, &address->in6.sin6_addr, 16);
		return;
	}
	if (ipv6)
		buf_add(out, mapped, 12);
	buf_add(out, &address->in.sin_addr, 4);
}

void
proxy_header_add(
    struct buf *out, const union address *client, const union address *local)
{
	bool ipv6;

	buf_add(out, SIGNATURE, SIGNATURE_SIZE);
	if (!client) {
		buf_add(out, "\x20\0\0\0", 4);
		return;
	}
	ipv6 = client->any.sa_family == AF_INET6 ||
	       local->any.sa_family == AF_INET6;
	buf_add_char(out, COMMAND_PROXY);
	buf_add_char(out, ipv6 ? FAMILY_TCP6 : FAMILY_TCP4);
	add_16(out, ipv6 ? SIZE_TCP6 : SIZE_TCP4);
	add_address(out, client, ipv6);
	add_address(out, local, ipv6);
	add_16(out, address_port(client));
	add_16(out, address_port(local));
}
