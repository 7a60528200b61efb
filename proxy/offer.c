#include "proxy/offer.h"

#include "proxy/sasl.h"

/* How the parameters of a keyword are joined. */
enum join {
	JOIN_NONE,  /* it has none worth passing on */
	JOIN_EQUAL, /* all must say the same */
	JOIN_WORDS, /* those that all have; none left: not offered */
	JOIN_FLAGS, /* those that all have, or none */
	JOIN_LOWEST /* a number; 0 or none: no bound is said */
};

static const struct offer_row {
	const char *keyword;
	enum service_kind service;
	enum join join;
} rows[] = {
	{ "TOP", SERVICE_POP3, JOIN_NONE },
	{ "UIDL", SERVICE_POP3, JOIN_NONE },
	{ "PIPELINING", SERVICE_POP3, JOIN_NONE },
	{ "UTF8", SERVICE_POP3, JOIN_FLAGS },
	{ "LANG", SERVICE_POP3, JOIN_NONE },
	{ "SIZE", SERVICE_SUBMISSION, JOIN_LOWEST },
	{ "PIPELINING", SERVICE_SUBMISSION, JOIN_NONE },
	{ "8BITMIME", SERVICE_SUBMISSION, JOIN_NONE },
	{ "SMTPUTF8", SERVICE_SUBMISSION, JOIN_NONE },
	{ "CHUNKING", SERVICE_SUBMISSION, JOIN_NONE },
	{ "BINARYMIME", SERVICE_SUBMISSION, JOIN_NONE },
	{ "DSN", SERVICE_SUBMISSION, JOIN_NONE },
	{ "ENHANCEDSTATUSCODES", SERVICE_SUBMISSION, JOIN_NONE },
	{ "BURL", SERVICE_SUBMISSION, JOIN_FLAGS },
	{ "SIEVE", SERVICE_SIEVE, JOIN_WORDS },
	{ "NOTIFY", SERVICE_SIEVE, JOIN_WORDS },
	{ "EXTLISTS", SERVICE_SIEVE, JOIN_WORDS },
	{ "MAXREDIRECTS", SERVICE_SIEVE, JOIN_LOWEST },
	{ "LANGUAGE", SERVICE_SIEVE, JOIN_EQUAL },
};

void
offers_init(struct offers *offers)
{
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
		offers->lines[i] = buf_bounded(OFFER_SIZE_MAX);
}

void
offers_free(struct offers *offers)
{
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
		buf_free(&offers->lines[i]);
}

bool
offer_is_used(enum service_kind kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].service == kind)
			return true;
	return false;
}

static const struct offer_row *
find_row(enum service_kind kind, struct slice keyword)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].service == kind &&
		    slice_is_nocase(keyword, rows[i].keyword))
			return &rows[i];
	return NULL;
}

bool
offer_next(struct slice *lines, struct slice *keyword, struct slice *words)
{
	struct slice line;
	size_t space;

	if (!slice_next_word(lines, '\n', &line))
		return false;
	space = slice_find(line, ' ');
	*keyword = slice_first(line, space);
	*words = space == SIZE_MAX
		     ? slice_from("")
		     : slice_trim(slice_from_offset(line, space + 1));
	return true;
}

bool
offer_find(struct slice lines, const char *keyword, struct slice *words)
{
	struct slice word;

	while (offer_next(&lines, &word, words))
		if (slice_is_nocase(word, keyword))
			return true;
	return false;
}

unsigned
offer_mechanisms(struct slice lines)
{
	struct slice keyword, words, word;
	enum sasl_mechanism mechanism;
	unsigned mechanisms = 0;

	while (offer_next(&lines, &keyword, &words)) {
		if (!slice_is_nocase(keyword, "AUTH") &&
		    !slice_is_nocase(keyword, "SASL"))
			continue;
		while (slice_next_word(&words, ' ', &word))
			if (sasl_mechanism_parse(word, &mechanism) == 0)
				mechanisms |= 1U << mechanism;
	}
	return mechanisms;
}

static bool
has_word(struct slice words, struct slice wanted)
{
	struct slice word;

	while (slice_next_word(&words, ' ', &word))
		if (slice_equal_nocase(word, wanted))
			return true;
	return false;
}

/* Adds " WORD" for each word of both; false when there was none. */
static bool
add_common_words(struct buf *out, struct slice a, struct slice b)
{
	struct slice word;
	bool any = false;

	while (slice_next_word(&a, ' ', &word)) {
		if (!has_word(b, word))
			continue;
		buf_add_char(out, ' ');
		buf_add_slice(out, word);
		any = true;
	}
	return any;
}

static void
add_lowest(struct buf *out, struct slice a, struct slice b)
{
	uint64_t x = 0, y = 0;

	if (slice_to_uint(a, UINT64_MAX, &x) < 0)
		x = 0;
	if (slice_to_uint(b, UINT64_MAX, &y) < 0)
		y = 0;
	if (x == 0 || (y != 0 && y < x))
		x = y;
	if (x != 0)
		buf_printf(out, " %llu", (unsigned long long)x);
}

/* Adds the parameters that a and b have in common; false when the keyword
 * cannot be offered. */
static bool
add_parameters(struct buf *out, enum join join, struct slice a, struct slice b)
{
	switch (join) {
	case JOIN_NONE:
		return true;
	case JOIN_EQUAL:
		if (!slice_equal_nocase(a, b))
			return false;
		if (a.size > 0)
			buf_add_char(out, ' ');
		buf_add_slice(out, a);
		return true;
	case JOIN_WORDS:
		return add_common_words(out, a, b);
	case JOIN_FLAGS:
		add_common_words(out, a, b);
		return true;
	case JOIN_LOWEST:
		add_lowest(out, a, b);
		return true;
	}
	return false;
}

static void
add_joined(struct buf *out, enum service_kind kind, struct slice keyword,
    struct slice words, struct slice other, bool first)
{
	const struct offer_row *row = find_row(kind, keyword);
	struct buf parameters = buf_bounded(OFFER_SIZE_MAX);

	if (first)
		other = words;
	if ((first || offer_find(other, row ? row->keyword : "", &other)) &&
	    row && add_parameters(&parameters, row->join, words, other) &&
	    slice_is_printable(buf_slice(&parameters))) {
		buf_add_string(out, row->keyword);
		buf_add_slice(out, buf_slice(&parameters));
		buf_add_char(out, '\n');
		out->failed |= parameters.failed;
	}
	buf_free(&parameters);
}

int
offer_join(
    enum service_kind kind, struct buf *common, struct slice lines, bool first)
{
	struct buf joined = buf_bounded(common->size_max);
	struct slice rest = first ? lines : buf_slice(common);
	struct slice keyword, words;

	while (offer_next(&rest, &keyword, &words))
		add_joined(&joined, kind, keyword, words, lines, first);
	if (joined.failed) {
		buf_free(&joined);
		return -1;
	}
	buf_free(common);
	*common = joined;
	return 0;
}
