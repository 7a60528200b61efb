#include "proxy/proxy_header.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "proxy_header";

/*
 * A header is what it is, in whatever pieces it comes and whatever comes behind
 * it; while it is not complete all of the input belongs to it.
 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = slice_of(data, size);
	struct proxy_header header, part;
	size_t taken = 0, part_taken = 0;
	const char *why = NULL;
	enum proxy_header_result result =
	    proxy_header_parse(input, &header, &taken, &why);

	if (result == PROXY_HEADER_BAD)
		fuzz_require(why != NULL, "a reason");
	if (result != PROXY_HEADER_DONE)
		return 0;
	fuzz_require(
	    taken >= 15 && taken <= size && taken <= PROXY_HEADER_SIZE_MAX,
	    "a header has a size");
	for (size_t i = 0; i < taken; i++)
		fuzz_require(proxy_header_parse(slice_first(input, i), &part,
				 &part_taken, &why) == PROXY_HEADER_MORE,
		    "a part is no header, and no fault");
	fuzz_require(proxy_header_parse(slice_first(input, taken), &part,
			 &part_taken, &why) == PROXY_HEADER_DONE &&
			 part_taken == taken && part.proxied == header.proxied,
	    "what comes behind does not matter");
	return 0;
}
