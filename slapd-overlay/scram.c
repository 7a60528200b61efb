#include "slapd-overlay/scram.h"

#include <stdlib.h>
#include <string.h>

#include <krb5.h>

#include <hcrypto/evp.h>
#include <hcrypto/hmac.h>
#include <hcrypto/sha.h>
#include <utf8proc.h>
#include <wind.h>

#include "lib/base64.h"

#define SALT_SIZE 16
#define KEY_SIZE  32

/* Code points become UTF-8. */
static int
encode(struct buf *out, const uint32_t *points, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *room = buf_reserve(out, 4);

		if (!room)
			return -1;
		buf_grow(out,
		    (size_t)utf8proc_encode_char(
			(utf8proc_int32_t)points[i], (utf8proc_uint8_t *)room));
	}
	return 0;
}

/* SASLprep, RFC 4013. */
static int
prepare(struct buf *out, struct slice password)
{
	size_t count, room_count, prepared_count;
	uint32_t *points = NULL, *prepared = NULL;
	char *text = strndup(password.data, password.size);
	int result = -1;

	if (!text || wind_utf8ucs4_length(text, &count) != 0)
		goto done;
	/* Compatibility forms may be longer than what they stand for. */
	room_count = prepared_count = 18 * count + 1;
	points = calloc(count + 1, sizeof(*points));
	prepared = calloc(room_count, sizeof(*prepared));
	if (points && prepared && wind_utf8ucs4(text, points, &count) == 0 &&
	    wind_stringprep(points, count, prepared, &prepared_count,
		WIND_PROFILE_SASL) == 0)
		result = encode(out, prepared, prepared_count);
	if (points)
		explicit_bzero(points, count * sizeof(*points));
	if (prepared)
		explicit_bzero(prepared, room_count * sizeof(*prepared));
done:
	if (text)
		explicit_bzero(text, password.size);
	free(text);
	free(points);
	free(prepared);
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
	struct buf prepared = buf_bounded(18 * 4 * password.size + 64);

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
