#include "proxy/lmtp_parse.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "lmtp";

/* The end of a message is where it is, in whatever pieces it comes. */
static void
find_end(struct slice data)
{
	struct lmtp_end whole = { 0 }, pieces = { 0 };
	bool done = false, done_too = false;
	size_t size = lmtp_find_end(&whole, data, &done), taken = 0;

	while (taken < data.size && !done_too)
		taken += lmtp_find_end(&pieces,
		    slice_first(slice_from_offset(data, taken), 1), &done_too);
	fuzz_require(done == done_too && size == taken, "one end");
	fuzz_require(whole.bare == pieces.bare, "one opinion of its octets");
	fuzz_require(!done || slice_is(slice_from_offset(
					   slice_first(data, size), size - 3),
				  ".\r\n"),
	    "the end is a dot");
}

static void
take_path(struct slice text)
{
	struct buf plain = buf_bounded(4096), again = buf_bounded(8192);
	struct slice rest = text, path, address;

	if (lmtp_take_path(&rest, "TO:", &path, &address)) {
		fuzz_require(path.size >= 2 && path.data[0] == '<' &&
				 path.data[path.size - 1] == '>',
		    "a path has its brackets");
		if (lmtp_unquote(&plain, address) == 0)
			(void)lmtp_add_path(&again, buf_slice(&plain), '+',
			    slice_from("detail"));
	}
	buf_free(&plain);
	buf_free(&again);
}

static void
take_replies(struct slice text)
{
	struct lmtp_reply reply;

	while (lmtp_take_reply(&text, 512, &reply) == LMTP_REPLY_DONE) {
		fuzz_require(reply.code >= 200 && reply.code <= 599, "a code");
		fuzz_require(reply.text.size <= 512, "a bounded reply");
		(void)lmtp_reply_offers(reply.text, "PIPELINING");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);

	find_end(text);
	take_path(text);
	take_replies(text);
	return 0;
}
