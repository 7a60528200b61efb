#include "zones/plan.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/name.h"
#include "lib/timestamp.h"
#include "lib/vote.h"

#define OWNER_SIZE  600
#define RECORD_SIZE 1600

/* What one call of plan_make() works with. */
struct work {
	const struct plan_input *input;
	struct plan *plan;
	const struct host *hosts;
	size_t host_count;
	struct candidate *candidates; /* room for all hosts */
	size_t candidate_count;
};

/* A host that could be in an RRset. */
struct candidate {
	const struct host *host;
	enum plan_health health;
	uint32_t weight;
	bool chosen;
};

/* Which hosts an RRset is made of. */
struct wanted {
	uint32_t services; /* bits: it must offer all; 0: any */
	bool proxies_only;
	bool tls_matters, implicit_tls;
};

/* ---- health ---- */

static enum plan_health
wish_health(const struct host *host)
{
	switch (host->state) {
	case HOST_UP:
		return PLAN_UP;
	case HOST_DRAIN:
		return PLAN_DRAINED;
	case HOST_DOWN:
	case HOST_FAILED:
		break;
	}
	return PLAN_DOWN;
}

static void
lower(int64_t *next_us, int64_t moment_us)
{
	if (moment_us < *next_us)
		*next_us = moment_us;
}

/* The last transition that has passed; NULL for none. */
static const struct transition *
last_passed(const struct host *host, int64_t now_us, int64_t *next_us)
{
	const struct transition *last = NULL;

	for (size_t i = 0; i < host->transition_count; i++) {
		if (host->transitions[i].time_us > now_us) {
			lower(next_us, host->transitions[i].time_us);
			break;
		}
		last = &host->transitions[i];
	}
	return last;
}

/* When a host whose newest value is `last`, up, is published: at once, or
 * after a failure later, the later the more often it has failed of late. */
static int64_t
returns_us(const struct host *host, const struct transition *last,
    int64_t return_delay_us)
{
	int64_t failures = 0;

	if (last == host->transitions || last[-1].state != HOST_FAILED)
		return last->time_us;
	for (const struct transition *each = host->transitions; each < last;
	     each++)
		failures += each->state == HOST_FAILED &&
			    last->time_us - each->time_us < PLAN_MEMORY_US;
	if (failures < 1)
		failures = 1;
	return last->time_us +
	       return_delay_us *
		   (failures < PLAN_DELAYS_MAX ? failures : PLAN_DELAYS_MAX);
}

enum plan_health
plan_health(const struct host *host, int64_t now_us, int64_t return_delay_us,
    uint32_t *weight, int64_t *next_us)
{
	const struct transition *last = last_passed(host, now_us, next_us);
	enum plan_health wish = wish_health(host);
	int64_t back_us;

	*weight = last ? last->weight : host->weight;
	if (!last)
		return wish == PLAN_UP && *weight == 0 ? PLAN_DRAINED : wish;
	switch (last->state) {
	case HOST_UP:
		if (*weight == 0)
			return PLAN_DRAINED;
		back_us = returns_us(host, last, return_delay_us);
		if (now_us >= back_us)
			return PLAN_UP;
		lower(next_us, back_us);
		return PLAN_FAILED;
	case HOST_DRAIN:
		return PLAN_DRAINED;
	case HOST_DOWN:
		return PLAN_DOWN;
	case HOST_FAILED:
		break;
	}
	return wish == PLAN_UP ? PLAN_FAILED : wish;
}

const char *
plan_health_text(enum plan_health health)
{
	static const char *const texts[] = {
		[PLAN_UP] = "up",
		[PLAN_FAILED] = "failed",
		[PLAN_DRAINED] = "drained",
		[PLAN_DOWN] = "down",
	};

	return texts[health];
}

/* ---- choosing ---- */

static bool
service_fits(const struct service *service, const struct wanted *wanted)
{
	if (wanted->services != 0 &&
	    !(wanted->services & UINT32_C(1) << service->kind))
		return false;
	return !wanted->tls_matters ||
	       (service->tls == SERVICE_TLS_IMPLICIT) == wanted->implicit_tls;
}

static bool
host_fits(const struct host *host, const struct wanted *wanted)
{
	uint32_t found = 0;
	bool any = false;

	if (host->kind == HOST_SERVER ||
	    (wanted->proxies_only && host->kind != HOST_PROXY))
		return false;
	for (size_t i = 0; i < host->service_count; i++) {
		if (!service_fits(&host->services[i], wanted))
			continue;
		found |= UINT32_C(1) << host->services[i].kind;
		any = true;
	}
	return any && (found & wanted->services) == wanted->services;
}

static void
choose_all(struct work *work, bool up, bool failed, bool drained, bool down)
{
	for (size_t i = 0; i < work->candidate_count; i++) {
		struct candidate *candidate = &work->candidates[i];
		enum plan_health health = candidate->health;

		candidate->chosen = (health == PLAN_UP && up) ||
				    (health == PLAN_FAILED && failed) ||
				    (health == PLAN_DRAINED && drained) ||
				    (health == PLAN_DOWN && down);
	}
}

/* `of` names the RRset for people. */
static void
choose(struct work *work, const char *of)
{
	size_t counts[PLAN_DOWN + 1] = { 0 };
	size_t undrained;
	struct buf *notes = &work->plan->notes;

	for (size_t i = 0; i < work->candidate_count; i++)
		counts[work->candidates[i].health]++;
	undrained = counts[PLAN_UP] + counts[PLAN_FAILED];
	if (undrained > 0 && counts[PLAN_UP] > 0 &&
	    counts[PLAN_UP] * 100 >=
		undrained * (size_t)work->input->config->fail_open) {
		choose_all(work, true, false, false, false);
	} else if (undrained > 0) {
		buf_printf(notes,
		    "%s: %zu of %zu hosts are up, so all of these are published\n",
		    of, counts[PLAN_UP], undrained);
		choose_all(work, true, true, false, false);
	} else if (counts[PLAN_DRAINED] > 0) {
		buf_printf(notes,
		    "%s: all hosts are drained, those that drain are published\n",
		    of);
		choose_all(work, false, false, true, false);
	} else if (counts[PLAN_DOWN] > 0) {
		buf_printf(notes,
		    "%s: all hosts are down, and published nevertheless\n", of);
		choose_all(work, false, false, false, true);
	}
}

/* Fills the candidates of an RRset and chooses among them. */
static void
gather(struct work *work, const struct wanted *wanted, const char *of)
{
	int64_t delay_us = work->input->config->return_delay * TIMESTAMP_SECOND;

	work->candidate_count = 0;
	for (size_t i = 0; i < work->host_count; i++) {
		struct candidate candidate = { .host = &work->hosts[i] };

		if (!host_fits(candidate.host, wanted))
			continue;
		candidate.health =
		    plan_health(candidate.host, work->input->now_us, delay_us,
			&candidate.weight, &work->plan->next_us);
		work->candidates[work->candidate_count++] = candidate;
	}
	choose(work, of);
}

/* ---- emitting ---- */

/* The owner as a name, when it lies in the zone of this plan; else NULL. */
static ldns_rdf *
own_name(const struct work *work, const char *owner)
{
	ldns_rdf *name = ldns_dname_new_frm_str(owner);

	if (!name)
		return NULL;
	ldns_dname2canonical(name);
	if (config_zone_of(work->input->config, name) == work->input->zone)
		return name;
	ldns_rdf_deep_free(name);
	return NULL;
}

__attribute__((format(printf, 4, 5))) static void
emit(struct work *work, const char *owner, long ttl, const char *format, ...)
{
	char text[RECORD_SIZE];
	ldns_rdf *name = own_name(work, owner);
	const char *why;
	va_list arguments;
	int size;

	if (!name)
		return;
	ldns_rdf_deep_free(name);
	size = snprintf(text, sizeof(text), "%s. %ld IN ", owner, ttl);
	va_start(arguments, format);
	/* va_start was called, which the analyser misses. */
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	(void)vsnprintf(
	    text + size, sizeof(text) - (size_t)size, format, arguments);
	va_end(arguments);
	if (rrsets_add_text(&work->plan->set, text, &why) < 0)
		buf_printf(&work->plan->notes, "%s: %s\n", owner, why);
}

static void
keep(struct work *work, const char *owner, ldns_rr_type type, const char *why)
{
	ldns_rdf *name = own_name(work, owner);

	if (!name)
		return;
	scope_items_add(&work->plan->kept, name, type);
	buf_printf(&work->plan->notes, "%s: %s, what the zone has stays\n",
	    owner, why);
	ldns_rdf_deep_free(name);
}

/* ---- addresses ---- */

static const struct config_host *
configured_host(const struct work *work, const struct host *host)
{
	const struct config_host *hosts = work->input->config->hosts.items;

	for (size_t i = 0; i < work->input->config->hosts.count; i++)
		if (slice_is_nocase(host->name, hosts[i].title))
			return &hosts[i];
	return NULL;
}

/*
 * The host says so itself, or most observers do. Those who have not been heard
 * of for long still count as observers, but what they said no longer does.
 */
static bool
family_is_down(
    const struct work *work, const struct host *host, enum vote_family family)
{
	const struct cell *cell = work->input->cell;
	size_t observers = 0, votes = 0;

	if (vote_says_family(cell, host, host, family))
		return true;
	for (size_t i = 0; i < work->host_count; i++) {
		const struct host *observer = &work->hosts[i];

		if (observer->kind != HOST_PROXY || observer->alive_us == 0)
			continue;
		observers++;
		votes +=
		    work->input->now_us - observer->alive_us < PLAN_ALIVE_US &&
		    vote_says_family(cell, observer, host, family);
	}
	return 2 * votes > observers;
}

static enum vote_family
family_of(const char *text)
{
	return strchr(text, ':') ? VOTE_IPV6 : VOTE_IPV4;
}

/* An RRset of addresses while it is gathered. */
struct gathering {
	struct work *work;
	const char *owner;
	bool with_down_families; /* those the host says do not work, too */
	size_t count;
};

static void
add_address(
    struct gathering *gathering, const struct host *host, const char *text)
{
	enum vote_family family = family_of(text);

	if (!gathering->with_down_families &&
	    family_is_down(gathering->work, host, family))
		return;
	gathering->count++;
	emit(gathering->work, gathering->owner,
	    gathering->work->input->config->ttl.address, "%s %s",
	    family == VOTE_IPV6 ? "AAAA" : "A", text);
}

static bool
is_address(struct slice text, char numeric[static INET6_ADDRSTRLEN + 1])
{
	struct in6_addr address;

	if (text.size == 0 || text.size > INET6_ADDRSTRLEN)
		return false;
	memcpy(numeric, text.data, text.size);
	numeric[text.size] = '\0';
	return inet_pton(AF_INET, numeric, &address) == 1 ||
	       inet_pton(AF_INET6, numeric, &address) == 1;
}

/* Those of a name that has to be looked up. */
static void
add_looked_up(
    struct gathering *gathering, const struct host *host, struct slice name)
{
	struct work *work = gathering->work;
	const struct addresses_name *found =
	    addresses_find(work->input->addresses, name);
	char text[OWNER_SIZE];
	ldns_rdf *owner;

	for (size_t i = 0; found && i < found->count; i++)
		add_address(gathering, host, found->texts[i]);
	if (found && found->tried)
		return;
	(void)snprintf(text, sizeof(text), "%.*s", SLICE_ARGS(name));
	owner = ldns_dname_new_frm_str(text);
	if (!owner)
		return;
	ldns_dname2canonical(owner);
	if (!scope_items_have(&work->plan->unknown, owner, LDNS_RR_TYPE_A))
		scope_items_add(&work->plan->unknown, owner, LDNS_RR_TYPE_A);
	ldns_rdf_deep_free(owner);
}

static void
add_host(struct gathering *gathering, const struct host *host,
    const struct wanted *wanted)
{
	const struct config_host *configured =
	    configured_host(gathering->work, host);
	char numeric[INET6_ADDRSTRLEN + 1];

	if (configured && configured->addresses.count > 0) {
		for (size_t i = 0; i < configured->addresses.count; i++)
			add_address(
			    gathering, host, configured->addresses.items[i]);
		return;
	}
	for (size_t i = 0; i < host->service_count; i++) {
		const struct service *service = &host->services[i];

		if (!service_fits(service, wanted))
			continue;
		if (is_address(service->host, numeric))
			add_address(gathering, host, numeric);
		else
			add_looked_up(gathering, host, service->host);
	}
}

static void
plan_name(struct work *work, const struct config_name *name)
{
	struct wanted wanted = { .services = name->services,
		.proxies_only = true };
	struct gathering gathering = { .work = work, .owner = name->title };

	gather(work, &wanted, name->title);
	for (int pass = 0; pass < 2 && gathering.count == 0; pass++) {
		gathering.with_down_families = pass > 0;
		for (size_t i = 0; i < work->candidate_count; i++)
			if (work->candidates[i].chosen)
				add_host(&gathering, work->candidates[i].host,
				    &wanted);
	}
	if (gathering.count > 0)
		return;
	for (int pass = 0; pass < 2; pass++)
		keep(work, name->title,
		    pass == 0 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA,
		    work->candidate_count == 0
			? "no proxy offers its services"
			: "its proxies have no known address");
}

/* ---- targets ---- */

/* The subtree of the hosts: of the first zone that has one. */
static const char *
hosts_subtree(const struct work *work)
{
	const struct config_zone *zones = work->input->config->zones.items;

	for (size_t i = 0; i < work->input->config->zones.count; i++)
		if (zones[i].hosts)
			return zones[i].hosts;
	return NULL;
}

/* The host's name in DNS, for SRV and MX. False when it has none. */
static bool
target_of(const struct work *work, const struct host *host,
    const struct service *service, char target[static OWNER_SIZE])
{
	const struct config_host *configured = configured_host(work, host);
	const char *subtree = hosts_subtree(work);
	char numeric[INET6_ADDRSTRLEN + 1];

	if (configured && configured->name)
		(void)snprintf(target, OWNER_SIZE, "%s", configured->name);
	else if (!is_address(service->host, numeric) &&
		 slice_find(service->host, ':') == SIZE_MAX)
		(void)snprintf(
		    target, OWNER_SIZE, "%.*s", SLICE_ARGS(service->host));
	else if (subtree && name_is_host(host->name))
		(void)snprintf(target, OWNER_SIZE, "%.*s.%s",
		    SLICE_ARGS(host->name), subtree);
	else
		return false;
	return true;
}

/* Addresses of the hosts whose names are in the subtree that is ours. They
 * stay whatever the host's state is: a name is no promise. */
static void
plan_hosts(struct work *work)
{
	struct wanted any = { 0 };
	char owner[OWNER_SIZE];

	if (!work->input->zone->hosts)
		return;
	for (size_t i = 0; i < work->host_count; i++) {
		const struct host *host = &work->hosts[i];
		struct gathering gathering = { .work = work, .owner = owner };

		if (host->kind == HOST_SERVER || host->service_count == 0 ||
		    !name_is_host(host->name))
			continue;
		(void)snprintf(owner, sizeof(owner), "%.*s.%s",
		    SLICE_ARGS(host->name), work->input->zone->hosts);
		add_host(&gathering, host, &any);
		if (gathering.count == 0) {
			gathering.with_down_families = true;
			add_host(&gathering, host, &any);
		}
	}
}

/* ---- SRV and MX ---- */

/* Nearer is smaller; hosts of sites that are not listed come last. */
static unsigned
site_priority(const struct config_domain *domain, const struct host *host)
{
	unsigned i = 0;

	while (i < domain->sites.count &&
	       !slice_is_nocase(host->site, domain->sites.items[i]))
		i++;
	return 10 * (i + 1);
}

static size_t
emit_srv(struct work *work, const struct config_domain *domain,
    const struct candidate *candidate, const struct wanted *wanted,
    const char *owner)
{
	const struct host *host = candidate->host;
	char target[OWNER_SIZE];
	size_t count = 0;

	for (size_t i = 0; i < host->service_count; i++) {
		const struct service *service = &host->services[i];

		if (!service_fits(service, wanted))
			continue;
		if (!target_of(work, host, service, target)) {
			buf_printf(&work->plan->notes,
			    "%s: host %.*s has no name in DNS\n", owner,
			    SLICE_ARGS(host->name));
			continue;
		}
		emit(work, owner, work->input->config->ttl.srv,
		    "SRV %u %u %u %s.", site_priority(domain, host),
		    candidate->weight, service->port, target);
		count++;
	}
	return count;
}

static void
plan_srv(struct work *work, const struct config_domain *domain,
    const struct config_srv_row *row, const char *prefix)
{
	bool mail = row->kind < SERVICE_KERBEROS;
	struct wanted wanted = { .services = UINT32_C(1) << row->kind,
		.proxies_only = mail,
		.tls_matters = true,
		.implicit_tls = row->implicit_tls };
	char owner[OWNER_SIZE];
	size_t count = 0;

	(void)snprintf(owner, sizeof(owner), "%s.%s", prefix, domain->title);
	gather(work, &wanted, owner);
	if (work->candidate_count == 0) {
		/* RFC 2782: decidedly not available at this domain. */
		emit(work, owner, work->input->config->ttl.srv, "SRV 0 0 0 .");
		return;
	}
	for (size_t i = 0; i < work->candidate_count; i++)
		if (work->candidates[i].chosen)
			count += emit_srv(
			    work, domain, &work->candidates[i], &wanted, owner);
	if (count == 0)
		keep(work, owner, LDNS_RR_TYPE_SRV, "no host has a name");
}

static void
plan_mx(struct work *work, const struct config_domain *domain)
{
	struct wanted wanted = { .services = UINT32_C(1) << SERVICE_SMTP };
	char target[OWNER_SIZE];
	size_t count = 0;

	gather(work, &wanted, domain->title);
	for (size_t i = 0; i < work->candidate_count; i++) {
		const struct candidate *candidate = &work->candidates[i];

		if (!candidate->chosen ||
		    !target_of(work, candidate->host,
			host_service(candidate->host, SERVICE_SMTP), target))
			continue;
		emit(work, domain->title, work->input->config->ttl.mx,
		    "MX %d %s.", PLAN_MX_PREFERENCE, target);
		count++;
	}
	if (count == 0)
		keep(work, domain->title, LDNS_RR_TYPE_MX,
		    "no host with a name offers smtp");
}

static void
emit_alias(struct work *work, const char *prefix,
    const struct config_domain *domain, const char *target)
{
	char owner[OWNER_SIZE];

	(void)snprintf(owner, sizeof(owner), "%s.%s", prefix, domain->title);
	emit(work, owner, work->input->config->ttl.alias, "CNAME %s.", target);
}

static void
plan_domain(struct work *work, const struct config_domain *domain)
{
	char owner[OWNER_SIZE];

	for (size_t i = 0; i < domain->srv.count; i++) {
		const struct config_srv_row *row =
		    config_srv_row(domain->srv.items[i]);

		for (size_t k = 0; k < ARRAY_SIZE(row->prefixes); k++)
			if (row->prefixes[k])
				plan_srv(work, domain, row, row->prefixes[k]);
	}
	if (domain->mx)
		plan_mx(work, domain);
	if (domain->realm) {
		(void)snprintf(
		    owner, sizeof(owner), "_kerberos.%s", domain->title);
		emit(work, owner, work->input->config->ttl.txt, "TXT \"%s\"",
		    domain->realm);
	}
	if (domain->autoconfig)
		emit_alias(work, "autoconfig", domain, domain->autoconfig);
	if (!domain->autodiscover)
		return;
	emit_alias(work, "autodiscover", domain, domain->autodiscover);
	(void)snprintf(
	    owner, sizeof(owner), "_autodiscover._tcp.%s", domain->title);
	emit(work, owner, work->input->config->ttl.alias, "SRV 0 0 443 %s.",
	    domain->autodiscover);
}

/* ---- TLSA ---- */

static void
plan_tlsa(struct work *work, const struct config_tlsa *tlsa)
{
	const struct rrsets *all = work->input->tlsa;
	char owner[OWNER_SIZE];

	for (size_t i = 0; i < tlsa->ports.count; i++) {
		size_t count = 0;
		ldns_rdf *name;

		(void)snprintf(owner, sizeof(owner), "_%s._tcp.%s",
		    tlsa->ports.items[i], tlsa->title);
		name = own_name(work, owner);
		for (size_t k = 0; name && k < all->count; k++) {
			if (ldns_dname_compare(
				ldns_rr_owner(all->rrs[k]), name) != 0)
				continue;
			if (rrsets_add_range(&work->plan->set, all, k, k + 1) <
			    0)
				abort();
			count++;
		}
		if (name && count == 0)
			keep(work, owner, LDNS_RR_TYPE_TLSA,
			    "its certificates cannot be read");
		ldns_rdf_deep_free(name);
	}
}

/* ---- the whole ---- */

struct plan
plan_make(const struct plan_input *input)
{
	const struct config *config = input->config;
	const struct config_name *names = config->names.items;
	const struct config_domain *domains = config->domains.items;
	const struct config_tlsa *tlsa = config->tlsa.items;
	struct plan plan = { .notes = buf_bounded(PLAN_NOTES_MAX),
		.next_us = PLAN_NEVER };
	struct work work = { .input = input, .plan = &plan };

	work.hosts = cell_hosts(input->cell, &work.host_count);
	work.candidates = calloc(work.host_count + 1, sizeof(*work.candidates));
	if (!work.candidates)
		abort();
	for (size_t i = 0; i < config->names.count; i++)
		plan_name(&work, &names[i]);
	for (size_t i = 0; i < config->domains.count; i++)
		plan_domain(&work, &domains[i]);
	for (size_t i = 0; i < config->tlsa.count; i++)
		plan_tlsa(&work, &tlsa[i]);
	plan_hosts(&work);
	free(work.candidates);
	return plan;
}

void
plan_free(struct plan *plan)
{
	rrsets_free(&plan->set);
	scope_items_free(&plan->kept);
	scope_items_free(&plan->unknown);
	buf_free(&plan->notes);
}

int
plan_merge(struct rrsets *desired, const struct plan *plan,
    const struct rrsets *current)
{
	size_t end;

	if (rrsets_copy(desired, &plan->set) < 0)
		return -1;
	for (size_t i = 0; i < current->count; i = end) {
		const ldns_rr *rr = current->rrs[i];

		end = rrsets_end(current, i);
		if (scope_items_have(
			&plan->kept, ldns_rr_owner(rr), ldns_rr_get_type(rr)) &&
		    rrsets_add_range(desired, current, i, end) < 0)
			return -1;
	}
	return 0;
}
