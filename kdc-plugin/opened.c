#include "kdc-plugin/opened.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define OPENED_MAX    1024 /* keys */
#define OPENED_SEALED 128  /* octets; a larger key is not remembered */
#define OPENED_PLAIN  64

struct opened_key {
	krb5_enctype type;
	unsigned mkvno;
	size_t sealed_size, plain_size; /* 0: free */
	unsigned char sealed[OPENED_SEALED], plain[OPENED_PLAIN];
};

struct opened {
	struct opened_key keys[OPENED_MAX];
};

struct opened *
opened_new(void)
{
	return calloc(1, sizeof(struct opened));
}

void
opened_free(struct opened **opened)
{
	if (*opened)
		explicit_bzero(*opened, sizeof(**opened));
	free(*opened);
	*opened = NULL;
}

/* Sealed octets end in a checksum, which is as good as any hash. */
static struct opened_key *
opened_slot(struct opened *opened, const krb5_data *sealed)
{
	uint32_t hash;

	if (sealed->length < sizeof(hash) || sealed->length > OPENED_SEALED)
		return NULL;
	memcpy(&hash,
	    (const char *)sealed->data + sealed->length - sizeof(hash),
	    sizeof(hash));
	return &opened->keys[hash % OPENED_MAX];
}

static bool
opened_is(const struct opened_key *slot, const Key *key)
{
	return slot->sealed_size == key->key.keyvalue.length &&
	       slot->type == key->key.keytype &&
	       slot->mkvno == (unsigned)*key->mkvno &&
	       memcmp(slot->sealed, key->key.keyvalue.data,
		   slot->sealed_size) == 0;
}

static krb5_error_code
opened_recall(const struct opened_key *slot, Key *key)
{
	krb5_data plain;
	krb5_error_code code =
	    krb5_data_copy(&plain, slot->plain, slot->plain_size);

	if (code != 0)
		return code;
	krb5_data_free(&key->key.keyvalue);
	key->key.keyvalue = plain;
	free(key->mkvno);
	key->mkvno = NULL;
	return 0;
}

krb5_error_code
opened_unseal(struct opened *opened, krb5_context context, HDB *db, Key *key)
{
	struct opened_key *slot = NULL, next = { .sealed_size = 0 };
	krb5_error_code code;

	if (opened && key->mkvno && db->hdb_master_key_set)
		slot = opened_slot(opened, &key->key.keyvalue);
	if (!slot)
		return hdb_unseal_key(context, db, key);
	if (opened_is(slot, key))
		return opened_recall(slot, key);
	next.type = key->key.keytype;
	next.mkvno = (unsigned)*key->mkvno;
	next.sealed_size = key->key.keyvalue.length;
	memcpy(next.sealed, key->key.keyvalue.data, next.sealed_size);
	code = hdb_unseal_key(context, db, key);
	if (code == 0 && key->key.keyvalue.length <= OPENED_PLAIN) {
		next.plain_size = key->key.keyvalue.length;
		memcpy(next.plain, key->key.keyvalue.data, next.plain_size);
		*slot = next;
	}
	explicit_bzero(&next, sizeof(next));
	return code;
}
