#include "replica/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <openldap.h>

#include "lib/buf.h"
#include "replica/clock.h"

#define CONNECTION_WHY_SIZE     320
#define CONNECTION_PASSWORD_MAX 4096
/* Messages of one turn; the loop then sees to its timers. */
#define CONNECTION_TURN_MAX   1000
#define CONNECTION_READ_AHEAD 65536 /* octets */

enum connection_state {
	CONNECTION_RESOLVING,
	CONNECTION_CONNECTING,
	CONNECTION_STARTTLS, /* asked for */
	CONNECTION_HANDSHAKE,
	CONNECTION_BINDING,
	CONNECTION_READY,
	CONNECTION_FAILED,
	CONNECTION_STATE_COUNT
};

static const char *const connection_doing[] = {
	[CONNECTION_RESOLVING] = "resolving its name: ",
	[CONNECTION_CONNECTING] = "connecting: ",
	[CONNECTION_STARTTLS] = "StartTLS: ",
	[CONNECTION_HANDSHAKE] = "TLS: ",
	[CONNECTION_BINDING] = "bind: ",
	[CONNECTION_READY] = "",
	[CONNECTION_FAILED] = "",
};
_Static_assert(ARRAY_SIZE(connection_doing) == CONNECTION_STATE_COUNT,
    "a text for each state");

/*
 * A running lookup. libevent answers it even after it was cancelled, when the
 * connection is gone, so it stands alone.
 */
struct connection_lookup {
	struct connection *connection; /* borrowed; NULL once cancelled */
	struct evdns_getaddrinfo_request *request;
};

struct connection {
	struct event_base *base; /* borrowed */
	struct evdns_base *dns;  /* borrowed */
	struct connection_options options;
	struct connection_events events;
	void *context; /* borrowed */
	enum connection_state state;
	LDAPURLDesc *url;                 /* owned */
	struct connection_lookup *lookup; /* while it runs; frees itself */
	struct evutil_addrinfo *addresses, *address; /* owned; the one tried */
	int fd;                             /* owned until libldap has it */
	LDAP *ldap;                         /* owned */
	struct connection_tls *tls;         /* owned; outlives ldap */
	struct event *io, *deadline, *over; /* owned */
	int message_id; /* what StartTLS or bind waits for */
	long long heard_ms;
	char why[CONNECTION_WHY_SIZE];
};

static void connection_try_address(struct connection *connection);
static void connection_readable(evutil_socket_t fd, short what, void *context);

const char *
connection_check_url(const char *url)
{
	const char *why = NULL;
	LDAPURLDesc *parts = NULL;

	if (ldap_url_parse(url, &parts) != LDAP_URL_SUCCESS)
		return "not an LDAP URL";
	if (strcmp(parts->lud_scheme, "ldap") != 0 &&
	    strcmp(parts->lud_scheme, "ldaps") != 0 &&
	    strcmp(parts->lud_scheme, "ldapi") != 0)
		why = "not ldap, ldaps or ldapi";
	ldap_free_urldesc(parts);
	return why;
}

static bool
connection_has_scheme(const struct connection *connection, const char *scheme)
{
	return strcmp(connection->url->lud_scheme, scheme) == 0;
}

void
connection_fail(struct connection *connection, const char *why)
{
	if (connection->state == CONNECTION_FAILED)
		return;
	(void)snprintf(connection->why, sizeof(connection->why), "%s%s",
	    connection_doing[connection->state], why);
	connection->state = CONNECTION_FAILED;
	(void)event_del(connection->deadline);
	if (connection->io)
		(void)event_del(connection->io);
	event_active(connection->over, EV_TIMEOUT, 0);
}

/* With what the server said to it, where it said something. */
static void
connection_fail_code(struct connection *connection, int code, const char *text)
{
	char why[CONNECTION_WHY_SIZE];

	(void)snprintf(why, sizeof(why), "%s%s%s", ldap_err2string(code),
	    text && text[0] != '\0' ? ": " : "", text ? text : "");
	connection_fail(connection, why);
}

static void
connection_fail_ldap(struct connection *connection)
{
	char *text = NULL;
	int code = LDAP_OTHER;

	(void)ldap_get_option(connection->ldap, LDAP_OPT_RESULT_CODE, &code);
	(void)ldap_get_option(
	    connection->ldap, LDAP_OPT_DIAGNOSTIC_MESSAGE, &text);
	connection_fail_code(connection, code, text);
	ldap_memfree(text);
}

static void
connection_over(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;

	(void)fd;
	(void)what;
	connection->events.failed(connection->context, connection->why);
}

static void
connection_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	connection_fail(context, "no answer in time");
}

static void
connection_bind(struct connection *connection)
{
	const struct connection_options *options = &connection->options;
	bool external = options->bind == CONNECTION_EXTERNAL;
	struct buf password = buf_bounded(CONNECTION_PASSWORD_MAX);
	struct berval secret;
	char empty[] = "";
	int code = LDAP_NO_MEMORY;

	connection->state = CONNECTION_BINDING;
	/* A password without a name is an error to most servers. */
	if (!external && options->bind_dn[0] != '\0')
		(void)buf_add_slice(&password, options->password);
	/* EXTERNAL wants an empty response along, or the server asks for it. */
	secret = (struct berval){ password.size,
		password.data ? password.data : empty };
	if (!password.failed)
		code = ldap_sasl_bind(connection->ldap,
		    external ? "" : options->bind_dn,
		    external ? "EXTERNAL" : LDAP_SASL_SIMPLE, &secret, NULL,
		    NULL, &connection->message_id);
	buf_wipe(&password);
	if (code != LDAP_SUCCESS)
		connection_fail_code(connection, code, NULL);
}

/* Has the loop wait for that. */
static void
connection_await(struct connection *connection, short what)
{
	(void)event_del(connection->io);
	if (event_assign(connection->io, connection->base, connection->fd,
		(short)(what | EV_PERSIST), connection_readable,
		connection) != 0 ||
	    event_add(connection->io, NULL) != 0)
		connection_fail(connection, "out of memory");
}

static void
connection_shake_hands(struct connection *connection)
{
	char why[CONNECTION_WHY_SIZE];

	switch (connection_tls_handshake(connection->tls, why, sizeof(why))) {
	case CONNECTION_TLS_READ:
		connection_await(connection, EV_READ);
		break;
	case CONNECTION_TLS_WRITE:
		connection_await(connection, EV_WRITE);
		break;
	case CONNECTION_TLS_FAILED:
		connection_fail(connection, why);
		break;
	case CONNECTION_TLS_DONE:
		connection_await(connection, EV_READ);
		if (connection_tls_attach(connection->tls, connection->ldap) ==
		    0)
			connection_bind(connection);
		else
			connection_fail(connection, "out of memory");
		break;
	}
}

static void
connection_begin_tls(struct connection *connection)
{
	const char *host = connection->url->lud_host;
	char why[CONNECTION_WHY_SIZE];

	connection->state = CONNECTION_HANDSHAKE;
	connection->tls = connection_tls_new(connection->fd,
	    host && host[0] != '\0' ? host : "localhost",
	    &connection->options.tls_files, why, sizeof(why));
	if (connection->tls)
		connection_shake_hands(connection);
	else
		connection_fail(connection, why);
}

/* The answer to StartTLS or to the bind. */
static void
connection_step(struct connection *connection, LDAPMessage *message)
{
	char *text = NULL;
	int result = LDAP_OTHER;
	int code;

	if (ldap_msgid(message) != connection->message_id)
		return;
	code = ldap_parse_result(
	    connection->ldap, message, &result, NULL, &text, NULL, NULL, 0);
	if (code != LDAP_SUCCESS) {
		connection_fail_code(connection, code, NULL);
	} else if (result != LDAP_SUCCESS) {
		connection_fail_code(connection, result, text);
	} else if (connection->state == CONNECTION_STARTTLS) {
		connection_begin_tls(connection);
	} else {
		connection->state = CONNECTION_READY;
		(void)event_del(connection->deadline);
		connection->events.ready(connection->context);
	}
	ldap_memfree(text);
}

static void
connection_dispatch(struct connection *connection, LDAPMessage *message)
{
	connection->heard_ms = clock_monotonic_ms();
	/* Notice of disconnection, RFC 4511 section 4.4.1. */
	if (ldap_msgid(message) == 0)
		connection_fail(connection, "the server disconnects");
	else if (connection->state == CONNECTION_READY)
		connection->events.message(connection->context, message);
	else
		connection_step(connection, message);
}

void
connection_poll(struct connection *connection)
{
	struct timeval none = { 0, 0 };
	LDAPMessage *message = NULL;
	int type = 0;
	size_t i;

	if (connection->state < CONNECTION_STARTTLS)
		return;
	if (connection->state == CONNECTION_HANDSHAKE) {
		connection_shake_hands(connection);
		return;
	}
	/* What follows the answer to StartTLS is for the handshake. */
	for (i = 0; i < CONNECTION_TURN_MAX &&
		    connection->state != CONNECTION_FAILED &&
		    connection->state != CONNECTION_HANDSHAKE;
	     i++) {
		type = ldap_result(connection->ldap, LDAP_RES_ANY, LDAP_MSG_ONE,
		    &none, &message);
		if (type <= 0)
			break;
		connection_dispatch(connection, message);
		(void)ldap_msgfree(message);
	}
	/* libldap may hold more that the descriptor does not show. */
	if (i == CONNECTION_TURN_MAX && connection->state != CONNECTION_FAILED)
		event_active(connection->io, EV_READ, 0);
	if (type < 0)
		connection_fail_ldap(connection);
	if (i > 0 && connection->state == CONNECTION_READY)
		connection->events.turn(connection->context);
}

static void
connection_readable(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	connection_poll(context);
}

static int
connection_set_options(LDAP *ldap)
{
	int version = LDAP_VERSION3;
	int code = ldap_set_option(ldap, LDAP_OPT_PROTOCOL_VERSION, &version);

	if (code == LDAP_OPT_SUCCESS)
		code = ldap_set_option(ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	return code;
}

/*
 * libldap reads the head of each message, then its body; so many octets are
 * read ahead instead. Below TLS, which has its own records, nothing is.
 */
static void
connection_read_ahead(struct connection *connection)
{
	Sockbuf *stream = NULL;
	int size = CONNECTION_READ_AHEAD;

	/* Without it all works as well. */
	if (ldap_get_option(connection->ldap, LDAP_OPT_SOCKBUF, &stream) ==
		LDAP_OPT_SUCCESS &&
	    stream)
		(void)ber_sockbuf_add_io(stream, &ber_sockbuf_io_readahead,
		    LBER_SBIOD_LEVEL_PROVIDER, &size);
}

/* The descriptor is connected: libldap takes it from here. */
static void
connection_start(struct connection *connection)
{
	bool local = connection_has_scheme(connection, "ldapi");
	int code = ldap_init_fd(connection->fd,
	    local ? LDAP_PROTO_IPC : LDAP_PROTO_TCP, connection->options.url,
	    &connection->ldap);

	if (code != LDAP_SUCCESS) {
		connection->ldap = NULL;
		connection_fail_code(connection, code, NULL);
		return;
	}
	if (connection_set_options(connection->ldap) != LDAP_OPT_SUCCESS) {
		connection_fail(connection, "out of memory");
		return;
	}
	connection_await(connection, EV_READ);
	if (connection->state == CONNECTION_FAILED)
		return;
	if (connection_has_scheme(connection, "ldaps")) {
		connection_begin_tls(connection);
	} else if (connection->options.starttls && !local) {
		connection->state = CONNECTION_STARTTLS;
		if (ldap_start_tls(connection->ldap, NULL, NULL,
			&connection->message_id) != LDAP_SUCCESS)
			connection_fail_ldap(connection);
	} else {
		connection_read_ahead(connection);
		connection_bind(connection);
	}
}

static void
connection_writable(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	socklen_t size = sizeof(int);
	int error = 0;

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
		error = errno;
	if (error == 0) {
		connection_start(connection);
		return;
	}
	event_free(connection->io);
	connection->io = NULL;
	(void)close(connection->fd);
	connection->fd = -1;
	if (connection->address && connection->address->ai_next) {
		connection->address = connection->address->ai_next;
		connection_try_address(connection);
		return;
	}
	connection_fail(connection, strerror(error));
}

static void
connection_connect(struct connection *connection,
    const struct sockaddr *address, socklen_t size)
{
	int on = 1;

	connection->state = CONNECTION_CONNECTING;
	connection->fd = socket(
	    address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connection->fd < 0) {
		connection_fail(connection, strerror(errno));
		return;
	}
	if (address->sa_family != AF_UNIX)
		(void)setsockopt(
		    connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	connection->io = event_new(connection->base, connection->fd, EV_WRITE,
	    connection_writable, connection);
	if (!connection->io || event_add(connection->io, NULL) != 0) {
		connection_fail(connection, "out of memory");
		return;
	}
	if (connect(connection->fd, address, size) != 0 && errno != EINPROGRESS)
		connection_fail(connection, strerror(errno));
}

static void
connection_try_address(struct connection *connection)
{
	connection_connect(connection, connection->address->ai_addr,
	    (socklen_t)connection->address->ai_addrlen);
}

static void
connection_resolved(int code, struct evutil_addrinfo *addresses, void *context)
{
	struct connection_lookup *lookup = context;
	struct connection *connection = lookup->connection;

	free(lookup);
	if (!connection) {
		if (addresses)
			evutil_freeaddrinfo(addresses);
		return;
	}
	connection->lookup = NULL;
	connection->addresses = connection->address = addresses;
	if (connection->state == CONNECTION_FAILED)
		return;
	if (code != 0 || !addresses) {
		connection_fail(connection, evutil_gai_strerror(code));
		return;
	}
	connection_try_address(connection);
}

static void
connection_connect_local(struct connection *connection)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = connection->url->lud_host;

	if (!path || path[0] == '\0')
		path = "/run/slapd/ldapi";
	if (strlen(path) >= sizeof(address.sun_path)) {
		connection_fail(connection, "the path is too long");
		return;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	connection_connect(connection, (struct sockaddr *)&address,
	    (socklen_t)sizeof(address));
}

static void
connection_resolve(struct connection *connection)
{
	struct evutil_addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_protocol = IPPROTO_TCP };
	const char *host = connection->url->lud_host;
	struct connection_lookup *lookup = calloc(1, sizeof(*lookup));
	struct evdns_getaddrinfo_request *request;
	char port[8];

	if (!lookup) {
		connection_fail(connection, "out of memory");
		return;
	}
	lookup->connection = connection;
	connection->lookup = lookup;
	(void)snprintf(port, sizeof(port), "%d", connection->url->lud_port);
	if (!host || host[0] == '\0')
		host = "localhost";
	request = evdns_getaddrinfo(
	    connection->dns, host, port, &hints, connection_resolved, lookup);
	/* It may have answered already, and the lookup is gone then. */
	if (request)
		lookup->request = request;
}

static void
connection_begin(struct connection *connection)
{
	if (ldap_url_parse(connection->options.url, &connection->url) !=
	    LDAP_URL_SUCCESS) {
		connection->url = NULL;
		connection_fail(connection, "not an LDAP URL");
	} else if (connection_has_scheme(connection, "ldapi")) {
		connection_connect_local(connection);
	} else {
		connection_resolve(connection);
	}
}

struct connection *
connection_new(struct event_base *base, struct evdns_base *dns,
    const struct connection_options *options,
    const struct connection_events *events, void *context)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	struct timeval timeout = { options->timeout_ms / 1000,
		(suseconds_t)(options->timeout_ms % 1000) * 1000 };

	if (!connection)
		return NULL;
	connection->base = base;
	connection->dns = dns;
	connection->options = *options;
	connection->events = *events;
	connection->context = context;
	connection->fd = -1;
	connection->deadline =
	    evtimer_new(base, connection_deadline, connection);
	connection->over = evtimer_new(base, connection_over, connection);
	if (!connection->deadline || !connection->over ||
	    evtimer_add(connection->deadline, &timeout) != 0) {
		connection_free(&connection);
		return NULL;
	}
	connection_begin(connection);
	return connection;
}

void
connection_free(struct connection **connection)
{
	struct connection *old = *connection;

	*connection = NULL;
	if (!old)
		return;
	if (old->lookup) {
		old->lookup->connection = NULL;
		evdns_getaddrinfo_cancel(old->lookup->request);
	}
	if (old->io)
		event_free(old->io);
	if (old->deadline)
		event_free(old->deadline);
	if (old->over)
		event_free(old->over);
	if (old->ldap)
		(void)ldap_unbind_ext(old->ldap, NULL, NULL);
	else if (old->fd >= 0)
		(void)close(old->fd);
	connection_tls_free(&old->tls);
	if (old->addresses)
		evutil_freeaddrinfo(old->addresses);
	ldap_free_urldesc(old->url);
	free(old);
}

LDAP *
connection_ldap(struct connection *connection)
{
	return connection->ldap;
}

long long
connection_heard_ms(const struct connection *connection)
{
	return connection->heard_ms;
}
