/*
 * scope: which records of a zone are ours.
 *
 * Ours are the RRsets that the configuration makes us publish, by owner and
 * type, whether or not they exist at the moment, and the addresses below the
 * subtree of the hosts. All else in the zone belongs to others: it is neither
 * read, nor changed, nor removed. Pure.
 */
#ifndef ZONES_SCOPE_H
#define ZONES_SCOPE_H

#include <stdbool.h>

#include <ldns/ldns.h>

#include "zones/config.h"

/* An RRset by its name. */
struct scope_item {
	ldns_rdf *owner; /* owned */
	ldns_rr_type type;
};

struct scope_items {
	struct scope_item *items; /* owned */
	size_t count, capacity;
};

/* Copies the owner. Aborts without memory. */
void scope_items_add(
    struct scope_items *items, const ldns_rdf *owner, ldns_rr_type type);
bool scope_items_have(
    const struct scope_items *items, const ldns_rdf *owner, ldns_rr_type type);
void scope_items_free(struct scope_items *items);

struct scope {
	const struct config_zone *zone; /* borrowed */
	struct scope_items items;
};

struct scope scope_new(
    const struct config *config, const struct config_zone *zone);
void scope_free(struct scope *scope);

bool scope_owns(
    const struct scope *scope, const ldns_rdf *owner, ldns_rr_type type);
/* Whether it is one of the records that carry the epoch. */
bool scope_is_epoch(const struct scope *scope, const ldns_rr *rr);

#endif
