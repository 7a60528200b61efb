#include "zones/epoch.h"

#include <stdio.h>

#include "lib/timestamp.h"

#define EPOCH_TEXT_MAX 65536

void
epoch_set(struct epoch *epoch, struct slice csns, int64_t time_us)
{
	struct slice word;

	csn_vector_clear(&epoch->csns);
	epoch->time_us = time_us;
	epoch->by[0] = '\0';
	while (slice_next_word(&csns, ' ', &word))
		(void)csn_vector_add(&epoch->csns, word);
}

ldns_rr *
epoch_record(
    const struct epoch *epoch, const ldns_rdf *owner, const char *publisher)
{
	struct buf text = buf_bounded(EPOCH_TEXT_MAX);
	char *name = ldns_rdf2str(owner);
	ldns_rr *rr = NULL;

	buf_printf(
	    &text, "%s %d IN TXT \"v=1\" \"time=", name ? name : "", EPOCH_TTL);
	(void)timestamp_format(&text, epoch->time_us);
	buf_printf(&text, "\" \"by=%.200s\"", publisher);
	for (size_t i = 0; i < epoch->csns.count; i++) {
		buf_add_string(&text, " \"csn=");
		buf_add_slice(&text, csn_vector_get(&epoch->csns, i));
		buf_add_char(&text, '"');
	}
	if (name && !text.failed &&
	    ldns_rr_new_frm_str(&rr, buf_string(&text), 0, NULL, NULL) !=
		LDNS_STATUS_OK)
		rr = NULL;
	LDNS_FREE(name);
	buf_free(&text);
	if (rr)
		ldns_rr2canonical(rr);
	return rr;
}

static struct slice
string_of(const ldns_rdf *rdf)
{
	size_t size = ldns_rdf_size(rdf);

	return slice_from_offset(slice_of(ldns_rdf_data(rdf), size), 1);
}

int
epoch_parse(struct epoch *epoch, const ldns_rr *rr)
{
	bool version = false, time = false;

	csn_vector_clear(&epoch->csns);
	epoch->time_us = 0;
	epoch->by[0] = '\0';
	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		struct slice text = string_of(ldns_rr_rdf(rr, i));

		if (slice_is(text, "v=1"))
			version = true;
		else if (slice_starts_nocase(text, "time="))
			time = timestamp_parse(slice_from_offset(text, 5),
				   &epoch->time_us) == 0;
		else if (slice_starts_nocase(text, "by="))
			(void)snprintf(epoch->by, sizeof(epoch->by), "%.*s",
			    SLICE_ARGS(slice_from_offset(text, 3)));
		else if (slice_starts_nocase(text, "csn=") &&
			 csn_vector_add(
			     &epoch->csns, slice_from_offset(text, 4)) < 0)
			return -1;
	}
	return version && time ? 0 : -1;
}

static struct slice
newest_csn(const struct csn_vector *vector)
{
	struct slice newest = slice_from("");

	for (size_t i = 0; i < vector->count; i++) {
		struct slice csn = csn_vector_get(vector, i);

		if (slice_compare(csn, newest) > 0)
			newest = csn;
	}
	return newest;
}

enum epoch_order
epoch_order(const struct epoch *mine, const struct epoch *theirs)
{
	bool covers = csn_vector_covers_all(&mine->csns, &theirs->csns);
	bool covered = csn_vector_covers_all(&theirs->csns, &mine->csns);

	if (covers && !covered)
		return EPOCH_NEWER;
	if (covered && !covers)
		return EPOCH_OLDER;
	if (!covers)
		return slice_compare(newest_csn(&mine->csns),
			   newest_csn(&theirs->csns)) > 0
			   ? EPOCH_NEWER
			   : EPOCH_OLDER;
	if (theirs->time_us - mine->time_us > EPOCH_AHEAD_MAX_US)
		return EPOCH_AHEAD;
	return mine->time_us > theirs->time_us ? EPOCH_NEWER : EPOCH_OLDER;
}
