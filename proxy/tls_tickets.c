#include "proxy/tls_tickets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "lib/base64.h"

#define FILE_SIZE_MAX 16384

_Static_assert(sizeof(struct tls_ticket_key) == TLS_TICKETS_KEY_SIZE,
    "a key lies in memory as in the file");

static int
add_key(struct tls_tickets *tickets, struct slice octets, const char *file,
    unsigned line, struct buf *errors)
{
	struct tls_ticket_key *key = &tickets->keys[tickets->count];

	if (tickets->count == TLS_TICKETS_KEYS_MAX) {
		buf_printf(errors, "%s:%u: more than %d keys\n", file, line,
		    TLS_TICKETS_KEYS_MAX);
		return -1;
	}
	memcpy(key, octets.data, sizeof(*key));
	for (size_t i = 0; i < tickets->count; i++) {
		if (memcmp(tickets->keys[i].name, key->name,
			sizeof(key->name)) == 0) {
			buf_printf(errors,
			    "%s:%u: has the same name as another key\n", file,
			    line);
			return -1;
		}
	}
	tickets->count++;
	return 0;
}

static int
add_line(struct tls_tickets *tickets, struct slice text, const char *file,
    unsigned line, struct buf *errors)
{
	struct buf octets = buf_bounded(FILE_SIZE_MAX);
	int result = -1;

	text = slice_trim(text);
	if (text.size > 0 && text.data[text.size - 1] == '\r')
		text.size--;
	if (text.size == 0 || text.data[0] == '#')
		return 0;
	if (base64_decode(&octets, text) < 0 ||
	    octets.size != TLS_TICKETS_KEY_SIZE)
		buf_printf(errors, "%s:%u: not the base64 of %d octets\n", file,
		    line, TLS_TICKETS_KEY_SIZE);
	else
		result =
		    add_key(tickets, buf_slice(&octets), file, line, errors);
	buf_wipe(&octets);
	return result;
}

static bool
is_text(struct slice text)
{
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];

		if (c >= 0x7f || (c < 0x20 && !strchr("\t\r\n", c)) || c == 0)
			return false;
	}
	return true;
}

int
tls_tickets_parse(struct tls_tickets *tickets, struct slice text,
    const char *file, struct buf *errors)
{
	bool lines = is_text(text);
	unsigned line = 0;
	int result = 0;

	*tickets = (struct tls_tickets){ .count = 0 };
	if (!lines && text.size % TLS_TICKETS_KEY_SIZE != 0) {
		buf_printf(errors, "%s:1: not %d octets for each key\n", file,
		    TLS_TICKETS_KEY_SIZE);
		return -1;
	}
	while (text.size > 0 && result == 0) {
		size_t size = TLS_TICKETS_KEY_SIZE;

		if (lines)
			size = slice_find(text, '\n');
		line++;
		result = lines ? add_line(tickets, slice_first(text, size),
				     file, line, errors)
			       : add_key(tickets, slice_first(text, size), file,
				     1, errors);
		text = slice_from_offset(
		    text, size == SIZE_MAX ? text.size : size + lines);
	}
	if (result == 0 && tickets->count == 0) {
		buf_printf(errors, "%s:1: has no key\n", file);
		result = -1;
	}
	return result;
}

int
tls_tickets_read(
    struct tls_tickets *tickets, const char *file, struct buf *errors)
{
	char text[FILE_SIZE_MAX];
	FILE *stream = fopen(file, "re");
	size_t size = 0;
	int result = -1;

	if (stream) {
		/* Or the keys would stay behind in the stream's own buffer. */
		(void)setvbuf(stream, NULL, _IONBF, 0);
		size = fread(text, 1, sizeof(text), stream);
	}
	if (!stream || ferror(stream))
		buf_printf(errors, "%s: %s\n", file, strerrordesc_np(errno));
	else if (size == sizeof(text))
		buf_printf(errors, "%s: is too long\n", file);
	else
		result = tls_tickets_parse(
		    tickets, slice_of(text, size), file, errors);
	if (stream)
		(void)fclose(stream);
	OPENSSL_cleanse(text, sizeof(text));
	return result;
}

static int
set_mac_key(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY,
		    key->authenticate, sizeof(key->authenticate)),
		OSSL_PARAM_construct_utf8_string(
		    OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, parameters);
}

static int
seal(struct tls_ticket_key *key, unsigned char name[16], unsigned char *vector,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	memcpy(name, key->name, sizeof(key->name));
	if (RAND_bytes(vector, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) !=
		1 ||
	    EVP_EncryptInit_ex(
		cipher, EVP_aes_256_cbc(), NULL, key->encrypt, vector) != 1 ||
	    set_mac_key(mac, key) != 1)
		return -1;
	return 1;
}

/* 2: a ticket of the first key comes in its place; with TLSv1.3 always, where a
 * ticket is for one use (RFC 8446 appendix C.4). 0: it is not ours. */
static int
on_ticket(SSL *ssl, unsigned char name[16], unsigned char *vector,
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
	struct tls_tickets *tickets =
	    SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (sealing)
		return seal(&tickets->keys[0], name, vector, cipher, mac);
	for (size_t i = 0; i < tickets->count; i++) {
		struct tls_ticket_key *key = &tickets->keys[i];

		if (memcmp(key->name, name, sizeof(key->name)) != 0)
			continue;
		if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL,
			key->encrypt, vector) != 1 ||
		    set_mac_key(mac, key) != 1)
			return -1;
		return i > 0 || SSL_version(ssl) >= TLS1_3_VERSION ? 2 : 1;
	}
	return 0;
}

void
tls_tickets_set(SSL_CTX *context, struct tls_tickets *tickets)
{
	SSL_CTX_set_app_data(context, tickets);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
}
