#include "lib/base64.h"

#include <stdint.h>
#include <string.h>

/*
 * All comparisons are done by subtraction: for small x, (x >> 8) of a negative
 * difference is all ones, which masks the term in.
 */
static unsigned
mask_if_less(unsigned a, unsigned b)
{
	return (unsigned)((int)(a - b) >> 8);
}

/* Sextet 0..63 to its character: each range adds its step when passed. */
static char
encode_sextet(unsigned sextet)
{
	unsigned c = sextet + 'A';

	c += ~mask_if_less(sextet, 26) & ('a' - 'A' - 26);
	c -= ~mask_if_less(sextet, 52) & ('a' + 26 - '0');
	c -= ~mask_if_less(sextet, 62) & ('0' + 10 - '+');
	c += ~mask_if_less(sextet, 63) & ('/' - '+' - 1);
	return (char)c;
}

/* One for the values first..last, all bits; else none. */
static unsigned
mask_if_within(unsigned c, unsigned first, unsigned last)
{
	return ~mask_if_less(c, first) & mask_if_less(c, last + 1);
}

/* Character to sextet; 64 for one that is none. */
static unsigned
decode_sextet(char character)
{
	unsigned c = (unsigned char)character;
	unsigned upper = mask_if_within(c, 'A', 'Z');
	unsigned lower = mask_if_within(c, 'a', 'z');
	unsigned digit = mask_if_within(c, '0', '9');
	unsigned plus = mask_if_within(c, '+', '+');
	unsigned slash = mask_if_within(c, '/', '/');

	return (upper & (c - 'A')) | (lower & (c - 'a' + 26)) |
	       (digit & (c - '0' + 52)) | (plus & 62) | (slash & 63) |
	       (~(upper | lower | digit | plus | slash) & 64);
}

int
base64_encode(struct buf *out, struct slice data)
{
	for (size_t i = 0; i < data.size; i += 3) {
		size_t left = data.size - i;
		unsigned a = (unsigned char)data.data[i];
		unsigned b = left > 1 ? (unsigned char)data.data[i + 1] : 0;
		unsigned c = left > 2 ? (unsigned char)data.data[i + 2] : 0;
		char quad[4] = {
			encode_sextet(a >> 2),
			encode_sextet((a << 4 | b >> 4) & 63),
			left > 1 ? encode_sextet((b << 2 | c >> 6) & 63) : '=',
			left > 2 ? encode_sextet(c & 63) : '=',
		};

		buf_add(out, quad, sizeof(quad));
	}
	return out->failed ? -1 : 0;
}

static size_t
padding(struct slice text)
{
	if (text.size == 0 || text.data[text.size - 1] != '=')
		return 0;
	return text.data[text.size - 2] == '=' ? 2 : 1;
}

/*
 * Three octets at an offset, as far as `size` goes. Gives what did not go in:
 * the bits under the padding, which must be zero, or one text had two
 * spellings.
 */
static uint32_t
put_triple(char *octets, size_t size, size_t at, uint32_t bits)
{
	uint32_t left_over = 0;

	for (size_t i = 0; i < 3; i++) {
		uint32_t octet = bits >> (16 - 8 * i) & 255;

		if (at + i < size)
			octets[at + i] = (char)octet;
		else
			left_over |= octet;
	}
	return left_over;
}

int
base64_decode(struct buf *out, struct slice text)
{
	size_t pad = text.size % 4 == 0 ? padding(text) : 0;
	size_t size = text.size / 4 * 3 - pad;
	uint32_t bits = 0, bad = 0;
	char *octets;

	if (text.size % 4 != 0)
		return -1;
	if (text.size == 0)
		return 0;
	octets = buf_reserve(out, size);
	if (!octets)
		return -1;
	for (size_t i = 0; i < text.size; i++) {
		unsigned sextet =
		    i < text.size - pad ? decode_sextet(text.data[i]) : 0;

		bad |= sextet & 64;
		bits = bits << 6 | (sextet & 63);
		if (i % 4 == 3)
			bad |= put_triple(octets, size, i / 4 * 3, bits);
	}
	if (bad) {
		/* Half a secret, and where the buffer's NUL stood. */
		explicit_bzero(octets, size);
		return -1;
	}
	buf_grow(out, size);
	return 0;
}
