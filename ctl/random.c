#include "ctl/random.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/evp.h>

#include "lib/base64.h"

#define PASSWORD_SIZE 20
#define SALT_SIZE     16

static void
get(unsigned char *out, size_t size)
{
	if (getrandom(out, size, 0) != (ssize_t)size)
		abort();
}

void
random_password(struct buf *out)
{
	unsigned char octets[PASSWORD_SIZE];

	get(octets, sizeof(octets));
	for (size_t i = 0; i < sizeof(octets); i++)
		(void)buf_printf(out, "%02x", octets[i]);
	explicit_bzero(octets, sizeof(octets));
}

void
random_hash(struct buf *out, struct slice password)
{
	unsigned char digest[EVP_MAX_MD_SIZE + SALT_SIZE], salt[SALT_SIZE];
	unsigned int size = 0;
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	get(salt, sizeof(salt));
	if (!context || !EVP_DigestInit_ex(context, EVP_sha1(), NULL) ||
	    !EVP_DigestUpdate(context, password.data, password.size) ||
	    !EVP_DigestUpdate(context, salt, sizeof(salt)) ||
	    !EVP_DigestFinal_ex(context, digest, &size))
		abort();
	EVP_MD_CTX_free(context);
	memcpy(digest + size, salt, sizeof(salt));
	(void)buf_add_string(out, "{SSHA}");
	(void)base64_encode(out, slice_of(digest, size + sizeof(salt)));
}
