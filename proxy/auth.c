#include "proxy/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "proxy/auth_bind.h"
#include "proxy/auth_gss.h"
#include "proxy/auth_protocol.h"
#include "proxy/auth_ticket.h"
#include "proxy/auth_votes.h"
#include "proxy/control.h"
#include "proxy/sasl.h"

#define AUTH_BATCH 64 /* requests taken of one relay in a row */

/* A relay, as long as it lives. */
struct auth_channel {
	LIST_ENTRY(auth_channel) link;
	struct auth *auth; /* borrowed */
	int fd;            /* owned */
	struct event *event;
	LIST_HEAD(, auth_exchange) exchanges;
};

/* A request that is not answered yet. */
struct auth_exchange {
	LIST_ENTRY(auth_exchange) link;
	struct auth_channel *channel; /* borrowed */
	uint32_t id;
	struct buf name, authorise;       /* owned */
	const struct config_login *login; /* NULL: with the password */
	struct bind_query *query;         /* owned */
	struct gss_exchange *gss;         /* owned */
	struct buf server;                /* owned: principal of the back end */
	struct ticket_waiter *ticket;     /* owned */
};

struct auth {
	const struct auth_settings *settings;
	const struct config *config;
	struct log log;
	struct event_base *base;
	struct event *parent_event;
	struct bind_pool *pool;
	struct tickets *tickets;
	struct buf *passwords; /* owned: one for each of config.logins */
	LIST_HEAD(, auth_channel) channels;
	bool retired;
};

int
auth_read_password(const char *path, struct buf *password)
{
	char *room = buf_reserve(password, SASL_PASSWORD_SIZE_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = -1;
	size_t line_end;

	if (fd >= 0 && room)
		size = read(fd, room, SASL_PASSWORD_SIZE_MAX);
	if (fd >= 0)
		close(fd);
	if (size < 0)
		return -1;
	line_end = slice_find(slice_of(room, (size_t)size), '\n');
	buf_grow(password, line_end == SIZE_MAX ? (size_t)size : line_end);
	return 0;
}

/* ---- answers ---- */

/* A relay that takes no answer is one that has died, or will ask again. */
static void
send_answer(struct auth_channel *channel, const struct auth_answer *answer)
{
	struct buf out = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);

	auth_answer_write(&out, answer);
	if (!out.failed && send(channel->fd, out.data, out.size,
			       MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_why(&channel->auth->log, LOG_LEVEL_WARNING, "answer_lost",
		    strerrordesc_np(errno));
	buf_wipe(&out);
}

static void
refuse(struct auth_channel *channel, uint32_t id, enum auth_verdict verdict,
    const char *why)
{
	struct auth_answer answer = {
		.id = id, .verdict = verdict, .why = slice_from(why)
	};

	send_answer(channel, &answer);
}

/* May `name` into the mailbox of `authorise`? */
static bool
may_act_for(
    const struct config_auth *auth, struct slice name, struct slice authorise)
{
	if (authorise.size == 0 || slice_equal_nocase(name, authorise))
		return true;
	for (size_t i = 0; i < auth->masters.count; i++)
		if (slice_is_nocase(name, auth->masters.items[i]))
			return true;
	return false;
}

/* What the relay needs at the back end. */
static void
grant(struct auth_channel *channel, uint32_t id, struct slice name,
    struct slice authorise, const struct config_login *login)
{
	struct auth *auth = channel->auth;
	const struct config_login *logins = auth->config->logins.items;
	struct auth_answer answer = { .id = id, .verdict = AUTH_ACCEPTED };

	if (!may_act_for(&auth->config->auth, name, authorise)) {
		refuse(channel, id, AUTH_REFUSED,
		    "not one of the masters, who may log in as others");
		return;
	}
	answer.authorise = authorise;
	if (login && login->as == CONFIG_LOGIN_MASTER) {
		answer.login = AUTH_LOGIN_MASTER;
		answer.name = slice_from(login->user);
		answer.password = buf_slice(&auth->passwords[login - logins]);
	} else if (login && login->as == CONFIG_LOGIN_GSSAPI) {
		answer.login = AUTH_LOGIN_GSSAPI;
	}
	send_answer(channel, &answer);
}

/* ---- requests ---- */

static void
exchange_free(struct auth_exchange *exchange)
{
	bind_cancel(&exchange->query);
	ticket_cancel(&exchange->ticket);
	gss_exchange_free(&exchange->gss);
	buf_free(&exchange->server);
	LIST_REMOVE(exchange, link);
	buf_free(&exchange->name);
	buf_free(&exchange->authorise);
	free(exchange);
}

static struct auth_exchange *
exchange_new(struct auth_channel *channel, const struct auth_request *request)
{
	struct auth_exchange *exchange = calloc(1, sizeof(*exchange));

	if (!exchange)
		abort();
	exchange->channel = channel;
	exchange->id = request->id;
	exchange->name = buf_bounded(SASL_NAME_SIZE_MAX);
	exchange->authorise = buf_bounded(SASL_NAME_SIZE_MAX);
	exchange->server = buf_bounded(SASL_NAME_SIZE_MAX);
	buf_add_slice(&exchange->name, request->name);
	buf_add_slice(&exchange->authorise, request->authorise);
	exchange->login = config_find_login(
	    channel->auth->config, request->pool, request->service);
	LIST_INSERT_HEAD(&channel->exchanges, exchange, link);
	return exchange;
}

static struct auth_exchange *
find_exchange(const struct auth_channel *channel, uint32_t id)
{
	struct auth_exchange *exchange;

	LIST_FOREACH(exchange, &channel->exchanges, link)
	if (exchange->id == id)
		return exchange;
	return NULL;
}

static void
on_bound(void *context, enum bind_result result, const char *why)
{
	struct auth_exchange *exchange = context;

	exchange->query = NULL;
	switch (result) {
	case BIND_ACCEPTED:
		grant(exchange->channel, exchange->id,
		    buf_slice(&exchange->name), buf_slice(&exchange->authorise),
		    exchange->login);
		break;
	case BIND_REFUSED:
		refuse(exchange->channel, exchange->id, AUTH_REFUSED, why);
		break;
	case BIND_UNAVAILABLE:
		refuse(exchange->channel, exchange->id, AUTH_UNAVAILABLE, why);
		break;
	}
	exchange_free(exchange);
}

static void
take_password(struct auth_channel *channel, const struct auth_request *request)
{
	struct auth_exchange *exchange = exchange_new(channel, request);

	exchange->query = bind_ask(channel->auth->pool, request->dn,
	    request->message, on_bound, exchange);
	if (exchange->query)
		return;
	exchange_free(exchange);
	refuse(channel, request->id, AUTH_UNAVAILABLE,
	    "too many logins wait for the directory");
}

/* ---- GSSAPI ---- */

/* Takes the exchange a message further; it may be gone afterwards. */
static void
step_gss(struct auth_exchange *exchange, struct slice message)
{
	struct auth_channel *channel = exchange->channel;
	struct buf out = buf_bounded(SASL_MESSAGE_SIZE_MAX);
	struct auth_answer answer = { .id = exchange->id };
	const char *why = "";

	switch (gss_exchange_step(exchange->gss, message, &out, &why)) {
	case GSS_CONTINUE:
		answer.verdict = AUTH_CHALLENGE;
		answer.message = buf_slice(&out);
		break;
	case GSS_FINISHED:
		answer.verdict = AUTH_ACCEPTED;
		answer.name = gss_exchange_name(exchange->gss);
		answer.authorise = gss_exchange_authorise(exchange->gss);
		answer.message = gss_exchange_uid(exchange->gss);
		break;
	case GSS_FAILED:
		answer.verdict = AUTH_REFUSED;
		answer.why = slice_from(why);
		break;
	}
	send_answer(channel, &answer);
	if (answer.verdict != AUTH_CHALLENGE)
		exchange_free(exchange);
	buf_wipe(&out);
}

static void
take_accept(struct auth_channel *channel, const struct auth_request *request)
{
	struct auth_exchange *exchange;
	const char *why = "GSSAPI is not configured";
	const char *keytab = channel->auth->config->auth.keytab;
	struct gss_exchange *gss =
	    keytab ? gss_accept_new(keytab, request->service, &why) : NULL;

	if (!gss) {
		refuse(channel, request->id, AUTH_UNAVAILABLE, why);
		return;
	}
	exchange = exchange_new(channel, request);
	exchange->gss = gss;
	step_gss(exchange, request->message);
}

static void
on_credential(void *context, gss_cred_id_t credential, const char *why)
{
	struct auth_exchange *exchange = context;

	exchange->ticket = NULL;
	if (credential != GSS_C_NO_CREDENTIAL)
		exchange->gss =
		    gss_initiate_new(credential, buf_string(&exchange->server),
			buf_slice(&exchange->authorise), &why);
	if (exchange->gss) {
		step_gss(exchange, slice_from(""));
		return;
	}
	refuse(exchange->channel, exchange->id, AUTH_UNAVAILABLE, why);
	exchange_free(exchange);
}

/* At the back end by the proxy's own principal, for the user. */
static void
take_initiate(struct auth_channel *channel, const struct auth_request *request)
{
	const char *service = gss_service_name(request->service);
	struct auth_exchange *exchange = exchange_new(channel, request);
	const struct config_login *login = exchange->login;
	struct ticket_waiter *waiter;

	if (!service || !login || login->as != CONFIG_LOGIN_GSSAPI ||
	    !channel->auth->tickets || request->host.size == 0 ||
	    slice_find(request->host, '\0') != SIZE_MAX) {
		refuse(channel, request->id, AUTH_UNAVAILABLE,
		    "GSSAPI is not configured for this server");
		exchange_free(exchange);
		return;
	}
	buf_printf(&exchange->server, "%s/", service);
	buf_add_slice(&exchange->server, request->host);
	waiter = ticket_get(channel->auth->tickets, login->keytab, login->user,
	    buf_string(&exchange->server), on_credential, exchange);
	/* Without one the answer was there, and the exchange may be gone. */
	if (waiter)
		exchange->ticket = waiter;
}

/* ---- any request ---- */

static void
take_request(struct auth_channel *channel, const struct auth_request *request)
{
	struct auth_exchange *exchange = find_exchange(channel, request->id);

	switch (request->kind) {
	case AUTH_PASSWORD:
		if (!exchange)
			take_password(channel, request);
		return;
	case AUTH_GRANT:
		grant(channel, request->id, request->name, request->authorise,
		    config_find_login(channel->auth->config, request->pool,
			request->service));
		return;
	case AUTH_CANCEL:
		if (exchange)
			exchange_free(exchange);
		return;
	case AUTH_ACCEPT:
		if (!exchange)
			take_accept(channel, request);
		return;
	case AUTH_INITIATE:
		if (!exchange)
			take_initiate(channel, request);
		return;
	case AUTH_MORE:
		if (!exchange || !exchange->gss)
			break;
		step_gss(exchange, request->message);
		return;
	case AUTH_KIND_COUNT:
		break;
	}
	refuse(channel, request->id, AUTH_UNAVAILABLE,
	    "the exchange is not known here");
}

/* ---- relays and the parent ---- */

static void
channel_free(struct auth_channel *channel)
{
	while (!LIST_EMPTY(&channel->exchanges))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		exchange_free(LIST_FIRST(&channel->exchanges));
	LIST_REMOVE(channel, link);
	event_free(channel->event);
	close(channel->fd);
	free(channel);
}

static void
on_relay(evutil_socket_t fd, short what, void *context)
{
	static char datagram[AUTH_PROTOCOL_SIZE_MAX];
	struct auth_channel *channel = context;
	struct auth *auth = channel->auth;
	struct auth_request request;
	ssize_t size = -1;

	(void)what;
	for (int i = 0; i < AUTH_BATCH; i++) {
		size = recv(fd, datagram, sizeof(datagram), MSG_DONTWAIT);
		if (size <= 0)
			break;
		if (auth_request_read(
			&request, slice_of(datagram, (size_t)size)) == 0)
			take_request(channel, &request);
		explicit_bzero(datagram, (size_t)size);
	}
	if (size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	channel_free(channel);
	if (auth->retired && LIST_EMPTY(&auth->channels))
		event_base_loopbreak(auth->base);
}

static void
add_channel(struct auth *auth, int fd)
{
	struct auth_channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		abort();
	channel->auth = auth;
	channel->fd = fd;
	LIST_INIT(&channel->exchanges);
	channel->event =
	    event_new(auth->base, fd, EV_READ | EV_PERSIST, on_relay, channel);
	if (!channel->event || event_add(channel->event, NULL) < 0)
		abort();
	LIST_INSERT_HEAD(&auth->channels, channel, link);
}

/* Sessions of relays that retire with us may still log in, for so long. */
static void
retire(struct auth *auth)
{
	struct timeval patience = { auth->config->limits.login_time, 0 };

	auth->retired = true;
	event_del(auth->parent_event);
	if (LIST_EMPTY(&auth->channels))
		event_base_loopbreak(auth->base);
	else
		event_base_loopexit(auth->base, &patience);
}

static void
on_parent(evutil_socket_t fd, short what, void *context)
{
	struct auth *auth = context;
	char text[CONTROL_QUESTION_SIZE];
	int channel_fd;
	long size = control_receive_fd(fd, &channel_fd, text);

	(void)what;
	if (size == 0)
		retire(auth);
	else if (size > 0 && channel_fd >= 0)
		add_channel(auth, channel_fd);
}

static void
serve_relays(struct auth *auth, const struct buf *password)
{
	auth->base = event_base_new();
	if (!auth->base)
		abort();
	auth->pool =
	    bind_pool_new(auth->base, auth->config, password, &auth->log);
	auth->tickets =
	    tickets_new(auth->base, auth->config->auth.deadline, &auth->log);
	auth->parent_event = event_new(auth->base, auth->settings->parent_fd,
	    EV_READ | EV_PERSIST, on_parent, auth);
	if (!auth->pool || !auth->parent_event ||
	    event_add(auth->parent_event, NULL) < 0)
		abort();
	event_base_dispatch(auth->base);
	while (!LIST_EMPTY(&auth->channels))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		channel_free(LIST_FIRST(&auth->channels));
	event_free(auth->parent_event);
	bind_pool_free(&auth->pool);
	tickets_free(&auth->tickets);
	event_base_free(auth->base);
}

/* ---- life ---- */

/* All passwords that are configured. 0, or -1 (errno). */
static int
read_passwords(struct auth *auth, struct buf *password)
{
	const struct config *config = auth->config;
	const struct config_login *logins = config->logins.items;

	if (config->directory.password_file &&
	    auth_read_password(config->directory.password_file, password) < 0)
		return -1;
	auth->passwords =
	    calloc(config->logins.count + 1, sizeof(*auth->passwords));
	if (!auth->passwords)
		return -1;
	for (size_t i = 0; i < config->logins.count; i++) {
		auth->passwords[i] = buf_bounded(SASL_PASSWORD_SIZE_MAX);
		if (logins[i].as == CONFIG_LOGIN_MASTER &&
		    auth_read_password(
			logins[i].password_file, &auth->passwords[i]) < 0)
			return -1;
	}
	return 0;
}

int
auth_run(const struct auth_settings *settings)
{
	struct auth auth = { .settings = settings,
		.config = settings->config,
		.log = settings->log };
	struct buf password = buf_bounded(SASL_PASSWORD_SIZE_MAX + 1);
	const char *why = NULL;

	/* What the host's ldap.conf says is meant for others. */
	setenv("LDAPNOINIT", "1", 1);
	LIST_INIT(&auth.channels);
	if (read_passwords(&auth, &password) < 0)
		why = strerrordesc_np(errno);
	else if (jail_enter(&settings->jail, &why) == 0 &&
		 settings->health_fd >= 0)
		auth_votes_run(settings, &password);
	else if (!why)
		serve_relays(&auth, &password);
	if (why)
		log_why(&auth.log, LOG_LEVEL_ERROR, "auth_failed", why);
	for (size_t i = 0; auth.passwords && i < settings->config->logins.count;
	     i++)
		buf_wipe(&auth.passwords[i]);
	free(auth.passwords);
	buf_wipe(&password);
	return why ? EXIT_FAILURE : EXIT_SUCCESS;
}
