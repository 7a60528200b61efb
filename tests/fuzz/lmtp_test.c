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

/*
 * Counted octets become lines with one end, which is theirs and the last, and
 * give the octets back, whatever they are and in whatever pieces they come.
 */
static void
stuff(struct slice data)
{
	struct buf lines = buf_bounded(2 * data.size + 8);
	struct buf again = buf_bounded(2 * data.size + 8);
	struct lmtp_stuffing stuffing = { 0 };
	struct lmtp_end end = { 0 }, watched = { 0 };
	size_t cut =
	    data.size > 0 ? (unsigned char)data.data[0] % data.size : 0;
	struct slice rest;
	bool done, starts = true;

	lmtp_stuff(&stuffing, slice_first(data, cut), &lines);
	lmtp_stuff(&stuffing, slice_from_offset(data, cut), &lines);
	lmtp_watch(&watched, slice_first(data, cut));
	lmtp_watch(&watched, slice_from_offset(data, cut));
	if (data.size > 0 && watched.last != '\n')
		lmtp_watch(&watched, slice_from("\r\n"));
	lmtp_end_stuffing(&stuffing, &lines);
	fuzz_require(
	    lmtp_find_end(&end, buf_slice(&lines), &done) == lines.size && done,
	    "one end, the last");
	fuzz_require(end.bare == watched.bare, "one opinion of its octets");
	fuzz_require(!end.loose || watched.loose, "nothing seems an end");
	rest = slice_first(buf_slice(&lines), lines.size - 3);
	for (size_t i = 0; i < rest.size; i++) {
		if (!(starts && rest.data[i] == '.'))
			buf_add_char(&again, rest.data[i]);
		else if (i + 1 == rest.size || rest.data[i + 1] != '.')
			fuzz_require(false, "a line begins with one dot");
		else
			buf_add_char(&again, rest.data[i++]);
		starts =
		    i > 0 && rest.data[i] == '\n' && rest.data[i - 1] == '\r';
	}
	fuzz_require(
	    slice_equal(slice_first(buf_slice(&again), data.size), data),
	    "the octets come back");
	buf_free(&lines);
	buf_free(&again);
}

static void
take_arguments(struct slice text)
{
	uint64_t size = 0;
	struct slice value;
	bool last;

	if (lmtp_take_chunk(text, &size, &last))
		fuzz_require(size <= LMTP_CHUNK_SIZE_MAX, "a size");
	if (lmtp_find_parameter(text, "SIZE", &value))
		fuzz_require(value.size < text.size, "a value");
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
	stuff(text);
	take_arguments(text);
	take_path(text);
	take_replies(text);
	return 0;
}
