#include "zones/exchange.h"

#include <errno.h>
#include <stdlib.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#define EXCHANGE_SLOWNESS 10 /* times the silence, for the whole */

struct exchange {
	struct exchange_settings settings;
	struct bufferevent *stream; /* owned; NULL: could not be made */
	struct event *end;          /* owned: calls done from the loop */
	const char *why;
	size_t size; /* octets of answers so far */
	bool ended;
};

/* From the loop, so that `done` may free the exchange. */
static void
on_end(evutil_socket_t fd, short what, void *context)
{
	struct exchange *exchange = context;

	(void)fd;
	(void)what;
	exchange->settings.done(exchange->settings.context, exchange->why);
}

static void
end(struct exchange *exchange, const char *why)
{
	if (exchange->ended)
		return;
	exchange->ended = true;
	exchange->why = why;
	if (exchange->stream)
		bufferevent_disable(exchange->stream, EV_READ | EV_WRITE);
	event_active(exchange->end, EV_TIMEOUT, 0);
}

static void
on_read(struct bufferevent *stream, void *context)
{
	struct exchange *exchange = context;
	struct evbuffer *input = bufferevent_get_input(stream);
	unsigned char head[2];

	while (!exchange->ended &&
	       evbuffer_copyout(input, head, sizeof(head)) == sizeof(head)) {
		size_t size = (size_t)head[0] << 8 | head[1];
		const char *octets;

		if (evbuffer_get_length(input) < size + sizeof(head))
			return;
		exchange->size += size;
		if (exchange->size > exchange->settings.size_max) {
			end(exchange, "the server's answer is too large");
			return;
		}
		octets =
		    (const char *)evbuffer_pullup(input, (ssize_t)(size + 2));
		if (!octets)
			abort();
		if (exchange->settings.message(exchange->settings.context,
			slice_of(octets + 2, size)) == EXCHANGE_DONE)
			end(exchange, NULL);
		evbuffer_drain(input, size + sizeof(head));
	}
}

static const char *
connect_fault(int code)
{
	switch (code) {
	case ECONNREFUSED:
		return "the server refuses connections";
	case ECONNRESET:
		return "the server reset the connection";
	case EHOSTUNREACH:
	case ENETUNREACH:
		return "there is no route to the server";
	case ETIMEDOUT:
		return "the server does not answer";
	default:
		return "the connection to the server failed";
	}
}

static void
on_event(struct bufferevent *stream, short what, void *context)
{
	(void)stream;
	if (what & BEV_EVENT_TIMEOUT)
		end(context, "the server does not answer");
	else if (what & BEV_EVENT_EOF)
		end(context, "the server closed the connection too early");
	else if (what & BEV_EVENT_ERROR)
		end(context, connect_fault(EVUTIL_SOCKET_ERROR()));
}

struct exchange *
exchange_new(const struct exchange_settings *settings, struct slice message)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));
	struct timeval timeout = { settings->timeout, 0 };
	struct timeval deadline = { (long)settings->timeout * EXCHANGE_SLOWNESS,
		0 };
	unsigned char head[2] = { (unsigned char)(message.size >> 8),
		(unsigned char)message.size };
	const struct sockaddr *address =
	    (const struct sockaddr *)&settings->server->address;

	if (!exchange)
		abort();
	exchange->settings = *settings;
	exchange->why = "the server is too slow";
	exchange->end = event_new(settings->base, -1, 0, on_end, exchange);
	exchange->stream = bufferevent_socket_new(settings->base, -1,
	    BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (!exchange->end || !exchange->stream ||
	    event_add(exchange->end, &deadline) < 0)
		abort();
	bufferevent_setcb(exchange->stream, on_read, NULL, on_event, exchange);
	bufferevent_set_timeouts(exchange->stream, &timeout, &timeout);
	bufferevent_write(exchange->stream, head, sizeof(head));
	bufferevent_write(exchange->stream, message.data, message.size);
	bufferevent_enable(exchange->stream, EV_READ | EV_WRITE);
	if (bufferevent_socket_connect(
		exchange->stream, address, (int)settings->server->size) < 0)
		end(exchange, "the connection to the server failed");
	return exchange;
}

void
exchange_free(struct exchange **exchange)
{
	struct exchange *old = *exchange;

	*exchange = NULL;
	if (!old)
		return;
	bufferevent_free(old->stream);
	event_free(old->end);
	free(old);
}
