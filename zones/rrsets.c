#include "zones/rrsets.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void
rrsets_free(struct rrsets *set)
{
	for (size_t i = 0; i < set->count; i++)
		ldns_rr_free(set->rrs[i]);
	free((void *)set->rrs);
	*set = (struct rrsets){ 0 };
}

int
rrsets_compare_sets(const ldns_rr *a, const ldns_rr *b)
{
	int order = ldns_dname_compare(ldns_rr_owner(a), ldns_rr_owner(b));

	if (order != 0)
		return order;
	return (int)ldns_rr_get_type(a) - (int)ldns_rr_get_type(b);
}

static int
compare_rdata(const ldns_rr *a, const ldns_rr *b)
{
	size_t a_count = ldns_rr_rd_count(a), b_count = ldns_rr_rd_count(b);

	for (size_t i = 0; i < a_count && i < b_count; i++) {
		const ldns_rdf *x = ldns_rr_rdf(a, i), *y = ldns_rr_rdf(b, i);
		size_t x_size = ldns_rdf_size(x), y_size = ldns_rdf_size(y);
		int order = memcmp(ldns_rdf_data(x), ldns_rdf_data(y),
		    x_size < y_size ? x_size : y_size);

		if (order != 0)
			return order;
		if (x_size != y_size)
			return x_size < y_size ? -1 : 1;
	}
	return a_count == b_count ? 0 : a_count < b_count ? -1 : 1;
}

static int
compare_records(const ldns_rr *a, const ldns_rr *b)
{
	int order = rrsets_compare_sets(a, b);

	return order != 0 ? order : compare_rdata(a, b);
}

/* Where the record is, or would be. */
static size_t
find_place(const struct rrsets *set, const ldns_rr *rr, bool *found)
{
	size_t low = 0, high = set->count;

	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_records(set->rrs[middle], rr);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int
make_room(struct rrsets *set)
{
	size_t capacity = set->capacity ? set->capacity * 2 : 32;
	ldns_rr **more;

	if (set->count < set->capacity)
		return 0;
	if (set->count >= RRSETS_MAX)
		return -1;
	more = reallocarray((void *)set->rrs, capacity, sizeof(ldns_rr *));
	if (!more)
		return -1;
	set->rrs = more;
	set->capacity = capacity;
	return 0;
}

int
rrsets_add(struct rrsets *set, ldns_rr *rr)
{
	bool found;
	size_t place;

	if (!rr || make_room(set) < 0) {
		ldns_rr_free(rr);
		return -1;
	}
	ldns_rr2canonical(rr);
	place = find_place(set, rr, &found);
	if (found) {
		ldns_rr_free(rr);
		return 0;
	}
	memmove((void *)&set->rrs[place + 1], (void *)&set->rrs[place],
	    (set->count - place) * sizeof(ldns_rr *));
	set->rrs[place] = rr;
	set->count++;
	return 0;
}

int
rrsets_add_text(struct rrsets *set, const char *text, const char **why)
{
	ldns_rr *rr = NULL;
	ldns_status status = ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL);

	if (status != LDNS_STATUS_OK) {
		*why = ldns_get_errorstr_by_id(status);
		return -1;
	}
	if (rrsets_add(set, rr) < 0) {
		*why = "too many records";
		return -1;
	}
	return 0;
}

int
rrsets_add_range(
    struct rrsets *set, const struct rrsets *from, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		if (rrsets_add(set, ldns_rr_clone(from->rrs[i])) < 0)
			return -1;
	return 0;
}

int
rrsets_copy(struct rrsets *to, const struct rrsets *from)
{
	rrsets_free(to);
	return rrsets_add_range(to, from, 0, from->count);
}

size_t
rrsets_end(const struct rrsets *set, size_t begin)
{
	size_t end = begin;

	while (end < set->count &&
	       rrsets_compare_sets(set->rrs[begin], set->rrs[end]) == 0)
		end++;
	return end;
}

bool
rrsets_equal(const struct rrsets *a, const struct rrsets *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (compare_records(a->rrs[i], b->rrs[i]) != 0 ||
		    ldns_rr_ttl(a->rrs[i]) != ldns_rr_ttl(b->rrs[i]))
			return false;
	return true;
}

struct rrsets_pair
rrsets_pair(const struct rrsets *a, const struct rrsets *b)
{
	return (struct rrsets_pair){ .a = a, .b = b };
}

bool
rrsets_pair_next(struct rrsets_pair *pair)
{
	size_t i = pair->a_end, k = pair->b_end;
	bool a_left = i < pair->a->count, b_left = k < pair->b->count;
	int order;

	pair->a_begin = i;
	pair->b_begin = k;
	if (!a_left && !b_left)
		return false;
	if (a_left && b_left)
		order = rrsets_compare_sets(pair->a->rrs[i], pair->b->rrs[k]);
	else
		order = a_left ? -1 : 1;
	if (order <= 0)
		pair->a_end = rrsets_end(pair->a, i);
	if (order >= 0)
		pair->b_end = rrsets_end(pair->b, k);
	return true;
}

enum change {
	CHANGE_NONE,
	CHANGE_REMOVE,
	CHANGE_ADD,
	CHANGE_TTL
};

/* The next record of the RRset at hand: *rr as it is in a, else as in b. */
static bool
next_change(const struct rrsets_pair *pair, size_t *i, size_t *k,
    enum change *change, const ldns_rr **rr)
{
	const ldns_rr *a = *i < pair->a_end ? pair->a->rrs[*i] : NULL;
	const ldns_rr *b = *k < pair->b_end ? pair->b->rrs[*k] : NULL;
	int order;

	if (!a && !b)
		return false;
	order = !b ? -1 : !a ? 1 : compare_rdata(a, b);
	*rr = order <= 0 ? a : b;
	*i += order <= 0;
	*k += order >= 0;
	if (order != 0)
		*change = order < 0 ? CHANGE_REMOVE : CHANGE_ADD;
	else
		*change =
		    ldns_rr_ttl(a) == ldns_rr_ttl(b) ? CHANGE_NONE : CHANGE_TTL;
	return true;
}

size_t
rrsets_pair_changes(const struct rrsets_pair *pair)
{
	size_t i = pair->a_begin, k = pair->b_begin, count = 0;
	enum change change;
	const ldns_rr *rr;

	while (next_change(pair, &i, &k, &change, &rr))
		count += change == CHANGE_NONE  ? 0
			 : change == CHANGE_TTL ? 2
						: 1;
	return count;
}

size_t
rrsets_changes(const struct rrsets *a, const struct rrsets *b)
{
	struct rrsets_pair pair = rrsets_pair(a, b);
	size_t count = 0;

	while (rrsets_pair_next(&pair))
		count += rrsets_pair_changes(&pair);
	return count;
}

/* Whether a record of a too large RRset belongs into the step. */
static bool
step_keeps(enum change change, size_t *adds, size_t *removes)
{
	switch (change) {
	case CHANGE_ADD:
		if (*adds == 0)
			return false;
		(*adds)--;
		return true;
	case CHANGE_REMOVE:
		if (*removes == 0)
			return true;
		(*removes)--;
		return false;
	case CHANGE_NONE:
	case CHANGE_TTL:
		break;
	}
	return true;
}

/* A part of an RRset's way; all records of an RRset have one TTL (RFC 2181
 * section 5.2), so the new one comes at once. */
static int
step_part(struct rrsets *step, const struct rrsets_pair *pair, size_t max)
{
	size_t i = pair->a_begin, k = pair->b_begin, adds = 0, removes = 0;
	uint32_t ttl = ldns_rr_ttl(pair->b_end > pair->b_begin
				       ? pair->b->rrs[pair->b_begin]
				       : pair->a->rrs[pair->a_begin]);
	enum change change;
	const ldns_rr *rr;

	while (next_change(pair, &i, &k, &change, &rr))
		adds += change == CHANGE_ADD;
	adds = adds < max ? adds : max;
	removes = max - adds;
	i = pair->a_begin;
	k = pair->b_begin;
	while (next_change(pair, &i, &k, &change, &rr)) {
		ldns_rr *copy;

		if (!step_keeps(change, &adds, &removes))
			continue;
		copy = ldns_rr_clone(rr);
		if (!copy)
			return -1;
		ldns_rr_set_ttl(copy, ttl);
		if (rrsets_add(step, copy) < 0)
			return -1;
	}
	return 0;
}

int
rrsets_step(struct rrsets *step, const struct rrsets *current,
    const struct rrsets *desired, size_t max)
{
	struct rrsets_pair pair = rrsets_pair(current, desired);
	size_t left = max;
	int result = 0;

	assert(max > 0);
	rrsets_free(step);
	while (result == 0 && rrsets_pair_next(&pair)) {
		size_t count = rrsets_pair_changes(&pair);

		if (count <= left) {
			left -= count;
			result = rrsets_add_range(
			    step, desired, pair.b_begin, pair.b_end);
		} else if (left == max) {
			left = 0;
			result = step_part(step, &pair, max);
		} else {
			result = rrsets_add_range(
			    step, current, pair.a_begin, pair.a_end);
		}
	}
	return result;
}

int
rrsets_print_rr(struct buf *out, const char *before, const ldns_rr *rr)
{
	char *text = ldns_rr2str(rr);

	if (!text)
		return -1;
	buf_add_string(out, before);
	buf_add_string(out, text);
	LDNS_FREE(text);
	return out->failed ? -1 : 0;
}

/* The RRset at hand: what goes first, what comes afterwards. */
static void
print_pair(struct buf *out, const struct rrsets_pair *pair)
{
	for (int adding = 0; adding < 2; adding++) {
		size_t i = pair->a_begin, k = pair->b_begin;
		enum change change;
		const ldns_rr *rr;

		while (next_change(pair, &i, &k, &change, &rr)) {
			if (change == CHANGE_TTL)
				rr = adding ? pair->b->rrs[k - 1] : rr;
			else if (change !=
				 (adding ? CHANGE_ADD : CHANGE_REMOVE))
				continue;
			(void)rrsets_print_rr(out, adding ? "+ " : "- ", rr);
		}
	}
}

int
rrsets_print_diff(
    struct buf *out, const struct rrsets *a, const struct rrsets *b)
{
	struct rrsets_pair pair = rrsets_pair(a, b);

	while (rrsets_pair_next(&pair))
		print_pair(out, &pair);
	return out->failed ? -1 : 0;
}

int
rrsets_print(struct buf *out, const struct rrsets *set)
{
	for (size_t i = 0; i < set->count; i++)
		if (rrsets_print_rr(out, "", set->rrs[i]) < 0)
			return -1;
	return 0;
}
