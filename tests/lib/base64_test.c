#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include <openssl/evp.h>

#include "lib/base64.h"

/* RFC 4648 section 10, and octets at the ends of the alphabet. */
static const struct {
	const char *plain, *coded;
} vectors[] = {
	{ "", "" },
	{ "f", "Zg==" },
	{ "fo", "Zm8=" },
	{ "foo", "Zm9v" },
	{ "foob", "Zm9vYg==" },
	{ "fooba", "Zm9vYmE=" },
	{ "foobar", "Zm9vYmFy" },
	{ "\xff\xef\xbe", "/+++" },
	{ "\xfb\xff\xbf", "+/+/" },
	{ "\xff\xff\xff", "////" },
};

static void
test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		struct buf buf = buf_bounded(100);

		assert_int_equal(
		    base64_encode(&buf, slice_from(vectors[i].plain)), 0);
		assert_string_equal(buf_string(&buf), vectors[i].coded);
		buf_clear(&buf);
		assert_int_equal(
		    base64_decode(&buf, slice_from(vectors[i].coded)), 0);
		assert_string_equal(buf_string(&buf), vectors[i].plain);
		buf_free(&buf);
	}
}

/* Every length, octets of every value, beside another implementation; the
 * bound of the decoded form is exact. */
static void
test_every_length(void **state)
{
	unsigned char plain[300], theirs[500];

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (unsigned char)(i * 37 + i / 7);
	for (size_t size = 0; size <= sizeof(plain); size++) {
		struct buf coded = buf_bounded(500), back = buf_bounded(size);
		struct slice data = slice_of(plain, size);
		int count = EVP_EncodeBlock(theirs, plain, (int)size);

		assert_int_equal(base64_encode(&coded, data), 0);
		assert_true(slice_equal(
		    buf_slice(&coded), slice_of(theirs, (size_t)count)));
		assert_int_equal(base64_decode(&back, buf_slice(&coded)), 0);
		assert_true(slice_equal(buf_slice(&back), data));
		buf_free(&coded);
		buf_free(&back);
	}
}

static void
test_malformed(void **state)
{
	static const char *const texts[] = { "Z", "Zg",
		"Zg=", "Z===", "====", "=", "==", "=g==", "Zg==Zg==", "Zm=v",
		"Zm9v=", "Zm9vZ", " Zg==", "Zg== ", "Zg==\n", "Z g=", "Zm8\n",
		"Zh==", "Zm9=", "Zm9-", "Zm9_", "Zm9*", "Zm9\xff", "Zm9\x80",
		"Zm9@", "Zm9[", "Zm9`", "Zm9{", "Zm9.", "Zm9:", "Zm9,",
		"Zm9A=AA" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct buf buf = buf_bounded(100);

		buf_add_string(&buf, "kept");
		assert_int_equal(base64_decode(&buf, slice_from(texts[i])), -1);
		assert_string_equal(buf_string(&buf), "kept");
		buf_free(&buf);
	}
}

/* Of all octets in one place, those of the alphabet alone are taken. */
static void
test_alphabet(void **state)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	(void)state;
	for (unsigned octet = 0; octet < 256; octet++) {
		char text[4] = { (char)octet, 'A', 'A', 'A' };
		struct buf buf = buf_bounded(3);
		const char *at =
		    memchr(alphabet, (int)octet, sizeof(alphabet) - 1);
		int result = base64_decode(&buf, slice_of(text, 4));

		assert_int_equal(result, at ? 0 : -1);
		if (at)
			assert_int_equal(
			    (unsigned char)buf.data[0], (at - alphabet) << 2);
		buf_free(&buf);
	}
}

static void
test_nul_inside(void **state)
{
	struct buf buf = buf_bounded(100);

	(void)state;
	assert_int_equal(base64_decode(&buf, slice_of("Zm\0v", 4)), -1);
	assert_int_equal(base64_decode(&buf, slice_from("AGEAYg==")), 0);
	assert_true(slice_equal(buf_slice(&buf), slice_of("\0a\0b", 4)));
	buf_free(&buf);
}

static void
test_bounds(void **state)
{
	struct buf buf = buf_bounded(3);

	(void)state;
	assert_int_equal(base64_encode(&buf, slice_from("f")), -1);
	buf_clear(&buf);
	assert_int_equal(base64_decode(&buf, slice_from("Zm9vYg==")), -1);
	assert_int_equal(buf.size, 0);
	buf_free(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_alphabet),
		cmocka_unit_test(test_nul_inside),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
