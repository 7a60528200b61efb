#include "lib/base64.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "base64";

/* There is one text for any octets, and no other decodes to them. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf decoded = buf_bounded(1 << 20), text = buf_bounded(1 << 20);

	if (base64_decode(&decoded, slice_of(data, size)) == 0) {
		fuzz_require(
		    base64_encode(&text, buf_slice(&decoded)) == 0 &&
			slice_equal(buf_slice(&text), slice_of(data, size)),
		    "what decodes is what is encoded");
	}
	buf_clear(&text);
	buf_clear(&decoded);
	fuzz_require(base64_encode(&text, slice_of(data, size)) == 0 &&
			 base64_decode(&decoded, buf_slice(&text)) == 0 &&
			 slice_equal(buf_slice(&decoded), slice_of(data, size)),
	    "what is encoded decodes");
	buf_free(&decoded);
	buf_free(&text);
	return 0;
}
