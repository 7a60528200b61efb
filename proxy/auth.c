#include "proxy/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "proxy/auth_exchange.h"
#include "proxy/auth_fetch.h"
#include "proxy/auth_initiate.h"
#include "proxy/auth_votes.h"
#include "proxy/control.h"
#include "proxy/sasl.h"

#define AUTH_BATCH 64 /* requests taken of one relay in a row */

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

/* ---- logins ---- */

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

/*
 * What the relay needs at the back end. Whether the exchange of that id, if
 * there is one, is kept.
 */
static bool
grant(struct auth_channel *channel, const struct auth_request *request,
    const struct config_login *login, enum auth_verdict verdict)
{
	struct auth *auth = channel->auth;
	const struct config_login *logins = auth->config->logins.items;
	struct auth_answer answer = { .id = request->id, .verdict = verdict };

	if (!may_act_for(
		&auth->config->auth, request->name, request->authorise)) {
		auth_refuse(channel, request->id, AUTH_REFUSED,
		    "not one of the masters, who may log in as others");
		return false;
	}
	answer.authorise = request->authorise;
	if (login && login->as == CONFIG_LOGIN_MASTER) {
		answer.login = AUTH_LOGIN_MASTER;
		answer.name = slice_from(login->user);
		answer.password = buf_slice(&auth->passwords[login - logins]);
	} else if (login && (login->as == CONFIG_LOGIN_GSSAPI ||
				login->as == CONFIG_LOGIN_TICKET)) {
		answer.login = AUTH_LOGIN_GSSAPI;
	}
	auth_answer(channel, &answer);
	return verdict == AUTH_KEPT;
}

/* ---- passwords ---- */

static void
on_bound(void *context, enum bind_result result, const char *why)
{
	struct auth_exchange *exchange = context;
	struct auth_request request = { .id = exchange->id,
		.name = buf_slice(&exchange->name),
		.authorise = buf_slice(&exchange->authorise) };

	exchange->query = NULL;
	switch (result) {
	case BIND_ACCEPTED:
		if (grant(exchange->channel, &request, exchange->login,
			exchange->is_proof ? AUTH_KEPT : AUTH_ACCEPTED)) {
			exchange->verified = true;
			auth_exchange_keep(exchange);
			return;
		}
		break;
	case BIND_REFUSED:
		auth_refuse(exchange->channel, exchange->id, AUTH_REFUSED, why);
		break;
	case BIND_UNAVAILABLE:
		auth_refuse(
		    exchange->channel, exchange->id, AUTH_UNAVAILABLE, why);
		break;
	}
	auth_exchange_free(exchange);
}

/*
 * Can the KDC be asked for the user's own ticket by it? libkrb5 would end it at
 * a NUL.
 */
static bool
is_for_kdc(
    const struct auth_exchange *exchange, const struct auth_request *request)
{
	return exchange->login &&
	       config_login_uses(exchange->login, CONFIG_SOURCE_PASSWORD) &&
	       exchange->channel->auth->user_tickets &&
	       request->name.size > 0 && request->message.size > 0 &&
	       request->message.size <= SASL_PASSWORD_SIZE_MAX &&
	       slice_find(request->message, '\0') == SIZE_MAX &&
	       (request->authorise.size == 0 ||
		   slice_equal_nocase(request->authorise, request->name));
}

static void
keep_password(
    struct auth_exchange *exchange, const struct auth_request *request)
{
	struct kerberos_question *proof = &exchange->proof;

	exchange->is_proof = true;
	if (request->principal.size > 0)
		buf_add_slice(&proof->client, request->principal);
	else
		kerberos_add_name(&proof->client, request->name);
	buf_add_slice(&proof->password, request->message);
}

static void
take_password(struct auth_channel *channel, const struct auth_request *request)
{
	struct auth_exchange *exchange = auth_exchange_new(channel, request);
	struct auth_answer answer = { .id = request->id,
		.verdict = AUTH_KEPT,
		.login = AUTH_LOGIN_TICKET };

	if (is_for_kdc(exchange, request))
		keep_password(exchange, request);
	if (exchange->is_proof &&
	    channel->auth->config->auth.passwords == CONFIG_PASSWORDS_KDC) {
		auth_answer(channel, &answer);
		auth_exchange_keep(exchange);
		return;
	}
	exchange->query = bind_ask(channel->auth->pool, request->dn,
	    request->message, on_bound, exchange);
	if (exchange->query)
		return;
	auth_exchange_free(exchange);
	auth_refuse(channel, request->id, AUTH_UNAVAILABLE,
	    "too many logins wait for the directory");
}

/* ---- any request ---- */

static void
take_request(struct auth_channel *channel, const struct auth_request *request)
{
	struct auth_exchange *exchange =
	    auth_exchange_find(channel, request->id);

	switch (request->kind) {
	case AUTH_PASSWORD:
		if (!exchange)
			take_password(channel, request);
		return;
	case AUTH_GRANT:
		(void)grant(channel, request,
		    config_find_login(
			channel->auth->config, request->pool, request->service),
		    AUTH_ACCEPTED);
		return;
	case AUTH_CANCEL:
		if (exchange)
			auth_exchange_free(exchange);
		return;
	case AUTH_ACCEPT:
		if (!exchange)
			auth_take_accept(channel, request);
		return;
	case AUTH_INITIATE:
		if (!exchange)
			auth_take_initiate(channel, request);
		return;
	case AUTH_MORE:
		if (!exchange || !exchange->gss)
			break;
		auth_step(exchange, request->message);
		return;
	case AUTH_KIND_COUNT:
		break;
	}
	auth_refuse(channel, request->id, AUTH_UNAVAILABLE,
	    "the exchange is not known here");
}

/* ---- relays and the parent ---- */

static void
channel_free(struct auth_channel *channel)
{
	while (!LIST_EMPTY(&channel->exchanges))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		auth_exchange_free(LIST_FIRST(&channel->exchanges));
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

/* Where Kerberos is not set up on this host, it is done without. */
static void
open_kerberos(struct auth *auth)
{
	const struct config_auth *config = &auth->config->auth;

	if (krb5_init_context(&auth->kerberos) != 0) {
		auth->kerberos = NULL;
		return;
	}
	auth->fetches =
	    fetches_new(auth->base, config->deadline, config->ticket_processes);
	if (auth->fetches)
		auth->tickets = tickets_new(auth->fetches, &auth->log);
	if (auth->tickets)
		auth->user_tickets = user_tickets_new(auth->base, auth->fetches,
		    auth->tickets, config->tickets, config->ticket_time);
}

static void
close_kerberos(struct auth *auth)
{
	user_tickets_free(&auth->user_tickets);
	tickets_free(&auth->tickets);
	fetches_free(&auth->fetches);
	if (auth->kerberos)
		krb5_free_context(auth->kerberos);
}

static void
serve_relays(struct auth *auth, const struct buf *password)
{
	auth->base = event_base_new();
	if (!auth->base)
		abort();
	auth->pool =
	    bind_pool_new(auth->base, auth->config, password, &auth->log);
	open_kerberos(auth);
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
	close_kerberos(auth);
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
