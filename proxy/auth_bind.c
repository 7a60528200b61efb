#include "proxy/auth_bind.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include <event2/dns.h>
#include <event2/event.h>
#include <ldap.h>

#include "proxy/sasl.h"
#include "replica/connection.h"

#define BIND_DN_SIZE_MAX 4096
#define BIND_LATE_MS     300  /* an answer that took longer is late */
#define BIND_RETRY_MS    1000 /* until a server that failed is tried again */

struct bind_server;

enum link_state {
	LINK_CLOSED,
	LINK_OPENING,
	LINK_IDLE,
	LINK_BUSY,     /* its bind's answer is awaited */
	LINK_CANCELLED /* the same, but nobody wants to know */
};

/* One connection. */
struct bind_link {
	struct bind_server *server;    /* borrowed */
	struct connection *connection; /* owned */
	enum link_state state;
	struct bind_query *query; /* while BUSY */
	int message;              /* its id */
	int64_t since_ms;         /* BUSY, CANCELLED, OPENING */
	struct event *timer;      /* owned: the answer's deadline */
};

struct bind_server {
	struct bind_pool *pool; /* borrowed */
	const char *uri;
	struct bind_link *links; /* owned */
	int64_t down_until_ms;   /* not before */
	bool failed; /* since it last served; said in the log once */
};

struct bind_query {
	TAILQ_ENTRY(bind_query) entry; /* in pool->waiting, unless `link` */
	struct bind_pool *pool;        /* borrowed */
	struct bind_link *link;        /* that carries it */
	struct buf dn, password;       /* owned */
	bind_done *done;
	void *context;
	unsigned attempts; /* servers that failed it, or while it waited */
	const char *why;   /* static: the last of them */
};

TAILQ_HEAD(bind_queue, bind_query);

struct bind_pool {
	struct event_base *base; /* borrowed */
	struct evdns_base *dns;  /* owned */
	const struct config *config;
	const struct log *log;
	struct connection_options options;
	struct bind_server *servers;     /* owned */
	size_t server_count, link_count; /* links of each server */
	struct bind_queue waiting;
	size_t query_count;
	struct event *turn; /* owned: looks after those who wait */
};

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
run_soon(struct bind_pool *pool)
{
	event_active(pool->turn, EV_TIMEOUT, 1);
}

/* ---- queries ---- */

static void
query_free(struct bind_query *query)
{
	struct bind_pool *pool = query->pool;

	pool->query_count--;
	buf_free(&query->dn);
	buf_wipe(&query->password);
	free(query);
}

/* It neither waits nor is carried any more. */
static void
finish(struct bind_query *query, enum bind_result result, const char *why)
{
	bind_done *done = query->done;
	void *context = query->context;

	query_free(query);
	done(context, result, why);
}

/* Its server failed it: the next one, unless all have. */
static void
ask_again(struct bind_query *query, const char *why)
{
	struct bind_pool *pool = query->pool;

	query->link = NULL;
	query->why = why;
	query->attempts++;
	TAILQ_INSERT_HEAD(&pool->waiting, query, entry);
	run_soon(pool);
}

/* ---- connections ---- */

static void
log_server(struct bind_server *server, const char *event, const char *why)
{
	struct log_line line =
	    log_line(why ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, event);

	log_string(&line, "server", server->uri);
	if (why)
		log_string(&line, "why", why);
	log_send(server->pool->log, &line);
}

static void
close_link(struct bind_link *link)
{
	struct bind_query *query = link->query;

	link->query = NULL;
	link->state = LINK_CLOSED;
	evtimer_del(link->timer);
	connection_free(&link->connection);
	if (query)
		ask_again(query, "the directory server failed");
}

/* The server cannot be reached, is silent, or cannot say: leave it alone. */
static void
set_down(struct bind_server *server, const char *why)
{
	struct bind_query *query;

	if (!server->failed)
		log_server(server, "directory_lost", why);
	server->failed = true;
	/* Several of its connections may tell the same. */
	if (now_ms() < server->down_until_ms)
		return;
	server->down_until_ms = now_ms() + BIND_RETRY_MS;
	TAILQ_FOREACH (query, &server->pool->waiting, entry)
		query->attempts++;
}

static void
on_ready(void *context)
{
	struct bind_link *link = context;

	if (link->server->failed)
		log_server(link->server, "directory_connected", NULL);
	link->server->failed = false;
	link->server->down_until_ms = 0;
	link->state = LINK_IDLE;
	run_soon(link->server->pool);
}

static void
on_failed(void *context, const char *why)
{
	struct bind_link *link = context;

	/* One that was good once may be old: a new one tells more. */
	if (link->state == LINK_OPENING)
		set_down(link->server, why);
	run_soon(link->server->pool);
	close_link(link);
}

static void
on_turn(void *context)
{
	(void)context;
}

/* What a server's answer to a bind means. */
static enum bind_result
judge(int code)
{
	switch (code) {
	case LDAP_SUCCESS:
		return BIND_ACCEPTED;
	case LDAP_INVALID_CREDENTIALS:
	case LDAP_INAPPROPRIATE_AUTH:
	case LDAP_NO_SUCH_OBJECT:
	case LDAP_INVALID_DN_SYNTAX:
	case LDAP_INVALID_SYNTAX:
	case LDAP_CONSTRAINT_VIOLATION:
		return BIND_REFUSED;
	default:
		return BIND_UNAVAILABLE;
	}
}

static void
take_result(struct bind_link *link, int code)
{
	struct bind_query *query = link->query;
	enum bind_result result = judge(code);

	link->query = NULL;
	link->state = LINK_IDLE;
	evtimer_del(link->timer);
	run_soon(link->server->pool);
	if (!query)
		return;
	/* Any other code concerns this account alone. */
	if (code == LDAP_BUSY || code == LDAP_UNAVAILABLE) {
		set_down(link->server, ldap_err2string(code));
		ask_again(query, "the directory server cannot say");
		return;
	}
	finish(query, result, ldap_err2string(code));
}

static void
on_message(void *context, LDAPMessage *message)
{
	struct bind_link *link = context;
	int result = LDAP_OTHER;

	if (ldap_msgid(message) != link->message ||
	    (link->state != LINK_BUSY && link->state != LINK_CANCELLED))
		return;
	if (ldap_parse_result(connection_ldap(link->connection), message,
		&result, NULL, NULL, NULL, NULL, 0) != LDAP_SUCCESS)
		result = LDAP_OTHER;
	take_result(link, result);
}

static void
on_unanswered(evutil_socket_t fd, short what, void *context)
{
	struct bind_link *link = context;

	(void)fd;
	(void)what;
	set_down(link->server, "no answer in time");
	run_soon(link->server->pool);
	close_link(link);
}

static const struct connection_events link_events = {
	.ready = on_ready,
	.message = on_message,
	.turn = on_turn,
	.failed = on_failed,
};

static void
open_link(struct bind_link *link)
{
	struct bind_pool *pool = link->server->pool;
	struct connection_options options = pool->options;

	options.url = link->server->uri;
	link->connection =
	    connection_new(pool->base, pool->dns, &options, &link_events, link);
	if (!link->connection)
		abort();
	link->state = LINK_OPENING;
	link->since_ms = now_ms();
}

/* Makes the bind. */
static void
carry(struct bind_link *link, struct bind_query *query)
{
	const struct config *config = link->server->pool->config;
	struct timeval patience = { config->directory.timeout, 0 };
	struct berval password = { query->password.size, query->password.data };
	int code = ldap_sasl_bind(connection_ldap(link->connection),
	    buf_string(&query->dn), LDAP_SASL_SIMPLE, &password, NULL, NULL,
	    &link->message);

	TAILQ_REMOVE(&query->pool->waiting, query, entry);
	query->link = link;
	link->query = query;
	link->state = LINK_BUSY;
	link->since_ms = now_ms();
	evtimer_add(link->timer, &patience);
	if (code != LDAP_SUCCESS)
		connection_fail(link->connection, ldap_err2string(code));
}

/* ---- which one ---- */

static bool
is_late(const struct bind_server *server, int64_t now)
{
	for (size_t i = 0; i < server->pool->link_count; i++) {
		const struct bind_link *link = &server->links[i];

		if (link->state != LINK_IDLE && link->state != LINK_CLOSED &&
		    now - link->since_ms > BIND_LATE_MS)
			return true;
	}
	return false;
}

/* The first that is not down and not late; else one that is late; else NULL. */
static struct bind_server *
choose_server(struct bind_pool *pool)
{
	struct bind_server *late = NULL;
	int64_t now = now_ms();

	for (size_t i = 0; i < pool->server_count; i++) {
		struct bind_server *server = &pool->servers[i];

		if (now < server->down_until_ms)
			continue;
		if (!is_late(server, now))
			return server;
		if (!late)
			late = server;
	}
	return late;
}

static struct bind_link *
find_link(struct bind_server *server, enum link_state state)
{
	for (size_t i = 0; i < server->pool->link_count; i++)
		if (server->links[i].state == state)
			return &server->links[i];
	return NULL;
}

static size_t
count_opening(const struct bind_server *server)
{
	size_t count = 0;

	for (size_t i = 0; i < server->pool->link_count; i++)
		count += server->links[i].state == LINK_OPENING;
	return count;
}

static void
look_again_in(struct bind_pool *pool, int64_t time_ms)
{
	struct timeval wait = { time_ms / 1000, time_ms % 1000 * 1000 };

	evtimer_add(pool->turn, &wait);
}

/* All are left alone for the moment: looks again when the first is not. */
static void
wait_for_server(struct bind_pool *pool)
{
	int64_t first_ms = INT64_MAX, wait_ms;

	for (size_t i = 0; i < pool->server_count; i++)
		if (pool->servers[i].down_until_ms < first_ms)
			first_ms = pool->servers[i].down_until_ms;
	wait_ms = first_ms - now_ms();
	look_again_in(pool, wait_ms > 0 ? wait_ms : 0);
}

static void
on_pool_turn(evutil_socket_t fd, short what, void *context)
{
	struct bind_pool *pool = context;
	struct bind_query *query;
	size_t wanted = 0;

	(void)fd;
	(void)what;
	while ((query = TAILQ_FIRST(&pool->waiting))) {
		struct bind_server *server = choose_server(pool);
		struct bind_link *link;

		/* What is freed was taken off the list before. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		if (query->attempts >= 2 * pool->server_count) {
			TAILQ_REMOVE(&pool->waiting, query, entry);
			finish(query, BIND_UNAVAILABLE,
			    query->why ? query->why
				       : "no directory server can be reached");
			continue;
		}
		if (!server) {
			wait_for_server(pool);
			return;
		}
		link = find_link(server, LINK_IDLE);
		if (link) {
			carry(link, query);
			continue;
		}
		/* One more connection for each who waits, up to the bound. */
		TAILQ_FOREACH (query, &pool->waiting, entry)
			wanted++;
		while (count_opening(server) < wanted &&
		       (link = find_link(server, LINK_CLOSED)))
			open_link(link);
		/* By then it is late, and others may not be. */
		look_again_in(pool, BIND_LATE_MS + 1);
		return;
	}
}

/* ---- for others ---- */

struct bind_query *
bind_ask(struct bind_pool *pool, struct slice dn, struct slice password,
    bind_done *done, void *context)
{
	struct bind_query *query;

	if (pool->query_count >= (size_t)pool->config->auth.requests)
		return NULL;
	query = calloc(1, sizeof(*query));
	if (!query)
		abort();
	pool->query_count++;
	query->pool = pool;
	query->dn = buf_bounded(BIND_DN_SIZE_MAX);
	query->password = buf_bounded(SASL_PASSWORD_SIZE_MAX);
	query->done = done;
	query->context = context;
	buf_add_slice(&query->dn, dn);
	buf_add_slice(&query->password, password);
	/* A bind without a password would be anonymous and succeed. */
	if (query->dn.failed || query->password.failed || dn.size == 0 ||
	    password.size == 0 || slice_find(dn, '\0') != SIZE_MAX) {
		query_free(query);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&pool->waiting, query, entry);
	run_soon(pool);
	return query;
}

void
bind_cancel(struct bind_query **query)
{
	struct bind_query *old = *query;

	*query = NULL;
	if (!old)
		return;
	if (old->link) {
		old->link->query = NULL;
		old->link->state = LINK_CANCELLED;
	} else {
		TAILQ_REMOVE(&old->pool->waiting, old, entry);
	}
	query_free(old);
}

static void
open_servers(struct bind_pool *pool)
{
	const struct config_directory *directory = &pool->config->directory;

	pool->server_count = directory->uris.count;
	pool->link_count = (size_t)pool->config->auth.connections;
	pool->servers = calloc(pool->server_count, sizeof(*pool->servers));
	if (!pool->servers)
		abort();
	for (size_t i = 0; i < pool->server_count; i++) {
		struct bind_server *server = &pool->servers[i];

		server->pool = pool;
		server->uri = directory->uris.items[i];
		server->links =
		    calloc(pool->link_count, sizeof(*server->links));
		if (!server->links)
			abort();
		for (size_t k = 0; k < pool->link_count; k++) {
			server->links[k].server = server;
			server->links[k].timer = evtimer_new(
			    pool->base, on_unanswered, &server->links[k]);
			if (!server->links[k].timer)
				abort();
		}
	}
}

/* A host without name servers knows the names of its own file. */
static struct evdns_base *
new_resolver(struct event_base *base)
{
	struct evdns_base *dns =
	    evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
				     EVDNS_BASE_DISABLE_WHEN_INACTIVE);

	if (dns)
		return dns;
	dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (dns)
		(void)evdns_base_load_hosts(dns, "/etc/hosts");
	return dns;
}

static const char *
or_none(const char *text)
{
	return text ? text : "";
}

struct bind_pool *
bind_pool_new(struct event_base *base, const struct config *config,
    const struct buf *password, const struct log *log)
{
	const struct config_directory *directory = &config->directory;
	struct bind_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->base = base;
	pool->config = config;
	pool->log = log;
	TAILQ_INIT(&pool->waiting);
	pool->dns = new_resolver(base);
	pool->turn = evtimer_new(base, on_pool_turn, pool);
	if (!pool->dns || !pool->turn)
		abort();
	pool->options = (struct connection_options){
		.bind = directory->bind == CONFIG_DIRECTORY_EXTERNAL
			    ? CONNECTION_EXTERNAL
			    : CONNECTION_SIMPLE,
		.bind_dn = or_none(directory->bind_dn),
		.password = buf_slice(password),
		.starttls = directory->tls == CONFIG_DIRECTORY_STARTTLS,
		.tls_files = { .ca_file = or_none(directory->ca_file),
		    .certificate = or_none(directory->certificate),
		    .key = or_none(directory->key) },
		.timeout_ms = (int)directory->timeout * 1000,
	};
	open_servers(pool);
	return pool;
}

void
bind_pool_free(struct bind_pool **pool)
{
	struct bind_pool *old = *pool;
	struct bind_query *query;

	*pool = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < old->server_count; i++) {
		for (size_t k = 0; k < old->link_count; k++) {
			close_link(&old->servers[i].links[k]);
			event_free(old->servers[i].links[k].timer);
		}
		free(old->servers[i].links);
	}
	while ((query = TAILQ_FIRST(&old->waiting))) {
		TAILQ_REMOVE(&old->waiting, query, entry);
		query_free(query);
	}
	free(old->servers);
	event_free(old->turn);
	evdns_base_free(old->dns, 0);
	free(old);
}
