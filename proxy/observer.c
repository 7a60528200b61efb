#include "proxy/observer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/vote.h"
#include "proxy/auth_votes.h"
#include "proxy/observe.h"
#include "proxy/probe.h"
#include "proxy/resolve.h"
#include "replica/reader.h"

#define OBSERVER_TICK_MS  50
#define OBSERVER_SPEAK_MS 1000 /* the auth process hears that we live */
#define OBSERVER_BATCH_MS 20   /* results of one moment go out together */
/*
 * A silent host is voted down that much later than due: whoever was struck
 * by the same fault and is probed in the same round is announced by then.
 */
#define OBSERVER_LINGER_MS  150
#define OBSERVER_DEEP_EVERY 10 /* rounds, for what is costly */
#define OBSERVER_HOST_SIZE  254

/* One service of a target. */
struct watched {
	bool there;
	struct buf url; /* owned: what the probes borrow host names from */
	struct service service;
	char host[OBSERVER_HOST_SIZE]; /* service.host as a string */
	struct address_list addresses; /* the last that were found */
	bool resolved;                 /* at least once, whatever was found */
	struct resolve_query *query;   /* owned while it runs */
	struct probe *probe;           /* owned while it runs */
	struct observed observed;
	int64_t next_ms, began_ms;
	unsigned round;
	enum probe_depth depth, failed_depth; /* of the last one */
	long took_ms;
	const char *why; /* static: of the last result */
	int family;      /* AF_INET, AF_INET6: addresses of it alone; else 0 */
	struct target *target;
};

/* One address family of a proxy or other host: each service by it alone. */
struct family {
	struct watched services[SERVICE_KIND_COUNT];
	enum opinion opinion; /* COUNT: the target has none of it */
};

struct target {
	enum host_kind kind;
	struct buf name;                /* owned */
	struct credentials credentials; /* owned; of the probe's account */
	struct watched services[SERVICE_KIND_COUNT];
	struct observed observed; /* as a whole */
	struct family families[VOTE_FAMILY_COUNT];
	bool is_in_map;
	struct observer *observer;
	struct target *next;
};

struct observer {
	struct event_base *base; /* borrowed */
	const struct config *config;
	SSL_CTX *context;      /* borrowed */
	const struct log *log; /* borrowed */
	struct replica *replica;
	struct resolver *resolver;
	struct cell *cell; /* owned; NULL until there is one */
	uint64_t generation;
	struct buf password;
	struct observe_settings settings;
	struct target *targets; /* owned */
	struct event *tick, *speak;
	int auth_fd; /* owned; -1: none yet */
	int64_t started_ms, spoke_ms;
	bool settled;  /* knows enough to have a say */
	bool told_why; /* that it has no entry */
};

static const int families[VOTE_FAMILY_COUNT] = {
	[VOTE_IPV4] = AF_INET,
	[VOTE_IPV6] = AF_INET6,
};

static int64_t
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- telling ---- */

static void
speak_soon(struct observer *observer, int64_t after_ms)
{
	struct timeval after = { after_ms / 1000, after_ms % 1000 * 1000 };
	struct timeval due, now;

	/* An earlier appointment stands. */
	if (evtimer_pending(observer->speak, &due)) {
		event_base_gettimeofday_cached(observer->base, &now);
		timeradd(&now, &after, &now);
		if (timercmp(&due, &now, <))
			return;
	}
	evtimer_add(observer->speak, &after);
}

/* Of a family is spoken only while the other one works. */
static void
add_family_votes(struct observer *observer, const struct target *target,
    const struct host *host, struct buf *out)
{
	for (unsigned i = 0; i < VOTE_FAMILY_COUNT; i++) {
		unsigned other = VOTE_FAMILY_COUNT - 1 - i;

		if (target->families[i].opinion != OPINION_DOWN ||
		    target->families[other].opinion != OPINION_UP)
			continue;
		vote_format_family(
		    out, observer->cell, host, (enum vote_family)i);
		buf_add_char(out, '\n');
	}
}

/* Silent ones are announced first, and voted down a moment later. */
static void
add_votes(
    struct observer *observer, const struct target *target, struct buf *out)
{
	const struct observed *observed = &target->observed;
	const struct host *host =
	    cell_host(observer->cell, target->kind, buf_slice(&target->name));
	bool down = observed->opinion == OPINION_DOWN;
	bool silent =
	    observed->opinion == OPINION_SUSPECT || (down && observed->silent);
	int64_t age_ms = monotonic_ms() - observed->since_ms;

	if (!host)
		return;
	if (down && silent && age_ms < OBSERVER_LINGER_MS) {
		down = false;
		speak_soon(observer, OBSERVER_LINGER_MS - age_ms + 1);
	}
	if (silent) {
		vote_format(out, observer->cell, host, VOTE_SILENT);
		buf_add_char(out, '\n');
	}
	if (down) {
		vote_format(out, observer->cell, host, VOTE_DOWN);
		buf_add_char(out, '\n');
	}
	add_family_votes(observer, target, host, out);
}

static struct slice
dn_of(const struct host *host)
{
	struct slice rest = host->record;
	struct record_field field;

	while (record_next(&rest, &field))
		if (field.tag == CELL_DN)
			return field.value;
	return slice_from("");
}

static bool
has_opinion(enum opinion opinion)
{
	return opinion == OPINION_UP || opinion == OPINION_DOWN;
}

/* Of the families, too, where the target has both. */
static bool
is_known(const struct target *target)
{
	const struct family *ipv4 = &target->families[VOTE_IPV4];
	const struct family *ipv6 = &target->families[VOTE_IPV6];

	return has_opinion(target->observed.opinion) &&
	       (ipv4->opinion == OPINION_COUNT ||
		   ipv6->opinion == OPINION_COUNT ||
		   (has_opinion(ipv4->opinion) && has_opinion(ipv6->opinion)));
}

/*
 * A new observer has no say before it has seen every host up or down, or had
 * the time to: until then its predecessor's votes stand.
 */
static bool
is_settled(struct observer *observer)
{
	const struct config_probe *probe = &observer->config->probe;
	int64_t grace_ms =
	    (probe->good + 2) * probe->interval + 2 * probe->timeout;

	for (struct target *target = observer->targets;
	     target && !observer->settled; target = target->next)
		if (!is_known(target) &&
		    monotonic_ms() - observer->started_ms < grace_ms)
			return false;
	observer->settled = true;
	return true;
}

/* Our own entry; NULL when the cell does not know us. */
static const struct host *
find_self(struct observer *observer)
{
	const struct host *self =
	    observer->cell ? cell_host(observer->cell, HOST_PROXY,
				 slice_from(observer->config->directory.name))
			   : NULL;

	if (!self && observer->cell && !observer->told_why)
		log_why(observer->log, LOG_LEVEL_ERROR, "no_entry",
		    "there is no proxy of the name in directory { name }");
	observer->told_why = observer->cell && !self;
	return self;
}

static void
speak(struct observer *observer)
{
	struct buf message = buf_bounded(AUTH_MESSAGE_SIZE - 1);
	const struct host *self = find_self(observer);

	observer->spoke_ms = monotonic_ms();
	if (!self || observer->auth_fd < 0 || !is_settled(observer))
		return;
	buf_add_slice(&message, dn_of(self));
	buf_add_char(&message, '\n');
	for (struct target *target = observer->targets; target;
	     target = target->next)
		add_votes(observer, target, &message);
	/* A full channel means that nobody reads; the next one tells all. */
	if (!message.failed)
		(void)send(observer->auth_fd, message.data, message.size,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_free(&message);
}

static void
on_speak(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	speak(context);
}

/* ---- results ---- */

/* AF_INET, AF_INET6, or 0 for a name, which may have both. */
static int
family_of(struct slice host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (host.size == 0 || host.size >= sizeof(text))
		return 0;
	memcpy(text, host.data, host.size);
	text[host.size] = '\0';
	if (inet_pton(AF_INET, text, &address) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, text, &address) == 1 ? AF_INET6 : 0;
}

static void
log_opinion(const struct watched *watched, int64_t after_ms)
{
	const struct target *target = watched->target;
	const struct observed *observed = &watched->observed;
	struct log_line line =
	    log_line(observed->opinion == OPINION_UP ? LOG_LEVEL_INFO
						     : LOG_LEVEL_WARNING,
		"observed");

	log_word(&line, "kind", host_kind_text(target->kind));
	log_text(&line, "name", buf_slice(&target->name));
	log_word(&line, "service", service_kind_text(watched->service.kind));
	if (watched->family != 0)
		log_word(&line, "family",
		    vote_family_text(
			watched->family == AF_INET6 ? VOTE_IPV6 : VOTE_IPV4));
	log_word(&line, "opinion", opinion_text(observed->opinion));
	log_number(&line, "after_ms", after_ms);
	log_string(&line, "why", watched->why);
	log_send(target->observer->log, &line);
}

/* A service with a URL for each family is up while one of them is. */
static struct observed
service_observed(const struct target *target, unsigned kind)
{
	const struct watched *first = &target->services[kind];
	int own = family_of(first->service.host);

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
sum_up(struct observer *observer, struct target *target)
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
		speak_soon(observer, OBSERVER_BATCH_MS);
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
			speak_soon(observer, OBSERVER_BATCH_MS);
		family->opinion = opinion;
	}
}

static void
on_probed(void *context, enum probe_result result, const char *why)
{
	struct watched *watched = context;
	struct target *target = watched->target;
	struct observer *observer = target->observer;
	int64_t now_ms = monotonic_ms();

	probe_free(&watched->probe);
	watched->took_ms = (long)(now_ms - watched->began_ms);
	watched->why = why;
	/* What failed in depth has to come good in depth. */
	watched->failed_depth =
	    result == PROBE_GOOD ? PROBE_CONNECT : watched->depth;
	if (observe_result(
		&watched->observed, &observer->settings, result, now_ms))
		log_opinion(watched, watched->took_ms);
	if (watched->family != 0)
		sum_up_families(observer, target);
	sum_up(observer, target);
}

/* ---- probing ---- */

static void
keep_family(struct address_list *list, int family)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		if (list->addresses[i].any.sa_family == family)
			list->addresses[count++] = list->addresses[i];
	list->count = count;
}

static void
on_resolved(void *context, const struct address_list *list, const char *why)
{
	struct watched *watched = context;
	struct address_list found = *list;

	(void)why;
	watched->query = NULL;
	watched->resolved = true;
	if (watched->family != 0)
		keep_family(&found, watched->family);
	/* Without an answer the addresses of before have to do. */
	if (list->count > 0)
		watched->addresses = found;
}

static bool
can_log_in(const struct observer *observer, const struct target *target,
    enum service_kind kind)
{
	return observer->config->probe.user && target->kind == HOST_SERVER &&
	       target->services[kind].there && probe_can_log_in(kind);
}

/* The one by which a server shows each time that its mail store works. */
static bool
is_first_login(const struct observer *observer, const struct target *target,
    enum service_kind kind)
{
	unsigned first = 0;

	while (first < kind &&
	       !can_log_in(observer, target, (enum service_kind)first))
		first++;
	return first == kind && can_log_in(observer, target, kind);
}

static enum probe_depth
choose_depth(const struct observer *observer, struct watched *watched)
{
	enum service_kind kind = watched->service.kind;
	bool deep;

	watched->round++;
	if (watched->family != 0)
		return PROBE_CONNECT;
	if (is_first_login(observer, watched->target, kind))
		return PROBE_LOGIN;
	deep = (watched->round + kind) % OBSERVER_DEEP_EVERY == 0;
	if (deep && can_log_in(observer, watched->target, kind))
		return PROBE_LOGIN;
	if (deep && watched->service.tls != SERVICE_TLS_NONE)
		return PROBE_TLS;
	return watched->failed_depth;
}

static void
begin_probe(struct observer *observer, struct watched *watched, int64_t now_ms)
{
	struct probe_request request = {
		.kind = watched->service.kind,
		.tls = watched->service.tls,
		.proxy_header = watched->service.proxy_header,
		.port = watched->service.port,
		.name = observer->config->host_name,
		.host = watched->host,
		.addresses = &watched->addresses,
		.context = observer->context,
		.credentials = &watched->target->credentials,
		.timeout_ms = observer->config->probe.timeout,
		.one_family = watched->family != 0,
	};

	if (!watched->query)
		watched->query = resolve(
		    observer->resolver, watched->host, on_resolved, watched);
	watched->next_ms = now_ms + observer->config->probe.interval;
	if (watched->addresses.count == 0)
		return;
	request.depth = watched->depth = choose_depth(observer, watched);
	watched->began_ms = now_ms;
	watched->probe =
	    probe_new(observer->base, &request, on_probed, watched);
}

static void
probe_services(
    struct observer *observer, struct watched *services, int64_t now_ms)
{
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		struct watched *watched = &services[i];

		if (watched->there && !watched->probe &&
		    watched->next_ms <= now_ms)
			begin_probe(observer, watched, now_ms);
	}
}

static void
probe_target(struct observer *observer, struct target *target, int64_t now_ms)
{
	probe_services(observer, target->services, now_ms);
	for (unsigned i = 0; i < VOTE_FAMILY_COUNT; i++)
		probe_services(observer, target->families[i].services, now_ms);
}

void
observer_hint(struct observer *observer, struct slice server)
{
	int64_t now_ms = monotonic_ms();

	for (struct target *target = observer->targets; target;
	     target = target->next) {
		if (target->kind != HOST_SERVER ||
		    !slice_equal_nocase(buf_slice(&target->name), server))
			continue;
		for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
			target->services[i].next_ms = now_ms;
		probe_target(observer, target, now_ms);
	}
}

/* ---- the map ---- */

static void
unwatch(struct watched *watched)
{
	probe_free(&watched->probe);
	resolve_cancel(&watched->query);
	buf_free(&watched->url);
	*watched = (struct watched){ 0 };
}

static void
target_free(struct target *target)
{
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		unwatch(&target->services[i]);
		for (unsigned k = 0; k < VOTE_FAMILY_COUNT; k++)
			unwatch(&target->families[k].services[i]);
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

/* Keeps what is known while the service stays what it was. */
static void
watch_service(struct target *target, struct watched *watched,
    const struct service *service, int family)
{
	struct buf url = buf_bounded(OBSERVER_HOST_SIZE + 32);

	buf_printf(&url, "%.*s %u %d %d", SLICE_ARGS(service->host),
	    service->port, (int)service->tls, service->proxy_header);
	if (watched->there &&
	    slice_equal(buf_slice(&url), buf_slice(&watched->url))) {
		buf_free(&url);
		return;
	}
	unwatch(watched);
	if (url.failed || service->host.size >= sizeof(watched->host)) {
		buf_free(&url);
		return;
	}
	watched->there = true;
	watched->url = url;
	watched->service = *service;
	watched->target = target;
	watched->family = family;
	watched->why = "not tried yet";
	memcpy(watched->host, service->host.data, service->host.size);
	watched->service.host = slice_from(watched->host);
}

/* The first one of the kind that may be reached by the family. */
static const struct service *
family_service(const struct host *host, enum service_kind kind, int family)
{
	for (size_t i = 0; i < host->service_count; i++) {
		int own = family_of(host->services[i].host);

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

			if (both && service)
				watch_service(target, &family->services[k],
				    service, families[i]);
			else
				unwatch(&family->services[k]);
		}
	}
	sum_up_families(target->observer, target);
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
			watch_service(target, &target->services[i], service, 0);
		else
			unwatch(&target->services[i]);
	}
	sum_up(observer, target);
	take_families(target, host);
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
	int64_t now_ms = monotonic_ms();

	(void)fd;
	(void)what;
	read_map(observer);
	for (struct target *target = observer->targets; target;
	     target = target->next)
		probe_target(observer, target, now_ms);
	if (now_ms - observer->spoke_ms >= OBSERVER_SPEAK_MS)
		speak(observer);
}

/* ---- for people ---- */

struct replica *
observer_replica(const struct observer *observer)
{
	return observer->replica;
}

static json_t *
describe_service(const struct watched *watched)
{
	return json_pack("{s:s, s:s, s:s, s:I}", "service",
	    service_kind_text(watched->service.kind), "opinion",
	    opinion_text(watched->observed.opinion), "why", watched->why, "ms",
	    (json_int_t)watched->took_ms);
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
		int64_t age_ms = monotonic_ms() - target->observed.since_ms;

		for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
			if (target->services[i].there)
				json_array_append_new(services,
				    describe_service(&target->services[i]));
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
	speak(observer);
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
	observer->speak = evtimer_new(base, on_speak, observer);
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

	observer->started_ms = monotonic_ms();
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
