/*
 * rrsets: records of a zone, kept sorted, and the difference of two such sets.
 *
 * Records are in canonical form (RFC 4034 section 6), sorted by owner, type
 * and data, each once; an RRset is a run of neighbours with one owner and type
 * (RFC 2181 section 5). Pure; any thread. Memory is owned by the set.
 */
#ifndef ZONES_RRSETS_H
#define ZONES_RRSETS_H

#include <stdbool.h>
#include <stddef.h>

#include <ldns/ldns.h>

#include "lib/buf.h"

#define RRSETS_MAX 100000 /* records of one set */

struct rrsets {
	ldns_rr **rrs; /* owned, as each record */
	size_t count, capacity;
};

void rrsets_free(struct rrsets *set);
/*
 * Takes the record over, also on failure. One that is there already keeps its
 * place and its TTL. 0; or -1 without memory, or with RRSETS_MAX records.
 */
int rrsets_add(struct rrsets *set, ldns_rr *rr);
/* A record as a master file writes it (RFC 1035 section 5), all names absolute.
 * 0; or -1 with *why (static text). */
int rrsets_add_text(struct rrsets *set, const char *text, const char **why);
/* Adds copies of the records from[begin] to from[end - 1]. 0, or -1. */
int rrsets_add_range(
    struct rrsets *set, const struct rrsets *from, size_t begin, size_t end);
/* Makes *to an equal set; what it held is freed. 0, or -1. */
int rrsets_copy(struct rrsets *to, const struct rrsets *from);

/* One past the end of the RRset that begins at `begin`. */
size_t rrsets_end(const struct rrsets *set, size_t begin);
/* Order of the RRsets that two records belong to: <0, 0, >0. */
int rrsets_compare_sets(const ldns_rr *a, const ldns_rr *b);
/* Same records with the same TTLs. */
bool rrsets_equal(const struct rrsets *a, const struct rrsets *b);

/*
 * Two sets walked together, RRset by RRset in order: the records of the one
 * at hand are a->rrs[a_begin .. a_end) and the same of b, either may be empty.
 */
struct rrsets_pair {
	const struct rrsets *a, *b; /* borrowed */
	size_t a_begin, a_end, b_begin, b_end;
};

struct rrsets_pair rrsets_pair(const struct rrsets *a, const struct rrsets *b);
/* Goes to the first, then the next RRset. False at the end. */
bool rrsets_pair_next(struct rrsets_pair *pair);
/* Records to take away and to add, to make of the RRset in a the one in b. A
 * record whose TTL differs counts as both. */
size_t rrsets_pair_changes(const struct rrsets_pair *pair);

/* Records to take away and to add, to make b of a. */
size_t rrsets_changes(const struct rrsets *a, const struct rrsets *b);

/*
 * A set on the way from `current` to `desired` that differs from `current` by
 * at most `max` (at least 1) changed records; equal to `desired` when that is
 * near enough. RRsets change whole; one that alone is too large gets its new
 * records first and loses its old ones afterwards, so that it never is empty
 * in between. 0, or -1 without memory.
 */
int rrsets_step(struct rrsets *step, const struct rrsets *current,
    const struct rrsets *desired, size_t max);

/* Adds "- RECORD" and "+ RECORD" lines; nothing for equal sets. 0, or -1. */
int rrsets_print_diff(
    struct buf *out, const struct rrsets *a, const struct rrsets *b);
/* Adds the records as lines of a master file. 0, or -1. */
int rrsets_print(struct buf *out, const struct rrsets *set);
/* One record as such a line. 0, or -1. */
int rrsets_print_rr(struct buf *out, const char *before, const ldns_rr *rr);

#endif
