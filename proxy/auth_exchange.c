#include "proxy/auth_exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/sasl.h"

/* A relay that takes no answer is one that has died, or will ask again. */
void
auth_answer(struct auth_channel *channel, const struct auth_answer *answer)
{
	struct buf out = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);

	auth_answer_write(&out, answer);
	if (!out.failed && send(channel->fd, out.data, out.size,
			       MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_why(&channel->auth->log, LOG_LEVEL_WARNING, "answer_lost",
		    strerrordesc_np(errno));
	buf_wipe(&out);
}

void
auth_refuse(struct auth_channel *channel, uint32_t id,
    enum auth_verdict verdict, const char *why)
{
	struct auth_answer answer = {
		.id = id, .verdict = verdict, .why = slice_from(why)
	};

	auth_answer(channel, &answer);
}

struct auth_exchange *
auth_exchange_new(
    struct auth_channel *channel, const struct auth_request *request)
{
	struct auth_exchange *exchange = calloc(1, sizeof(*exchange));

	if (!exchange)
		abort();
	exchange->channel = channel;
	exchange->id = request->id;
	exchange->name = buf_bounded(SASL_NAME_SIZE_MAX);
	exchange->authorise = buf_bounded(SASL_NAME_SIZE_MAX);
	exchange->server = buf_bounded(SASL_NAME_SIZE_MAX);
	exchange->service = buf_bounded(KERBEROS_NAME_MAX);
	kerberos_question_init(&exchange->proof);
	buf_add_slice(&exchange->name, request->name);
	buf_add_slice(&exchange->authorise, request->authorise);
	exchange->login = config_find_login(
	    channel->auth->config, request->pool, request->service);
	LIST_INSERT_HEAD(&channel->exchanges, exchange, link);
	return exchange;
}

void
auth_exchange_free(struct auth_exchange *exchange)
{
	bind_cancel(&exchange->query);
	ticket_cancel(&exchange->ticket);
	user_ticket_cancel(&exchange->user_ticket);
	gss_exchange_free(&exchange->gss);
	if (exchange->channel->auth->kerberos)
		credential_free(
		    &exchange->credential, exchange->channel->auth->kerberos);
	if (exchange->timer)
		event_free(exchange->timer);
	buf_free(&exchange->server);
	LIST_REMOVE(exchange, link);
	buf_free(&exchange->name);
	buf_free(&exchange->authorise);
	buf_free(&exchange->service);
	kerberos_question_wipe(&exchange->proof);
	free(exchange);
}

struct auth_exchange *
auth_exchange_find(const struct auth_channel *channel, uint32_t id)
{
	struct auth_exchange *exchange;

	LIST_FOREACH(exchange, &channel->exchanges, link)
	if (exchange->id == id)
		return exchange;
	return NULL;
}

static void
on_time(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	auth_exchange_free(context);
}

void
auth_exchange_keep(struct auth_exchange *exchange)
{
	const struct auth *auth = exchange->channel->auth;
	struct timeval wait = { auth->config->limits.login_time, 0 };

	gss_exchange_free(&exchange->gss);
	exchange->timer = evtimer_new(auth->base, on_time, exchange);
	if (!exchange->timer || evtimer_add(exchange->timer, &wait) < 0)
		abort();
}
