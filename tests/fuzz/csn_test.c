#include "replica/csn.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "csn";

/* A vector that was understood comes back as it was written. */
static void
write_and_read(const struct csn_vector *vector)
{
	static struct csn_vector again;
	struct buf text = buf_bounded(CSN_COOKIE_SIZE);

	csn_vector_clear(&again);
	fuzz_require(csn_cookie_format(&text, vector) == 0, "a cookie fits");
	fuzz_require(
	    csn_cookie_parse(buf_slice(&text), &again) == 0, "and is one");
	fuzz_require(csn_vector_equal(vector, &again), "of the same vector");
	buf_free(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct csn_vector vector, newer;
	struct slice text = slice_of(data, size);

	csn_vector_clear(&vector);
	(void)csn_cookie_parse(text, &vector);
	fuzz_require(vector.count <= CSN_VECTOR_MAX, "a bounded vector");
	for (size_t i = 0; i < vector.count; i++) {
		struct slice csn = csn_vector_get(&vector, i);

		fuzz_require(csn_is_valid(csn), "only CSNs are kept");
		fuzz_require(csn_vector_covers(&vector, csn),
		    "a vector covers what it holds");
		(void)csn_time_us(csn);
	}
	write_and_read(&vector);
	/* More of them never make it older. */
	newer = vector;
	(void)csn_vector_add(&newer, slice_first(text, CSN_SIZE));
	fuzz_require(
	    csn_vector_covers_all(&newer, &vector), "vectors only grow");
	return 0;
}
