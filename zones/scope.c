#include "zones/scope.h"

#include <stdio.h>
#include <stdlib.h>

#define OWNER_SIZE 600

void
scope_items_add(
    struct scope_items *items, const ldns_rdf *owner, ldns_rr_type type)
{
	ldns_rdf *copy = ldns_rdf_clone(owner);

	if (items->count == items->capacity) {
		size_t capacity = items->capacity ? items->capacity * 2 : 16;
		struct scope_item *more =
		    reallocarray(items->items, capacity, sizeof(*more));

		if (!more)
			abort();
		items->items = more;
		items->capacity = capacity;
	}
	if (!copy)
		abort();
	items->items[items->count++] = (struct scope_item){ copy, type };
}

bool
scope_items_have(
    const struct scope_items *items, const ldns_rdf *owner, ldns_rr_type type)
{
	for (size_t i = 0; i < items->count; i++)
		if (items->items[i].type == type &&
		    ldns_dname_compare(items->items[i].owner, owner) == 0)
			return true;
	return false;
}

void
scope_items_free(struct scope_items *items)
{
	for (size_t i = 0; i < items->count; i++)
		ldns_rdf_deep_free(items->items[i].owner);
	free(items->items);
	*items = (struct scope_items){ 0 };
}

/* Adds prefix.name, or name alone, where it lies in this zone. */
static void
add(struct scope *scope, const struct config *config, const char *prefix,
    const char *name, ldns_rr_type type)
{
	char text[OWNER_SIZE];
	ldns_rdf *owner;

	(void)snprintf(text, sizeof(text), "%s%s%s", prefix ? prefix : "",
	    prefix ? "." : "", name);
	owner = ldns_dname_new_frm_str(text);
	if (!owner)
		return;
	ldns_dname2canonical(owner);
	if (config_zone_of(config, owner) == scope->zone)
		scope_items_add(&scope->items, owner, type);
	ldns_rdf_deep_free(owner);
}

static void
add_domain(struct scope *scope, const struct config *config,
    const struct config_domain *domain)
{
	const char *name = domain->title;

	for (size_t i = 0; i < domain->srv.count; i++) {
		const struct config_srv_row *row =
		    config_srv_row(domain->srv.items[i]);

		for (size_t k = 0; k < ARRAY_SIZE(row->prefixes); k++)
			if (row->prefixes[k])
				add(scope, config, row->prefixes[k], name,
				    LDNS_RR_TYPE_SRV);
	}
	if (domain->mx)
		add(scope, config, NULL, name, LDNS_RR_TYPE_MX);
	if (domain->realm)
		add(scope, config, "_kerberos", name, LDNS_RR_TYPE_TXT);
	if (domain->autoconfig)
		add(scope, config, "autoconfig", name, LDNS_RR_TYPE_CNAME);
	if (domain->autodiscover) {
		add(scope, config, "autodiscover", name, LDNS_RR_TYPE_CNAME);
		add(scope, config, "_autodiscover._tcp", name,
		    LDNS_RR_TYPE_SRV);
	}
}

static void
add_tlsa(struct scope *scope, const struct config *config,
    const struct config_tlsa *tlsa)
{
	for (size_t i = 0; i < tlsa->ports.count; i++) {
		char prefix[32];

		(void)snprintf(
		    prefix, sizeof(prefix), "_%s._tcp", tlsa->ports.items[i]);
		add(scope, config, prefix, tlsa->title, LDNS_RR_TYPE_TLSA);
	}
}

struct scope
scope_new(const struct config *config, const struct config_zone *zone)
{
	const struct config_name *names = config->names.items;
	const struct config_domain *domains = config->domains.items;
	const struct config_tlsa *tlsa = config->tlsa.items;
	struct scope scope = { .zone = zone };

	for (size_t i = 0; i < config->names.count; i++) {
		add(&scope, config, NULL, names[i].title, LDNS_RR_TYPE_A);
		add(&scope, config, NULL, names[i].title, LDNS_RR_TYPE_AAAA);
	}
	for (size_t i = 0; i < config->domains.count; i++)
		add_domain(&scope, config, &domains[i]);
	for (size_t i = 0; i < config->tlsa.count; i++)
		add_tlsa(&scope, config, &tlsa[i]);
	return scope;
}

void
scope_free(struct scope *scope)
{
	scope_items_free(&scope->items);
}

bool
scope_owns(const struct scope *scope, const ldns_rdf *owner, ldns_rr_type type)
{
	const ldns_rdf *hosts = scope->zone->hosts_apex;

	if (hosts && (type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA) &&
	    ldns_dname_is_subdomain(owner, hosts))
		return true;
	return scope_items_have(&scope->items, owner, type);
}

bool
scope_is_epoch(const struct scope *scope, const ldns_rr *rr)
{
	return ldns_rr_get_type(rr) == LDNS_RR_TYPE_TXT &&
	       ldns_dname_compare(
		   ldns_rr_owner(rr), scope->zone->epoch_owner) == 0;
}
