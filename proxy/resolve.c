#include "proxy/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <ares.h>

#include "lib/buf.h"
#include "replica/clock.h"

#define RESOLVE_NAMES_MAX 1024 /* names kept; beyond it the oldest goes */
#define RESOLVE_TIMEOUT   2000 /* ms, first try of each server */
#define RESOLVE_TRIES     3

/* One who waits for a name. */
struct resolve_query {
	struct resolve_name *name;
	unsigned round; /* the asking that it waits for */
	resolve_done *done;
	void *context;
	TAILQ_ENTRY(resolve_query) link;
};

TAILQ_HEAD(query_list, resolve_query);

/* A name, its answer while it is fresh, and who waits for it. */
struct resolve_name {
	struct resolver *resolver;
	char *text; /* owned */
	struct address_list list;
	int64_t fresh_until_ms; /* monotonic */
	bool asking;
	unsigned round; /* counts the askings */
	struct query_list waiting;
	TAILQ_ENTRY(resolve_name) link;
};

/* A socket of c-ares and the event that watches it. */
struct resolve_socket {
	struct resolver *resolver;
	ares_socket_t fd;
	struct event *event;
	TAILQ_ENTRY(resolve_socket) link;
};

struct resolver {
	struct event_base *base;
	ares_channel channel;
	struct event *timer;
	bool ending;
	struct resolve_query *starting; /* c-ares may answer it at once */
	size_t name_count;
	TAILQ_HEAD(, resolve_name) names; /* oldest first */
	TAILQ_HEAD(, resolve_socket) sockets;
};

/* c-ares says when it next wants to look at its time-outs. */
static void
arm_timer(struct resolver *resolver)
{
	struct timeval after;

	if (ares_timeout(resolver->channel, NULL, &after))
		event_add(resolver->timer, &after);
	else
		event_del(resolver->timer);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	struct resolver *resolver = context;

	(void)fd;
	(void)what;
	ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm_timer(resolver);
}

static void
on_socket(evutil_socket_t fd, short what, void *context)
{
	struct resolver *resolver =
	    ((struct resolve_socket *)context)->resolver;

	ares_process_fd(resolver->channel,
	    what & EV_READ ? fd : ARES_SOCKET_BAD,
	    what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	arm_timer(resolver);
}

static void
socket_free(struct resolve_socket *watched)
{
	TAILQ_REMOVE(&watched->resolver->sockets, watched, link);
	event_free(watched->event);
	free(watched);
}

static struct resolve_socket *
find_socket(struct resolver *resolver, ares_socket_t fd)
{
	struct resolve_socket *watched;

	TAILQ_FOREACH (watched, &resolver->sockets, link)
		if (watched->fd == fd)
			return watched;
	return NULL;
}

/* c-ares opened, wants, or is about to close a socket. */
static void
on_socket_state(void *context, ares_socket_t fd, int readable, int writable)
{
	struct resolver *resolver = context;
	struct resolve_socket *watched = find_socket(resolver, fd);
	short events = (short)(EV_PERSIST | (readable ? EV_READ : 0) |
			       (writable ? EV_WRITE : 0));

	if (watched)
		socket_free(watched);
	if (!readable && !writable)
		return;
	watched = calloc(1, sizeof(*watched));
	if (!watched)
		abort();
	watched->resolver = resolver;
	watched->fd = fd;
	watched->event =
	    event_new(resolver->base, fd, events, on_socket, watched);
	if (!watched->event || event_add(watched->event, NULL) < 0)
		abort();
	TAILQ_INSERT_TAIL(&resolver->sockets, watched, link);
}

static int
set_servers(struct resolver *resolver, const struct setting_list *servers)
{
	struct buf list = buf_bounded(4096);
	int status = ARES_SUCCESS;

	for (size_t i = 0; i < servers->count; i++)
		buf_printf(&list, "%s%s", i > 0 ? "," : "", servers->items[i]);
	if (servers->count > 0)
		status = ares_set_servers_ports_csv(
		    resolver->channel, buf_string(&list));
	buf_free(&list);
	return status == ARES_SUCCESS ? 0 : -1;
}

struct resolver *
resolver_new(struct event_base *base, const struct setting_list *servers,
    const char **why)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	char lookups[] = "b";
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
		.timeout = RESOLVE_TIMEOUT,
		.tries = RESOLVE_TRIES,
		.lookups = lookups,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = resolver,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
		   ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
	int status;

	if (!resolver)
		abort();
	resolver->base = base;
	TAILQ_INIT(&resolver->names);
	TAILQ_INIT(&resolver->sockets);
	status = ares_init_options(&resolver->channel, &options, mask);
	if (status != ARES_SUCCESS) {
		*why = ares_strerror(status);
		free(resolver);
		return NULL;
	}
	resolver->timer = evtimer_new(base, on_timer, resolver);
	if (!resolver->timer)
		abort();
	if (set_servers(resolver, servers) < 0) {
		*why = "dns_servers has an entry that is no ADDRESS:PORT";
		resolver_free(&resolver);
	}
	return resolver;
}

static void
name_free(struct resolve_name *name)
{
	TAILQ_REMOVE(&name->resolver->names, name, link);
	name->resolver->name_count--;
	free(name->text);
	free(name);
}

void
resolver_free(struct resolver **resolver)
{
	struct resolver *old = *resolver;

	*resolver = NULL;
	if (!old)
		return;
	old->ending = true;
	ares_destroy(old->channel);
	while (!TAILQ_EMPTY(&old->sockets))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		socket_free(TAILQ_FIRST(&old->sockets));
	while (!TAILQ_EMPTY(&old->names))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		name_free(TAILQ_FIRST(&old->names));
	event_free(old->timer);
	free(old);
}

/* Copies the answer; returns the shortest TTL in seconds. */
static int
keep_addresses(struct address_list *list, const struct ares_addrinfo *info)
{
	int ttl = 0;

	list->count = 0;
	for (const struct ares_addrinfo_node *node = info->nodes; node;
	     node = node->ai_next) {
		if (list->count == RESOLVE_ADDRESSES_MAX ||
		    (size_t)node->ai_addrlen > sizeof(union address))
			continue;
		if (list->count == 0 || node->ai_ttl < ttl)
			ttl = node->ai_ttl;
		memcpy(&list->addresses[list->count++], node->ai_addr,
		    (size_t)node->ai_addrlen);
	}
	return ttl;
}

static void
on_answer(void *context, int status, int timeouts, struct ares_addrinfo *info)
{
	struct resolve_name *name = context;
	struct resolver *resolver = name->resolver;
	const char *why = "name has no address";
	unsigned round = name->round;
	struct resolve_query *query;

	(void)timeouts;
	name->asking = false;
	name->list.count = 0;
	if (status == ARES_SUCCESS) {
		int ttl = keep_addresses(&name->list, info);

		name->fresh_until_ms =
		    clock_monotonic_ms() + (int64_t)ttl * 1000;
		ares_freeaddrinfo(info);
	} else {
		why = ares_strerror(status);
	}
	/* Whom an answer makes ask again waits for the next round. */
	while ((query = TAILQ_FIRST(&name->waiting)) && query->round == round) {
		if (resolver->starting == query)
			resolver->starting = NULL;
		TAILQ_REMOVE(&name->waiting, query, link);
		query->done(query->context, &name->list, why);
		free(query);
	}
	if (name->list.count == 0 && !resolver->ending && !name->asking)
		name_free(name);
}

static bool
parse_numeric(const char *text, union address *address)
{
	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &address->in.sin_addr) == 1)
		address->any.sa_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &address->in6.sin6_addr) == 1)
		address->any.sa_family = AF_INET6;
	else
		return false;
	return true;
}

static struct resolve_name *
find_name(struct resolver *resolver, const char *text)
{
	struct resolve_name *name;

	TAILQ_FOREACH (name, &resolver->names, link)
		if (strcmp(name->text, text) == 0)
			return name;
	return NULL;
}

/* Drops the oldest name nobody waits for, when there are too many. */
static void
make_room(struct resolver *resolver)
{
	struct resolve_name *name;

	if (resolver->name_count < RESOLVE_NAMES_MAX)
		return;
	TAILQ_FOREACH (name, &resolver->names, link) {
		if (!name->asking) {
			name_free(name);
			return;
		}
	}
}

static struct resolve_name *
add_name(struct resolver *resolver, const char *text)
{
	struct resolve_name *name = calloc(1, sizeof(*name));

	make_room(resolver);
	if (!name || !(name->text = strdup(text)))
		abort();
	name->resolver = resolver;
	TAILQ_INIT(&name->waiting);
	TAILQ_INSERT_TAIL(&resolver->names, name, link);
	resolver->name_count++;
	return name;
}

struct resolve_query *
resolve(struct resolver *resolver, const char *text, resolve_done *done,
    void *context)
{
	struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC,
		.ai_flags = ARES_AI_NOSORT,
		.ai_socktype = SOCK_STREAM };
	struct address_list numeric = { .count = 1 };
	struct resolve_query *query;
	struct resolve_name *name;

	if (parse_numeric(text, &numeric.addresses[0])) {
		done(context, &numeric, NULL);
		return NULL;
	}
	name = find_name(resolver, text);
	if (name && !name->asking &&
	    clock_monotonic_ms() < name->fresh_until_ms) {
		done(context, &name->list, NULL);
		return NULL;
	}
	if (!name)
		name = add_name(resolver, text);
	query = calloc(1, sizeof(*query));
	if (!query)
		abort();
	*query = (struct resolve_query){
		.name = name, .done = done, .context = context
	};
	TAILQ_INSERT_TAIL(&name->waiting, query, link);
	query->round = name->asking ? name->round : ++name->round;
	if (name->asking)
		return query;
	name->asking = true;
	resolver->starting = query;
	ares_getaddrinfo(
	    resolver->channel, name->text, NULL, &hints, on_answer, name);
	arm_timer(resolver);
	query = resolver->starting;
	resolver->starting = NULL;
	return query;
}

void
resolve_cancel(struct resolve_query **query)
{
	struct resolve_query *old = *query;

	*query = NULL;
	if (!old)
		return;
	TAILQ_REMOVE(&old->name->waiting, old, link);
	free(old);
}

void
address_set_port(union address *address, uint16_t port)
{
	if (address->any.sa_family == AF_INET)
		address->in.sin_port = htons(port);
	else
		address->in6.sin6_port = htons(port);
}

uint16_t
address_port(const union address *address)
{
	return ntohs(address->any.sa_family == AF_INET
			 ? address->in.sin_port
			 : address->in6.sin6_port);
}

bool
address_is_any(const union address *address)
{
	if (address->any.sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&address->in6.sin6_addr);
	return address->in.sin_addr.s_addr == htonl(INADDR_ANY);
}

socklen_t
address_size(const union address *address)
{
	return address->any.sa_family == AF_INET ? sizeof(address->in)
						 : sizeof(address->in6);
}

/* As inet_ntop, which goes by way of printf. */
static void
put_ipv4(uint32_t address, char *text)
{
	for (int shift = 24; shift >= 0; shift -= 8) {
		unsigned octet = address >> shift & 0xff;

		if (octet >= 100)
			*text++ = (char)('0' + octet / 100);
		if (octet >= 10)
			*text++ = (char)('0' + octet / 10 % 10);
		*text++ = (char)('0' + octet % 10);
		*text++ = shift > 0 ? '.' : '\0';
	}
}

void
address_text(const union address *address, char *text, size_t size)
{
	text[0] = '\0';
	if (address->any.sa_family == AF_INET && size >= INET_ADDRSTRLEN)
		put_ipv4(ntohl(address->in.sin_addr.s_addr), text);
	else if (address->any.sa_family == AF_INET6 &&
		 !inet_ntop(
		     AF_INET6, &address->in6.sin6_addr, text, (socklen_t)size))
		text[0] = '\0';
}
