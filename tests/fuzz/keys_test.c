/* Keys as an account's entry may hold them, and passwords against them. */
#include "slapd-overlay/keys.h"

#include <stdlib.h>

#include "slapd-overlay/scram.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "keys";

/* What is kept for SCRAM is a part of a value that can be read. */
static void
make_scram(struct slice password)
{
	struct buf out = buf_bounded(KEYSET_SIZE_MAX);
	struct keyset set;
	const char *why = NULL;

	buf_add_string(&out, "20260102030405.000000Z 1 MAA= scram-sha-256=");
	if (scram_make(&out, password, KEYS_ITERATIONS_MIN, &why) < 0)
		fuzz_require(why, "a reason");
	else
		fuzz_require(keyset_parse(buf_slice(&out), &set, &why) == 0,
		    "a key that can be kept");
	buf_free(&out);
}

/* The first line is a password, the second a value, all else DER. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct keys_settings settings = { .realm = "CELL.TEST",
		.enctypes = KEYS_ENCTYPES_DEFAULT };
	static struct keys *keys;
	struct slice rest = slice_of(data, size), password, value;
	struct slice uid = slice_from("u"), nobody = slice_from("");
	struct keyset set;
	const char *why;
	char *fault;

	if (!keys)
		keys = keys_new(&settings, &fault);
	fuzz_require(keys, "keys");
	password = slice_first(rest, slice_find(rest, '\n'));
	rest = slice_from_offset(rest, password.size + 1);
	value = slice_first(rest, slice_find(rest, '\n'));
	rest = slice_from_offset(rest, value.size + 1);
	if (keyset_parse(value, &set, &why) == 0) {
		enum keys_verdict verdict =
		    keys_check(keys, &set, nobody, uid, password);

		fuzz_require(
		    keys_check(keys, &set, nobody, uid, password) == verdict,
		    "the same verdict");
	}
	(void)keys_check_one(keys, rest, nobody, uid, password);
	if (size < 64)
		make_scram(password);
	return 0;
}
