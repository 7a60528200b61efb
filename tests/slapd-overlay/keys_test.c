#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <krb5.h>

#include <hdb.h>

#include "lib/base64.h"
#include "slapd-overlay/keys.h"
#include "slapd-overlay/scram.h"

#define ALL                                                                    \
	"aes256-cts-hmac-sha1-96 aes128-cts-hmac-sha1-96 "                     \
	"aes256-cts-hmac-sha384-192 arcfour-hmac-md5"

/* Nothing but MD4 of the password, for where the derivation is not the matter.
 */
#define CHEAP "arcfour-hmac-md5"

static char master[] = "/tmp/postcell-keys-XXXXXX";

static int
make_master(void **state)
{
	krb5_context context;
	krb5_keyblock block;
	hdb_master_key key;
	int file = mkstemp(master);

	(void)state;
	assert_true(file >= 0);
	(void)close(file);
	/* Heimdal appends to what is there. */
	(void)unlink(master);
	assert_int_equal(krb5_init_context(&context), 0);
	assert_int_equal(krb5_generate_random_keyblock(
			     context, ETYPE_AES256_CTS_HMAC_SHA1_96, &block),
	    0);
	assert_int_equal(
	    hdb_process_master_key(context, 1, &block, 0, &key), 0);
	assert_int_equal(hdb_write_master_key(context, master, key), 0);
	hdb_free_master_key(context, key);
	krb5_free_keyblock_contents(context, &block);
	krb5_free_context(context);
	return 0;
}

static int
remove_master(void **state)
{
	(void)state;
	return unlink(master);
}

static struct keys *
open_keys(const char *file, const char *enctypes, uint32_t scram)
{
	struct keys_settings settings = { "CELL.TEST", file, enctypes, scram };
	char *why;
	struct keys *keys = keys_new(&settings, &why);

	if (!keys)
		fail_msg("%s", why);
	return keys;
}

static void
make_set(struct keys *keys, const char *uid, const char *password,
    struct keyset *set, struct buf *store)
{
	const char *why;

	*set = (struct keyset){ .kvno = 1 };
	if (keys_make(keys, slice_from(""), slice_from(uid),
		slice_from(password), set, store, &why) < 0)
		fail_msg("%s", why);
}

static enum keys_verdict
check(struct keys *keys, const struct keyset *set, const char *password)
{
	return keys_check(keys, set, slice_from(""), slice_from("anna"),
	    slice_from(password));
}

static void
test_round_trip(void **state)
{
	struct keys *keys = open_keys(master, ALL, 0);
	struct buf store = buf_bounded(8192), text = buf_bounded(8192);
	struct keyset set, parsed;
	const char *why;

	(void)state;
	make_set(keys, "anna", "correct horse", &set, &store);
	assert_int_equal(set.key_count, 4);
	assert_int_equal(set.scram.size, 0);
	assert_int_equal(keyset_format(&text, &set), 0);
	assert_int_equal(keyset_parse(buf_slice(&text), &parsed, &why), 0);
	assert_int_equal(check(keys, &parsed, "correct horse"), KEYS_RIGHT);
	assert_int_equal(check(keys, &parsed, "correct horsf"), KEYS_WRONG);
	assert_int_equal(check(keys, &parsed, ""), KEYS_WRONG);
	/* Each key by itself, under another name: the salt is in it. */
	for (size_t i = 0; i < 4; i++) {
		struct keyset one = { .keys[0] = set.keys[i], .key_count = 1 };

		assert_int_equal(
		    keys_check(keys, &one, slice_from("b@X"), slice_from("c"),
			slice_from("correct horse")),
		    KEYS_RIGHT);
		assert_int_equal(check(keys, &one, "wrong"), KEYS_WRONG);
	}
	buf_free(&store);
	buf_free(&text);
	keys_free(&keys);
	assert_null(keys);
}

static void
test_what_is_corrupt_is_skipped(void **state)
{
	struct keys *keys =
	    open_keys(master, CHEAP " aes128-cts-hmac-sha1-96", 0);
	struct buf store = buf_bounded(8192);
	struct keyset set, broken;

	(void)state;
	make_set(keys, "anna", "secret", &set, &store);
	broken = set;
	broken.keys[0] = slice_from("AAAA");
	assert_int_equal(check(keys, &broken, "secret"), KEYS_RIGHT);
	assert_int_equal(check(keys, &broken, "wrong"), KEYS_WRONG);
	broken.key_count = 1;
	assert_int_equal(check(keys, &broken, "secret"), KEYS_UNUSABLE);
	buf_free(&store);
	keys_free(&keys);
}

static void
test_sealed_keys_need_the_master_key(void **state)
{
	struct keys *keys = open_keys(master, CHEAP, 0);
	struct keys *without = open_keys(NULL, CHEAP, 0);
	struct buf store = buf_bounded(8192);
	struct keyset set;

	(void)state;
	make_set(keys, "anna", "secret", &set, &store);
	assert_int_equal(check(without, &set, "secret"), KEYS_UNUSABLE);
	buf_clear(&store);
	make_set(without, "anna", "secret", &set, &store);
	assert_int_equal(check(keys, &set, "secret"), KEYS_RIGHT);
	buf_free(&store);
	keys_free(&keys);
	keys_free(&without);
}

/* A key of DER with this salt and this opaque part. */
static void
make_key(struct buf *out, Salt *salt)
{
	unsigned char octets[32] = { 1 }, der[512];
	Key key = { .key = { ETYPE_AES256_CTS_HMAC_SHA1_96, { 32, octets } },
		.salt = salt };
	size_t size = length_Key(&key), used;

	assert_true(size <= sizeof(der));
	assert_int_equal(encode_Key(der + size - 1, size, &key, &used), 0);
	assert_int_equal(buf_add(out, der, size), 0);
}

static void
test_absurd_iterations_are_refused(void **state)
{
	static const struct {
		unsigned char octets[5];
		size_t size;
		enum keys_verdict verdict;
	} rows[] = {
		{ { 0, 0, 16, 0 }, 4, KEYS_WRONG },
		{ { 0xff, 0xff, 0xff, 0xff }, 4, KEYS_UNUSABLE },
		{ { 0, 0, 0, 0 }, 4, KEYS_UNUSABLE },
		{ { 1, 0, 0, 0, 0 }, 5, KEYS_UNUSABLE },
	};
	struct keys *keys = open_keys(NULL, CHEAP, 0);
	char text[] = "salt";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned char octets[5];
		heim_octet_string opaque = { rows[i].size, octets };
		Salt salt = { KRB5_PW_SALT, { 4, text }, &opaque };
		struct buf der = buf_bounded(1000);

		memcpy(octets, rows[i].octets, sizeof(octets));
		make_key(&der, &salt);
		assert_int_equal(
		    keys_check_one(keys, buf_slice(&der), slice_from(""),
			slice_from("anna"), slice_from("secret")),
		    rows[i].verdict);
		buf_free(&der);
	}
	keys_free(&keys);
}

static void
test_keys_without_salt_have_the_principals(void **state)
{
	struct keys *keys = open_keys(NULL, "aes256-cts-hmac-sha1-96", 0);
	struct buf der = buf_bounded(1000);

	(void)state;
	make_key(&der, NULL);
	assert_int_equal(keys_check_one(keys, buf_slice(&der), slice_from(""),
			     slice_from("anna"), slice_from("secret")),
	    KEYS_WRONG);
	assert_int_equal(keys_check_one(keys, buf_slice(&der), slice_from(""),
			     slice_from(""), slice_from("secret")),
	    KEYS_UNUSABLE);
	buf_free(&der);
	keys_free(&keys);
}

static void
test_settings_that_fail(void **state)
{
	static const struct keys_settings rows[] = {
		{ "R", "/nonexistent/m-key", ALL, 0 },
		{ "R", NULL, "", 0 },
		{ "R", NULL, "aes256-cts-hmac-sha1-96 rot13", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *why = NULL;

		assert_null(keys_new(&rows[i], &why));
		assert_non_null(why);
		free(why);
	}
}

static void
test_one_key_by_itself(void **state)
{
	struct keys *keys = open_keys(master, ALL, 0);
	struct buf text = buf_bounded(1000), der = buf_bounded(1000);

	(void)state;
	assert_int_equal(keys_make_one(keys, slice_from("secret"), &text), 0);
	assert_int_equal(base64_decode(&der, buf_slice(&text)), 0);
	assert_int_equal(keys_check_one(keys, buf_slice(&der), slice_from(""),
			     slice_from(""), slice_from("secret")),
	    KEYS_RIGHT);
	assert_int_equal(keys_check_one(keys, buf_slice(&der), slice_from(""),
			     slice_from(""), slice_from("Secret")),
	    KEYS_WRONG);
	buf_free(&text);
	buf_free(&der);
	keys_free(&keys);
}

static void
test_scram(void **state)
{
	struct keys *keys = open_keys(master, CHEAP, 4096);
	struct buf store = buf_bounded(8192);
	struct keyset set;
	struct slice rest, part;
	size_t parts = 0;
	const char *why = NULL;

	(void)state;
	make_set(keys, "anna", "I\xc2\xadX", &set, &store);
	rest = set.scram;
	while (slice_next_word(&rest, ':', &part))
		parts++;
	assert_int_equal(parts, 4);
	assert_true(slice_starts_nocase(set.scram, "4096:"));
	buf_clear(&store);
	/* U+FDFA alone becomes 18 characters. */
	assert_int_equal(
	    scram_make(&store, slice_from("\xef\xb7\xba"), 4096, &why), 0);
	buf_clear(&store);
	assert_int_equal(
	    scram_make(&store, slice_from("a\tb"), 4096, &why), -1);
	assert_non_null(why);
	buf_free(&store);
	keys_free(&keys);
}

static void
test_digests_tell_parts_apart(void **state)
{
	const struct slice one[] = { slice_from("ab"), slice_from("c") };
	const struct slice two[] = { slice_from("a"), slice_from("bc") };
	unsigned char a[KEYS_DIGEST_SIZE], b[KEYS_DIGEST_SIZE];

	(void)state;
	keys_digest(slice_from("k"), one, 2, a);
	keys_digest(slice_from("k"), one, 2, b);
	assert_memory_equal(a, b, sizeof(a));
	keys_digest(slice_from("k"), two, 2, b);
	assert_memory_not_equal(a, b, sizeof(a));
	keys_digest(slice_from("l"), one, 2, b);
	assert_memory_not_equal(a, b, sizeof(a));
}

static void
test_work_is_counted(void **state)
{
	struct keys *keys =
	    open_keys(NULL, "aes128-cts-hmac-sha1-96 " CHEAP, 0);
	struct buf store = buf_bounded(8192);
	struct keyset set;
	uint64_t before;

	(void)state;
	make_set(keys, "anna", "secret", &set, &store);
	before = keys_derived(keys);
	assert_int_equal(check(keys, &set, "guess"), KEYS_WRONG);
	assert_int_equal(keys_derived(keys), before + 1);
	/* The same work, for who is not there. */
	keys_pretend(keys, slice_from("guess"));
	assert_int_equal(keys_derived(keys), before + 2);
	set.key_count = 1;
	set.keys[0] = slice_from("AAAA");
	assert_int_equal(check(keys, &set, "guess"), KEYS_UNUSABLE);
	assert_int_equal(keys_derived(keys), before + 2);
	buf_free(&store);
	keys_free(&keys);
}

struct load {
	struct keys *keys;
	const struct keyset *set; /* a cheap one */
	const struct keyset *dear;
	int wrong;
};

static void
check_both(struct load *load, const struct keyset *set)
{
	load->wrong += check(load->keys, set, "secret") != KEYS_RIGHT;
	load->wrong += check(load->keys, set, "guess") != KEYS_WRONG;
}

static void *
check_often(void *data)
{
	struct load *load = data;

	for (int i = 0; i < 500; i++)
		check_both(load, load->set);
	check_both(load, load->dear);
	return NULL;
}

static void
test_threads(void **state)
{
	struct keys *keys =
	    open_keys(master, CHEAP " aes128-cts-hmac-sha1-96", 0);
	struct buf store = buf_bounded(8192);
	struct load loads[8];
	pthread_t threads[8];
	struct keyset set, dear;

	(void)state;
	make_set(keys, "anna", "secret", &set, &store);
	dear = set;
	dear.keys[0] = set.keys[1];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		loads[i] = (struct load){ keys, &set, &dear, 0 };
		assert_int_equal(
		    pthread_create(&threads[i], NULL, check_often, &loads[i]),
		    0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		(void)pthread_join(threads[i], NULL);
		assert_int_equal(loads[i].wrong, 0);
	}
	buf_free(&store);
	keys_free(&keys);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_what_is_corrupt_is_skipped),
		cmocka_unit_test(test_sealed_keys_need_the_master_key),
		cmocka_unit_test(test_absurd_iterations_are_refused),
		cmocka_unit_test(test_keys_without_salt_have_the_principals),
		cmocka_unit_test(test_settings_that_fail),
		cmocka_unit_test(test_one_key_by_itself),
		cmocka_unit_test(test_scram),
		cmocka_unit_test(test_digests_tell_parts_apart),
		cmocka_unit_test(test_work_is_counted),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, make_master, remove_master);
}
