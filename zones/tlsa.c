#include "zones/tlsa.h"

#include <stdio.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define TLSA_RECORD_SIZE 1024

/* SHA-256 of SubjectPublicKeyInfo of the first certificate in the file, in
 * hexadecimal. 0, or -1. */
static int
hash_key(const char *path, char text[static EVP_MAX_MD_SIZE * 2 + 1])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned char *octets = NULL;
	unsigned digest_size = 0;
	FILE *file = fopen(path, "re");
	X509 *certificate = NULL;
	int size = -1, result = -1;

	if (!file)
		return -1;
	certificate = PEM_read_X509(file, NULL, NULL, NULL);
	(void)fclose(file);
	if (certificate)
		size =
		    i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &octets);
	if (size > 0 && EVP_Digest(octets, (size_t)size, digest, &digest_size,
			    EVP_sha256(), NULL) == 1) {
		for (unsigned i = 0; i < digest_size; i++)
			(void)snprintf(text + (size_t)i * 2, 3, "%02x",
			    (unsigned)digest[i]);
		result = 0;
	}
	OPENSSL_free(octets);
	X509_free(certificate);
	return result;
}

static int
add_file(struct rrsets *set, const struct config *config,
    const struct config_tlsa *tlsa, const char *path)
{
	char record[TLSA_RECORD_SIZE], hash[EVP_MAX_MD_SIZE * 2 + 1];
	const char *why;

	if (hash_key(path, hash) < 0)
		return -1;
	for (size_t i = 0; i < tlsa->ports.count; i++) {
		(void)snprintf(record, sizeof(record),
		    "_%s._tcp.%s. %ld IN TLSA 3 1 1 %s", tlsa->ports.items[i],
		    tlsa->title, config->ttl.tlsa, hash);
		if (rrsets_add_text(set, record, &why) < 0)
			return -1;
	}
	return 0;
}

int
tlsa_read(struct rrsets *set, const struct config *config, struct buf *faults)
{
	const struct config_tlsa *sections = config->tlsa.items;
	int result = 0;

	for (size_t i = 0; i < config->tlsa.count; i++) {
		const struct setting_list *files = &sections[i].certificates;
		struct rrsets part = { 0 };
		bool good = true;

		for (size_t k = 0; k < files->count; k++) {
			if (add_file(&part, config, &sections[i],
				files->items[k]) == 0)
				continue;
			good = false;
			buf_printf(faults,
			    "%s:%ld: \"%s\": no certificate can be read from \"%s\"\n",
			    config->path, sections[i].line, sections[i].title,
			    files->items[k]);
		}
		if (!good || rrsets_add_range(set, &part, 0, part.count) < 0)
			result = -1;
		rrsets_free(&part);
	}
	return result;
}
