#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "zones/web_request.h"

const char fuzz_name[] = "web_request";

static bool
lies_in(struct slice part, struct slice whole)
{
	return part.size == 0 ||
	       (part.data >= whole.data &&
		   part.data + part.size <= whole.data + whole.size);
}

/* A request is there at one octet, and none of it lies behind that one. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = slice_of(data, size);
	struct web_request request;
	enum web_request_result whole = web_request_parse(&request, input);

	for (size_t seen = 0; seen <= size; seen++) {
		struct slice part = slice_first(input, seen);
		enum web_request_result result =
		    web_request_parse(&request, part);

		if (result == WEB_REQUEST_MORE)
			continue;
		fuzz_require(result == whole, "more octets change nothing");
		break;
	}
	if (whole != WEB_REQUEST_DONE)
		return 0;
	fuzz_require(request.path.size > 0 && request.path.data[0] == '/',
	    "a path begins with a slash");
	fuzz_require(lies_in(request.host, input) &&
			 lies_in(request.query, input) &&
			 lies_in(web_request_field(&request, "emailaddress"),
			     request.query),
	    "parts are parts");
	return 0;
}
