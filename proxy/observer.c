#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/auth_votes.h"
#include "proxy/observer_state.h"
#include "replica/clock.h"
#include "replica/reader.h"

#define OBSERVER_TICK_MS  50
#define OBSERVER_SPEAK_MS 1000 /* the auth process hears that we live */
#define OBSERVER_BATCH_MS 20   /* results of one moment go out together */

static const int families[VOTE_FAMILY_COUNT] = {
	[VOTE_IPV4] = AF_INET,
	[VOTE_IPV6] = AF_INET6,
};

/* ---- what becomes of a host ---- */

/* A service with a URL for each family is up while one of them is. */
static struct observed
service_observed(const struct target *target, unsigned kind)
{
	const struct watched *first = &target->services[kind];
	int own = watched_family_of(first->service.host);

	for (unsigned i = 0; i < VOTE_FAMILY_COUNT && own != 0; i++) {
		const struct watched *watched =
		    &target->families[i].services[kind];

		if (watched->there && watched->family != own &&
		    watched->observed.opinion == OPINION_UP)
			return watched->observed;
	}
	return first->observed;
}

static void
sum_up_services(struct observer *observer, struct target *target)
{
	struct observed services[SERVICE_KIND_COUNT], whole;
	const struct host *host =
	    cell_host(observer->cell, target->kind, buf_slice(&target->name));

	if (!host)
		return;
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
		services[i] = service_observed(target, i);
	whole = observe_host(host, services);
	if (whole.opinion != target->observed.opinion ||
	    whole.silent != target->observed.silent)
		observer_speak_soon(observer, OBSERVER_BATCH_MS);
	target->observed = whole;
}

/* A family works while one service answers by it. */
static enum opinion
sum_up_family(const struct family *family)
{
	enum opinion whole = OPINION_COUNT;

	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		const struct watched *watched = &family->services[i];

		if (!watched->there ||
		    (watched->resolved && watched->addresses.count == 0))
			continue;
		if (watched->observed.opinion == OPINION_UP)
			return OPINION_UP;
		if (whole == OPINION_COUNT ||
		    watched->observed.opinion != OPINION_DOWN)
			whole = watched->observed.opinion;
	}
	return whole;
}

static void
sum_up_families(struct observer *observer, struct target *target)
{
	for (unsigned i = 0; i < VOTE_FAMILY_COUNT; i++) {
		struct family *family = &target->families[i];
		enum opinion opinion = sum_up_family(family);

		if (opinion != family->opinion)
			observer_speak_soon(observer, OBSERVER_BATCH_MS);
		family->opinion = opinion;
	}
}

void
observer_sum_up(struct target *target)
{
	sum_up_services(target->observer, target);
	sum_up_families(target->observer, target);
}

static void
probe_target(struct target *target, int64_t now_ms)
{
	watched_probe_due(target->services, now_ms);
	for (unsigned i = 0; i < VOTE_FAMILY_COUNT; i++)
		watched_probe_due(target->families[i].services, now_ms);
}

void
observer_hint(struct observer *observer, struct slice server)
{
	int64_t now_ms = clock_monotonic_ms();

	for (struct target *target = observer->targets; target;
	     target = target->next) {
		if (target->kind != HOST_SERVER ||
		    !slice_equal_nocase(buf_slice(&target->name), server))
			continue;
		for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
			target->services[i].next_ms = now_ms;
		probe_target(target, now_ms);
	}
}

/* ---- the map ---- */

static void
target_free(struct target *target)
{
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		watched_drop(&target->services[i]);
		for (unsigned k = 0; k < VOTE_FAMILY_COUNT; k++)
			watched_drop(&target->families[k].services[i]);
	}
	credentials_wipe(&target->credentials);
	buf_free(&target->name);
	free(target);
}

/* user of the configuration, with the server's name for %s. */
static void
make_credentials(struct observer *observer, struct target *target)
{
	struct slice rest = slice_from(observer->config->probe.user);
	struct buf *user = &target->credentials.user;

	credentials_init(&target->credentials);
	for (size_t i = 0; i < rest.size; i++) {
		if (rest.data[i] == '%' && i + 1 < rest.size &&
		    rest.data[i + 1] == 's') {
			buf_add_slice(user, buf_slice(&target->name));
			i++;
		} else {
			buf_add_char(user, rest.data[i]);
		}
	}
	buf_add_slice(
	    &target->credentials.password, buf_slice(&observer->password));
}

static struct target *
find_target(struct observer *observer, const struct host *host)
{
	struct target *target = observer->targets;

	while (
	    target && (target->kind != host->kind ||
			  !slice_equal(buf_slice(&target->name), host->name)))
		target = target->next;
	if (target)
		return target;
	target = calloc(1, sizeof(*target));
	if (!target)
		abort();
	target->observer = observer;
	target->kind = host->kind;
	target->name = buf_bounded(host->name.size);
	buf_add_slice(&target->name, host->name);
	make_credentials(observer, target);
	target->next = observer->targets;
	observer->targets = target;
	return target;
}

/* The first one of the kind that may be reached by the family. */
static const struct service *
family_service(const struct host *host, enum service_kind kind, int family)
{
	for (size_t i = 0; i < host->service_count; i++) {
		int own = watched_family_of(host->services[i].host);

		if (host->services[i].kind == kind &&
		    (own == 0 || own == family))
			return &host->services[i];
	}
	return NULL;
}

static bool
has_family(const struct host *host, int family)
{
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
		if (family_service(host, (enum service_kind)i, family))
			return true;
	return false;
}

/* Who has but one family needs no opinion of it. */
static void
take_families(struct target *target, const struct host *host)
{
	bool both = host->kind != HOST_SERVER && has_family(host, AF_INET) &&
		    has_family(host, AF_INET6);

	for (unsigned i = 0; i < VOTE_FAMILY_COUNT; i++) {
		struct family *family = &target->families[i];

		for (unsigned k = 0; k < SERVICE_KIND_COUNT; k++) {
			const struct service *service = family_service(
			    host, (enum service_kind)k, families[i]);

			if (both && service && probe_can(service->kind))
				watched_set(&family->services[k], target,
				    service, families[i]);
			else
				watched_drop(&family->services[k]);
		}
	}
}

static void
take_host(struct observer *observer, const struct host *host)
{
	struct target *target;

	if (host->service_count == 0 ||
	    (host->kind == HOST_PROXY &&
		slice_equal_nocase(
		    host->name, slice_from(observer->config->directory.name))))
		return;
	target = find_target(observer, host);
	target->is_in_map = true;
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		const struct service *service =
		    host_service(host, (enum service_kind)i);

		if (service && probe_can(service->kind))
			watched_set(&target->services[i], target, service, 0);
		else
			watched_drop(&target->services[i]);
	}
	take_families(target, host);
	observer_sum_up(target);
}

static void
drop_missing(struct observer *observer)
{
	struct target **link = &observer->targets;

	while (*link) {
		struct target *target = *link;

		if (target->is_in_map) {
			link = &target->next;
			continue;
		}
		*link = target->next;
		target_free(target);
	}
}

static void
read_map(struct observer *observer)
{
	uint64_t generation = replica_cell_generation(observer->replica);
	const struct host *hosts;
	struct cell *cell;
	const char *why;
	size_t count;

	if ((observer->cell && generation == observer->generation) ||
	    replica_cell(observer->replica, &cell, &generation, &why) < 0)
		return;
	cell_free(&observer->cell);
	observer->cell = cell;
	observer->generation = generation;
	for (struct target *target = observer->targets; target;
	     target = target->next)
		target->is_in_map = false;
	hosts = cell_hosts(cell, &count);
	for (size_t i = 0; i < count; i++)
		take_host(observer, &hosts[i]);
	drop_missing(observer);
}

static void
on_tick(evutil_socket_t fd, short what, void *context)
{
	struct observer *observer = context;
	int64_t now_ms = clock_monotonic_ms();

	(void)fd;
	(void)what;
	read_map(observer);
	for (struct target *target = observer->targets; target;
	     target = target->next)
		probe_target(target, now_ms);
	if (now_ms - observer->spoke_ms >= OBSERVER_SPEAK_MS)
		observer_speak(observer);
}

/* ---- for people ---- */

struct replica *
observer_replica(const struct observer *observer)
{
	return observer->replica;
}

static void
describe_families(const struct target *target, json_t *services)
{
	for (unsigned i = 0; i < VOTE_FAMILY_COUNT; i++) {
		enum opinion opinion = target->families[i].opinion;

		if (opinion != OPINION_COUNT)
			json_array_append_new(services,
			    json_pack("{s:s, s:s, s:s, s:i}", "service",
				vote_family_text((enum vote_family)i),
				"opinion", opinion_text(opinion), "why",
				"all services by this family", "ms", 0));
	}
}

json_t *
observer_describe(const struct observer *observer)
{
	json_t *hosts = json_array();

	for (struct target *target = observer->targets; target;
	     target = target->next) {
		json_t *services = json_array();
		int64_t age_ms =
		    clock_monotonic_ms() - target->observed.since_ms;

		for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
			if (target->services[i].there)
				json_array_append_new(services,
				    watched_describe(&target->services[i]));
		describe_families(target, services);
		json_array_append_new(
		    hosts, json_pack("{s:s, s:s, s:s, s:b, s:I, s:o}", "kind",
			       host_kind_text(target->kind), "name",
			       buf_string(&target->name), "opinion",
			       opinion_text(target->observed.opinion), "silent",
			       (int)target->observed.silent, "seconds",
			       (json_int_t)(target->observed.since_ms > 0
						? age_ms / 1000
						: 0),
			       "services", services));
	}
	return hosts;
}

/* ---- life ---- */

void
observer_set_auth(struct observer *observer, int fd)
{
	if (observer->auth_fd >= 0)
		close(observer->auth_fd);
	observer->auth_fd = fd;
	observer_speak(observer);
}

static int
open_files(struct observer *observer, const char **why)
{
	const struct config *config = observer->config;

	observer->resolver =
	    resolver_new(observer->base, &config->dns_servers, why);
	if (!observer->resolver ||
	    replica_open(&observer->replica, config->replica, why) < 0)
		return -1;
	if (config->probe.user &&
	    auth_read_password(
		config->probe.password_file, &observer->password) < 0) {
		*why = strerrordesc_np(errno);
		return -1;
	}
	return 0;
}

struct observer *
observer_new(struct event_base *base, const struct config *config,
    SSL_CTX *context, const struct log *log, const char **why)
{
	struct observer *observer = calloc(1, sizeof(*observer));

	if (!observer)
		abort();
	observer->base = base;
	observer->config = config;
	observer->context = context;
	observer->log = log;
	observer->auth_fd = -1;
	observer->password = buf_bounded(SASL_PASSWORD_SIZE_MAX + 1);
	observer->settings = (struct observe_settings){
		.interval_ms = config->probe.interval,
		.good = (unsigned)config->probe.good,
	};
	observer->tick = event_new(base, -1, EV_PERSIST, on_tick, observer);
	observer->speak = evtimer_new(base, observer_on_speak, observer);
	if (!observer->tick || !observer->speak)
		abort();
	if (open_files(observer, why) < 0)
		observer_free(&observer);
	return observer;
}

void
observer_start(struct observer *observer)
{
	struct timeval tick = { 0, OBSERVER_TICK_MS * 1000L };

	observer->started_ms = clock_monotonic_ms();
	event_add(observer->tick, &tick);
}

void
observer_free(struct observer **observer)
{
	struct observer *old = *observer;
	struct target *next;

	*observer = NULL;
	if (!old)
		return;
	for (struct target *target = old->targets; target; target = next) {
		next = target->next;
		target_free(target);
	}
	event_free(old->tick);
	event_free(old->speak);
	resolver_free(&old->resolver);
	replica_free(&old->replica);
	cell_free(&old->cell);
	buf_wipe(&old->password);
	if (old->auth_fd >= 0)
		close(old->auth_fd);
	free(old);
}
