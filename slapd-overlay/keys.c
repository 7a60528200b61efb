#include "slapd-overlay/keys.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <krb5.h>

#include <hcrypto/evp.h>
#include <hcrypto/hmac.h>
#include <hcrypto/sha.h>
#include <hdb.h>

#include "lib/base64.h"
#include "slapd-overlay/scram.h"

#define SALT_SIZE_MAX 1024
/* Iterations that a stored key may ask for; a mistake there must not stop us.
 */
#define ITERATIONS_BOUND 1000000
#define ONE_SALT_SIZE    16

struct keys {
	char *realm, *master_key; /* owned */
	krb5_enctype enctypes[KEYS_ENCTYPES_MAX];
	size_t enctype_count;
	uint32_t scram;
	pthread_key_t thread; /* a struct thread */
	bool has_thread;
};

/* What a thread has of its own. */
struct thread {
	krb5_context context;
	hdb_master_key master; /* NULL: none */
	uint64_t derived;
};

static void
thread_free(void *data)
{
	struct thread *thread = data;

	if (!thread)
		return;
	if (thread->master)
		hdb_free_master_key(thread->context, thread->master);
	if (thread->context)
		krb5_free_context(thread->context);
	free(thread);
}

/* "WHAT: REASON"; never NULL but without memory. */
static char *
explain(krb5_context context, const char *what, krb5_error_code code)
{
	const char *reason =
	    context ? krb5_get_error_message(context, code) : NULL;
	char *text = NULL;

	if (asprintf(&text, "%s: %s", what,
		reason ? reason : "Kerberos cannot be used") < 0)
		text = NULL;
	if (reason)
		krb5_free_error_message(context, reason);
	return text;
}

static struct thread *
thread_new(const struct keys *keys, char **why)
{
	struct thread *thread = calloc(1, sizeof(*thread));
	krb5_error_code code;

	if (!thread)
		return NULL;
	code = krb5_init_context(&thread->context);
	if (code != 0) {
		thread->context = NULL;
		*why = explain(NULL, "Kerberos", code);
		goto failed;
	}
	if (!keys->master_key)
		return thread;
	code = hdb_read_master_key(
	    thread->context, keys->master_key, &thread->master);
	if (code == 0)
		return thread;
	thread->master = NULL;
	*why = explain(thread->context, keys->master_key, code);
failed:
	thread_free(thread);
	return NULL;
}

/* This thread's; NULL when there is no memory or no master key any more. */
static struct thread *
thread_get(struct keys *keys)
{
	struct thread *thread = pthread_getspecific(keys->thread);
	char *why = NULL;

	if (thread)
		return thread;
	thread = thread_new(keys, &why);
	free(why);
	if (thread && pthread_setspecific(keys->thread, thread) != 0) {
		thread_free(thread);
		return NULL;
	}
	return thread;
}

static int
read_enctypes(
    struct keys *keys, krb5_context context, const char *names, char **why)
{
	struct slice rest = slice_from(names), word;
	char name[64];

	while (slice_next_word(&rest, ' ', &word)) {
		krb5_enctype *enctype = &keys->enctypes[keys->enctype_count];

		if (keys->enctype_count == KEYS_ENCTYPES_MAX ||
		    word.size >= sizeof(name)) {
			*why = strdup("too many enctypes, or one is too long");
			return -1;
		}
		memcpy(name, word.data, word.size);
		name[word.size] = '\0';
		if (krb5_string_to_enctype(context, name, enctype) != 0 ||
		    krb5_enctype_valid(context, *enctype) != 0) {
			if (asprintf(why, "no usable enctype \"%s\"", name) < 0)
				*why = NULL;
			return -1;
		}
		keys->enctype_count++;
	}
	if (keys->enctype_count > 0)
		return 0;
	*why = strdup("no enctype");
	return -1;
}

struct keys *
keys_new(const struct keys_settings *settings, char **why)
{
	struct keys *keys = calloc(1, sizeof(*keys));
	struct thread *thread;

	*why = NULL;
	if (!keys)
		return NULL;
	keys->scram = settings->scram;
	keys->realm = strdup(settings->realm);
	keys->master_key =
	    settings->master_key ? strdup(settings->master_key) : NULL;
	if (!keys->realm || (settings->master_key && !keys->master_key) ||
	    pthread_key_create(&keys->thread, thread_free) != 0)
		goto failed;
	keys->has_thread = true;
	thread = thread_new(keys, why);
	if (!thread)
		goto failed;
	if (read_enctypes(keys, thread->context, settings->enctypes, why) < 0) {
		thread_free(thread);
		goto failed;
	}
	thread_free(thread);
	return keys;
failed:
	keys_free(&keys);
	return NULL;
}

void
keys_free(struct keys **keys)
{
	if (!*keys)
		return;
	/* Other threads' contexts are theirs; ours goes with us. */
	if ((*keys)->has_thread) {
		thread_free(pthread_getspecific((*keys)->thread));
		(void)pthread_setspecific((*keys)->thread, NULL);
		(void)pthread_key_delete((*keys)->thread);
	}
	free((*keys)->realm);
	free((*keys)->master_key);
	free(*keys);
	*keys = NULL;
}

/* ---- salts ---- */

static krb5_data
data_of(struct slice text)
{
	krb5_data data;

	/* The library takes what it only reads by a pointer without const. */
	memset(&data, 0, sizeof(data));
	memcpy(&data.data, &text.data, sizeof(data.data));
	data.length = text.size;
	return data;
}

/* A copy that ends in NUL; NULL for a NUL inside it or without memory. */
static char *
string_of(struct slice text)
{
	return slice_find(text, '\0') == SIZE_MAX && text.size > 0
		   ? strndup(text.data, text.size)
		   : NULL;
}

/* The salt that a principal has unless told otherwise, RFC 4120 section 4. */
static int
default_salt(const struct keys *keys, krb5_context context,
    struct slice principal, struct slice uid, krb5_salt *salt)
{
	char *name = string_of(principal.size > 0 ? principal : uid);
	krb5_principal made = NULL;
	krb5_error_code code;

	if (!name)
		return -1;
	/* A uid is one component, whatever it has in it. */
	code = principal.size > 0 ? krb5_parse_name(context, name, &made)
				  : krb5_make_principal(context, &made,
					keys->realm, name, NULL);
	free(name);
	if (code == 0)
		code = krb5_get_pw_salt(context, made, salt);
	if (made)
		krb5_free_principal(context, made);
	return code == 0 ? 0 : -1;
}

/* ---- making ---- */

static int
add_encoded(struct buf *out, const Key *key)
{
	struct buf der = buf_bounded(KEYSET_KEY_MAX);
	size_t size = length_Key(key), used;
	char *room = buf_reserve(&der, size);
	int result = -1;

	/* DER is written from its end backwards. */
	if (room && encode_Key((unsigned char *)room + size - 1, size, key,
			&used) == 0) {
		buf_grow(&der, size);
		result = base64_encode(out, buf_slice(&der));
	}
	buf_wipe(&der);
	return result;
}

/* One key, sealed where there is a master key, in base64. */
static int
add_key(const struct thread *thread, krb5_enctype enctype, krb5_salt salt,
    struct slice password, struct buf *out)
{
	Salt stored = { .type = (unsigned)salt.salttype,
		.salt = salt.saltvalue };
	Key key = { .salt = &stored };
	int result = -1;

	if (krb5_string_to_key_data_salt(thread->context, enctype,
		data_of(password), salt, &key.key) != 0)
		return -1;
	if (!thread->master ||
	    hdb_seal_key_mkey(thread->context, &key, thread->master) == 0)
		result = add_encoded(out, &key);
	krb5_free_keyblock_contents(thread->context, &key.key);
	free(key.mkvno);
	return result;
}

/* Ends of the words in store, from which the set's slices are cut. */
struct ends {
	size_t keys[KEYS_ENCTYPES_MAX];
	size_t scram;
};

static int
add_all(struct keys *keys, const struct thread *thread, krb5_salt salt,
    struct slice password, struct buf *store, struct ends *ends,
    const char **why)
{
	for (size_t i = 0; i < keys->enctype_count; i++) {
		if (add_key(thread, keys->enctypes[i], salt, password, store) <
		    0) {
			*why = "a key cannot be made of the password";
			return -1;
		}
		ends->keys[i] = store->size;
	}
	if (keys->scram > 0 &&
	    scram_make(store, password, keys->scram, why) < 0)
		return -1;
	ends->scram = store->size;
	return 0;
}

int
keys_make(struct keys *keys, struct slice principal, struct slice uid,
    struct slice password, struct keyset *set, struct buf *store,
    const char **why)
{
	struct thread *thread = thread_get(keys);
	struct ends ends;
	krb5_salt salt;
	size_t from = store->size;
	int result;

	if (!thread) {
		*why = "the master key cannot be read";
		return -1;
	}
	if (default_salt(keys, thread->context, principal, uid, &salt) < 0) {
		*why = "account has no name that makes a principal";
		return -1;
	}
	result = add_all(keys, thread, salt, password, store, &ends, why);
	krb5_free_salt(thread->context, salt);
	if (result < 0)
		return -1;
	set->key_count = keys->enctype_count;
	for (size_t i = 0; i < set->key_count; i++) {
		set->keys[i] =
		    slice_of(store->data + from, ends.keys[i] - from);
		from = ends.keys[i];
	}
	set->scram = slice_of(store->data + from, ends.scram - from);
	return 0;
}

int
keys_make_one(struct keys *keys, struct slice password, struct buf *out)
{
	struct thread *thread = thread_get(keys);
	char octets[ONE_SALT_SIZE];
	krb5_salt salt = { .salttype = KRB5_PW_SALT };

	if (!thread)
		return -1;
	keys_random(octets, sizeof(octets));
	salt.saltvalue = data_of(slice_of(octets, sizeof(octets)));
	return add_key(thread, keys->enctypes[0], salt, password, out);
}

/* ---- checking ---- */

/* Iterations, four octets, are all that an enctype is ever told besides. */
static bool
is_bounded(const Salt *salt)
{
	const unsigned char *octets;
	uint32_t iterations;

	if (!salt)
		return true;
	if (salt->salt.length > SALT_SIZE_MAX)
		return false;
	if (!salt->opaque || salt->opaque->length == 0)
		return true;
	if (salt->opaque->length != 4)
		return false;
	octets = salt->opaque->data;
	iterations = (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 |
		     (uint32_t)octets[2] << 8 | octets[3];
	return iterations > 0 && iterations <= ITERATIONS_BOUND;
}

static int
derive(const struct keys *keys, struct thread *thread, const Key *key,
    struct slice principal, struct slice uid, struct slice password,
    krb5_keyblock *made)
{
	krb5_data opaque = { 0 };
	krb5_error_code code;
	krb5_salt salt;

	if (!is_bounded(key->salt))
		return -1;
	if (key->salt) {
		salt.salttype = (krb5_salttype)key->salt->type;
		salt.saltvalue = key->salt->salt;
		if (key->salt->opaque)
			opaque = *key->salt->opaque;
	} else if (default_salt(keys, thread->context, principal, uid, &salt) <
		   0) {
		return -1;
	}
	thread->derived++;
	code = krb5_string_to_key_data_salt_opaque(thread->context,
	    key->key.keytype, data_of(password), salt, opaque, made);
	if (!key->salt)
		krb5_free_salt(thread->context, salt);
	return code == 0 ? 0 : -1;
}

static enum keys_verdict
compare(const krb5_keyblock *a, const krb5_keyblock *b)
{
	return slice_equal_secret(
		   slice_of(a->keyvalue.data, a->keyvalue.length),
		   slice_of(b->keyvalue.data, b->keyvalue.length))
		   ? KEYS_RIGHT
		   : KEYS_WRONG;
}

enum keys_verdict
keys_check_one(struct keys *keys, struct slice der, struct slice principal,
    struct slice uid, struct slice password)
{
	struct thread *thread = thread_get(keys);
	enum keys_verdict verdict = KEYS_UNUSABLE;
	krb5_keyblock made;
	size_t used;
	Key key;

	if (!thread || decode_Key((const unsigned char *)der.data, der.size,
			   &key, &used) != 0)
		return KEYS_UNUSABLE;
	if (key.mkvno &&
	    (!thread->master || hdb_unseal_key_mkey(thread->context, &key,
				    thread->master) != 0))
		goto done;
	if (krb5_enctype_valid(thread->context, key.key.keytype) != 0 ||
	    derive(keys, thread, &key, principal, uid, password, &made) < 0)
		goto done;
	verdict = compare(&made, &key.key);
	krb5_free_keyblock_contents(thread->context, &made);
done:
	if (key.key.keyvalue.length > 0)
		explicit_bzero(key.key.keyvalue.data, key.key.keyvalue.length);
	free_Key(&key);
	return verdict;
}

enum keys_verdict
keys_check(struct keys *keys, const struct keyset *set, struct slice principal,
    struct slice uid, struct slice password)
{
	enum keys_verdict verdict = KEYS_UNUSABLE;
	struct buf der = buf_bounded(KEYSET_KEY_MAX);

	for (size_t i = 0; i < set->key_count && verdict == KEYS_UNUSABLE;
	     i++) {
		buf_clear(&der);
		if (keyset_key(set, i, &der) == 0)
			verdict = keys_check_one(
			    keys, buf_slice(&der), principal, uid, password);
	}
	buf_wipe(&der);
	return verdict;
}

uint64_t
keys_derived(struct keys *keys)
{
	struct thread *thread = thread_get(keys);

	return thread ? thread->derived : 0;
}

void
keys_pretend(struct keys *keys, struct slice password)
{
	struct thread *thread = thread_get(keys);
	const Key key = { .key = { .keytype = keys->enctypes[0] } };
	krb5_keyblock made;

	if (thread && derive(keys, thread, &key, slice_from(""),
			  slice_from("nobody"), password, &made) == 0)
		krb5_free_keyblock_contents(thread->context, &made);
}

/* ---- digests ---- */

void
keys_digest(struct slice key, const struct slice *parts, size_t count,
    unsigned char digest[KEYS_DIGEST_SIZE])
{
	unsigned size = KEYS_DIGEST_SIZE;
	HMAC_CTX context;

	HMAC_CTX_init(&context);
	(void)HMAC_Init_ex(&context, key.data, key.size, EVP_sha256(), NULL);
	for (size_t i = 0; i < count; i++) {
		HMAC_Update(&context, &parts[i].size, sizeof(parts[i].size));
		HMAC_Update(&context, parts[i].data, parts[i].size);
	}
	HMAC_Final(&context, digest, &size);
	HMAC_CTX_cleanup(&context);
}

void
keys_random(void *octets, size_t size)
{
	krb5_generate_random_block(octets, size);
}
