#include "slapd-overlay/scram.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <krb5.h>

#include <hcrypto/evp.h>
#include <hcrypto/hmac.h>
#include <hcrypto/sha.h>
#include <utf8proc.h>

#include "lib/base64.h"

#define SALT_SIZE 16
#define KEY_SIZE  32

/* A letter as RFC 4013 section 2.1 maps it; *bad is set for one that
 * section 2.3 or 2.5 forbids. */
static utf8proc_int32_t
map_point(utf8proc_int32_t point, void *bad)
{
	utf8proc_category_t category = utf8proc_category(point);

	if (category == UTF8PROC_CATEGORY_ZS)
		return ' ';
	if (category == UTF8PROC_CATEGORY_CC ||
	    category == UTF8PROC_CATEGORY_CO ||
	    category == UTF8PROC_CATEGORY_CS ||
	    category == UTF8PROC_CATEGORY_CN)
		*(bool *)bad = true;
	return point;
}

/*
 * SASLprep, by today's tables of Unicode. Not by Heimdal's libwind, which
 * writes beyond its buffer where one letter becomes many.
 */
static int
prepare(struct buf *out, struct slice password)
{
	bool bad = false;
	utf8proc_uint8_t *text = NULL;
	utf8proc_ssize_t size =
	    utf8proc_map_custom((const utf8proc_uint8_t *)password.data,
		(utf8proc_ssize_t)password.size, &text,
		UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
		    UTF8PROC_IGNORE,
		map_point, &bad);
	int result = -1;

	if (size > 0 && !bad)
		result = buf_add(out, text, (size_t)size);
	if (size > 0)
		explicit_bzero(text, (size_t)size);
	free(text);
	return result;
}

static void
mac(const unsigned char key[KEY_SIZE], const char *text,
    unsigned char out[KEY_SIZE])
{
	unsigned size = KEY_SIZE;

	(void)HMAC(EVP_sha256(), key, KEY_SIZE, text, strlen(text), out, &size);
}

static void
hash(const unsigned char in[KEY_SIZE], unsigned char out[KEY_SIZE])
{
	SHA256_CTX context;

	SHA256_Init(&context);
	SHA256_Update(&context, in, KEY_SIZE);
	SHA256_Final(out, &context);
}

static void
add_part(struct buf *out, const void *octets, size_t size)
{
	buf_add_char(out, ':');
	base64_encode(out, slice_of(octets, size));
}

int
scram_make(struct buf *out, struct slice password, uint32_t iterations,
    const char **why)
{
	unsigned char salt[SALT_SIZE], salted[KEY_SIZE], client[KEY_SIZE];
	unsigned char stored[KEY_SIZE], server[KEY_SIZE];
	struct buf prepared = buf_bounded((size_t)18 * 4 * password.size + 64);

	if (prepare(&prepared, password) < 0) {
		*why = "password has characters that SASL forbids";
		buf_wipe(&prepared);
		return -1;
	}
	krb5_generate_random_block(salt, sizeof(salt));
	PKCS5_PBKDF2_HMAC(prepared.data, prepared.size, salt, sizeof(salt),
	    iterations, EVP_sha256(), sizeof(salted), salted);
	buf_wipe(&prepared);
	mac(salted, "Client Key", client);
	hash(client, stored);
	mac(salted, "Server Key", server);
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client, sizeof(client));
	buf_printf(out, "%u", (unsigned)iterations);
	add_part(out, salt, sizeof(salt));
	add_part(out, stored, sizeof(stored));
	add_part(out, server, sizeof(server));
	explicit_bzero(server, sizeof(server));
	if (!out->failed)
		return 0;
	*why = "out of memory";
	return -1;
}
