#include "lib/name.h"
#include "lib/timestamp.h"
#include "lib/transition.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "name";

static bool
is_ascii(struct slice text)
{
	for (size_t i = 0; i < text.size; i++)
		if ((unsigned char)text.data[i] > 0x7f)
			return false;
	return true;
}

/* What is brought to its one form stays so, and has no control octet. */
static void
normalise(enum name_kind kind, struct slice name)
{
	struct buf once = buf_bounded((size_t)4 * NAME_SIZE_MAX);
	struct buf twice = buf_bounded((size_t)4 * NAME_SIZE_MAX);
	const char *why = NULL;

	if (name_normalise(&once, kind, name, &why) < 0) {
		fuzz_require(why, "a reason");
	} else {
		fuzz_require(once.size > 0 && once.size <= NAME_SIZE_MAX,
		    "a size within bounds");
		for (size_t i = 0; i < once.size; i++)
			fuzz_require((unsigned char)once.data[i] >= 0x20,
			    "no control octet");
		/* Beyond ASCII the directory's rule does not settle at once:
		 * decomposition may bring forth a capital, which stays one. */
		fuzz_require(
		    !is_ascii(name) ||
			(name_normalise(&twice, kind, buf_slice(&once), &why) ==
				0 &&
			    slice_equal(buf_slice(&once), buf_slice(&twice))),
		    "the form of the form is the form");
	}
	buf_free(&once);
	buf_free(&twice);
}

static void
format(struct slice text)
{
	struct buf out = buf_bounded(1024);
	struct transition transition, again;
	int64_t moment, same;
	const char *why;

	if (timestamp_parse(text, &moment) == 0) {
		fuzz_require(timestamp_format(&out, moment) == 0 &&
				 timestamp_parse(buf_slice(&out), &same) == 0 &&
				 same == moment,
		    "a moment can be written and read again");
	}
	buf_clear(&out);
	if (transition_parse(text, &transition, &why) == 0) {
		fuzz_require(
		    transition_format(&out, &transition) == 0 &&
			transition_parse(buf_slice(&out), &again, &why) == 0 &&
			again.time_us == transition.time_us &&
			again.ramp == transition.ramp &&
			again.state == transition.state &&
			again.weight == transition.weight,
		    "a transition can be written and read again");
	}
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);
	struct buf out = buf_bounded(1 << 20);

	for (unsigned kind = 0; kind < NAME_KIND_COUNT; kind++)
		normalise((enum name_kind)kind, text);
	format(text);
	name_escape_filter(&out, text);
	for (size_t i = 0; i < out.size; i++)
		fuzz_require(out.data[i] != '(' && out.data[i] != ')' &&
				 out.data[i] != '*' && out.data[i] != '\0',
		    "a value of a filter stays one");
	name_escape_dn(&out, text);
	(void)name_is_host(text);
	buf_free(&out);
	return 0;
}
