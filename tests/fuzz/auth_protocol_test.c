#include "proxy/auth_protocol.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "auth_protocol";

/* What can be read is what would be written. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice datagram = slice_of(data, size);
	struct buf again = buf_bounded((size_t)AUTH_PROTOCOL_SIZE_MAX * 8);
	struct auth_request request;
	struct auth_answer answer;

	if (auth_request_read(&request, datagram) == 0) {
		auth_request_write(&again, &request);
		fuzz_require(slice_equal(buf_slice(&again), datagram),
		    "a request has one form");
	}
	buf_clear(&again);
	if (auth_answer_read(&answer, datagram) == 0) {
		auth_answer_write(&again, &answer);
		fuzz_require(slice_equal(buf_slice(&again), datagram),
		    "an answer has one form");
	}
	buf_free(&again);
	return 0;
}
