#include "proxy/delivery.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "proxy/delivery_state.h"
#include "proxy/tls.h"

#define CHUNK 16384 /* octets read at once */
#define CRLF  "\r\n"

static void on_front(evutil_socket_t fd, short what, void *context);

/* Servers that failed are of no use for the next message. From the loop: it may
 * have been one of them that told what led here. */
static void
on_sweep(evutil_socket_t fd, short what, void *context)
{
	struct delivery *delivery = context;
	size_t kept = 0;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];

		if (lmtp_back_has_failed(back) &&
		    !delivery_uses(delivery, back))
			lmtp_back_free(&back);
		else
			delivery->backs[kept++] = back;
	}
	delivery->back_count = kept;
}

static void
log_end(const struct delivery *delivery, const char *why)
{
	struct log_line line = log_line(LOG_LEVEL_INFO, "session_end");
	char address[INET6_ADDRSTRLEN];

	address_text(&delivery->client, address, sizeof(address));
	log_word(&line, "session", delivery->id);
	log_word(&line, "listener", delivery->listener->config->title);
	log_word(&line, "client", address);
	log_number(&line, "messages", (int64_t)delivery->messages);
	log_number(&line, "ms", relay_now_ms() - delivery->accepted_ms);
	log_string(&line, "why", why);
	log_send(&delivery->relay->log, &line);
}

static void
on_reap(evutil_socket_t fd, short what, void *context)
{
	struct delivery *delivery = context;
	struct relay *relay = delivery->relay;

	(void)fd;
	(void)what;
	LIST_REMOVE(delivery, link);
	for (size_t i = 0; i < delivery->back_count; i++)
		lmtp_back_free(&delivery->backs[i]);
	delivery->back_count = 0;
	delivery_forget(delivery);
	event_free(delivery->front_event);
	event_free(delivery->timer);
	event_free(delivery->grace);
	event_free(delivery->reaper);
	event_free(delivery->sweeper);
	buf_free(&delivery->in);
	buf_free(&delivery->out);
	buf_free(&delivery->mail);
	buf_free(&delivery->path);
	buf_free(&delivery->address);
	free((void *)delivery->recipients);
	free(delivery);
	relay_session_ended(relay);
}

/* The only way out; memory is freed from the loop. */
void
delivery_end(struct delivery *delivery, const char *why)
{
	if (delivery->state == DELIVERY_DEAD)
		return;
	log_end(delivery, why);
	relay_uncount(delivery->relay, delivery->listener, STATS_SESSIONS, 1);
	admission_leave(delivery->relay, &delivery->held);
	delivery->state = DELIVERY_DEAD;
	if (delivery->front_events)
		event_del(delivery->front_event);
	stream_close(&delivery->front);
	event_active(delivery->reaper, EV_TIMEOUT, 1);
}

bool
delivery_is_smtp(const struct delivery *delivery)
{
	return delivery->listener->config->service == SERVICE_SMTP;
}

static bool
wants_input(const struct delivery *delivery)
{
	switch (delivery->state) {
	case DELIVERY_TLS:
	case DELIVERY_COMMAND:
	case DELIVERY_CLOSING:
	case DELIVERY_SKIPPING:
		return true;
	case DELIVERY_STREAMING:
		return !delivery_is_blocked(delivery);
	case DELIVERY_PLACING:
	case DELIVERY_STARTING:
	case DELIVERY_CHUNK:
	case DELIVERY_FINISHING:
	case DELIVERY_DEAD:
		break;
	}
	return false;
}

static void
rearm(struct delivery *delivery, short wanted)
{
	if (delivery->front_events)
		event_del(delivery->front_event);
	delivery->front_events = wanted;
	if (!wanted)
		return;
	event_assign(delivery->front_event, delivery->relay->base,
	    delivery->front.fd, (short)(wanted | EV_PERSIST), on_front,
	    delivery);
	if (event_add(delivery->front_event, NULL) < 0)
		abort();
}

void
delivery_arm(struct delivery *delivery)
{
	short wanted = stream_events(
	    &delivery->front, wants_input(delivery), delivery->out.size > 0);

	if (delivery->state == DELIVERY_DEAD)
		return;
	if (wanted != delivery->front_events)
		rearm(delivery, wanted);
	/* What TLS holds already nothing will announce; it may have come with
	 * the end of the handshake. Of a part of a record the rest will. */
	if (wants_input(delivery) && !delivery->read_up &&
	    stream_has_pending(&delivery->front))
		event_active(delivery->front_event, EV_READ, 1);
}

/* Sends what waits for the client. False when the session ended. */
bool
delivery_flush(struct delivery *delivery)
{
	enum stream_result result =
	    stream_flush(&delivery->front, &delivery->out);

	if (!delivery->out.failed &&
	    (result == STREAM_DONE || result == STREAM_AGAIN))
		return true;
	delivery_end(delivery, delivery->out.failed
				   ? "client does not read what it asked for"
				   : stream_why(&delivery->front));
	return false;
}

/* Says the last word and waits for the client to close. */
void
delivery_close(struct delivery *delivery, const char *text)
{
	struct timeval patience = { 5, 0 };

	buf_printf(&delivery->out, "%s" CRLF, text);
	delivery->state = DELIVERY_CLOSING;
	evtimer_add(delivery->timer, &patience);
	if (!delivery_flush(delivery))
		return;
	if (delivery->out.size == 0)
		stream_finish(&delivery->front);
	delivery_arm(delivery);
}

void
delivery_wait(struct delivery *delivery, long seconds)
{
	struct timeval time = { seconds, 0 };

	evtimer_add(delivery->timer, &time);
}

void
delivery_say(struct delivery *delivery, const char *text)
{
	buf_printf(&delivery->out, "%s" CRLF, text);
}

void
delivery_begin_tls(struct delivery *delivery)
{
	buf_clear(&delivery->in);
	if (stream_tls_server(&delivery->front,
		delivery->relay->settings->front_context) < 0) {
		delivery_end(delivery, "out of memory");
		return;
	}
	tls_front_expect(delivery->front.ssl,
	    delivery->listener->config->service,
	    delivery->listener->config->client_certificate);
	delivery->state = DELIVERY_TLS;
	delivery_wait(delivery, delivery->relay->config->limits.login_time);
	delivery_arm(delivery);
}

static void
greet(struct delivery *delivery)
{
	buf_printf(&delivery->out, "220 %s %s ready" CRLF,
	    delivery->relay->config->host_name,
	    delivery_is_smtp(delivery) ? "ESMTP" : "LMTP");
}

static void
shake_hands(struct delivery *delivery)
{
	enum stream_result result = stream_handshake(&delivery->front);

	if (result == STREAM_AGAIN) {
		delivery->read_up = true;
		delivery_arm(delivery);
		return;
	}
	if (result != STREAM_DONE) {
		relay_count(
		    delivery->relay, delivery->listener, STATS_TLS_FAILED, 1);
		delivery_end(delivery, stream_why(&delivery->front));
		return;
	}
	delivery->tls = true;
	delivery->state = DELIVERY_COMMAND;
	if (delivery->listener->config->tls == SERVICE_TLS_IMPLICIT)
		greet(delivery);
	delivery_take_commands(delivery);
	/* The first command may have come with the end of the handshake. */
	if (delivery->state == DELIVERY_COMMAND &&
	    stream_has_pending(&delivery->front))
		event_active(delivery->front_event, EV_READ, 1);
}

static void
take_input(struct delivery *delivery)
{
	if (delivery->state == DELIVERY_CLOSING)
		buf_clear(&delivery->in);
	else if (delivery->state == DELIVERY_STREAMING)
		delivery_stream_content(delivery);
	else if (delivery->state == DELIVERY_SKIPPING)
		delivery_skip_chunk(delivery);
	else
		delivery_take_commands(delivery);
}

static void
on_front(evutil_socket_t fd, short what, void *context)
{
	struct delivery *delivery = context;
	enum stream_result result;

	(void)fd;
	(void)what;
	delivery->read_up = false;
	if (delivery->state == DELIVERY_TLS) {
		shake_hands(delivery);
		return;
	}
	if (!delivery_flush(delivery))
		return;
	if (delivery->state == DELIVERY_CLOSING && delivery->out.size == 0)
		stream_finish(&delivery->front);
	while (wants_input(delivery)) {
		result = stream_fill(&delivery->front, &delivery->in, CHUNK);
		if (result == STREAM_AGAIN) {
			delivery->read_up = true;
			break;
		}
		if (result != STREAM_DONE) {
			delivery_end(
			    delivery, result == STREAM_END
					  ? "client closed"
					  : stream_why(&delivery->front));
			return;
		}
		if (delivery->state == DELIVERY_STREAMING ||
		    delivery->state == DELIVERY_SKIPPING)
			delivery_wait(delivery,
			    delivery->relay->config->limits.write_stall_time);
		take_input(delivery);
		if (!stream_has_pending(&delivery->front))
			break;
	}
	if (delivery->state != DELIVERY_DEAD)
		delivery_arm(delivery);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	struct delivery *delivery = context;

	(void)fd;
	(void)what;
	if (delivery->state == DELIVERY_PLACING && delivery->placing &&
	    !delivery->placing->back) {
		delivery_place(delivery);
		delivery_take_commands(delivery);
	} else if (delivery->state == DELIVERY_STREAMING &&
		   delivery_is_blocked(delivery)) {
		delivery_wait(
		    delivery, delivery->relay->config->limits.write_stall_time);
	} else if (delivery->state == DELIVERY_COMMAND) {
		delivery_close(delivery, "421 4.4.2 Idle for too long.");
	} else {
		delivery_end(delivery, delivery->state == DELIVERY_CLOSING
					   ? "closed"
					   : "took too long");
	}
}

/* Mail comes without a login: it matters from where. */
static bool
is_welcome(const struct delivery *delivery)
{
	const struct networks *hubs = &delivery->listener->config->hub_networks;

	return hubs->count == 0 || networks_contain(hubs, &delivery->client);
}

/* Its first words, and ours. */
static void
begin(struct delivery *delivery)
{
	delivery->state = DELIVERY_COMMAND;
	delivery_wait(delivery, delivery->relay->config->limits.idle_time);
	if (!is_welcome(delivery)) {
		delivery_close(
		    delivery, "554 5.7.1 No mail from your network.");
		return;
	}
	if (delivery->listener->config->tls == SERVICE_TLS_IMPLICIT) {
		delivery_begin_tls(delivery);
		return;
	}
	greet(delivery);
	if (delivery_flush(delivery))
		delivery_arm(delivery);
}

void
delivery_accept(struct relay *relay, const struct listener *listener, int fd,
    const union address *client, const union address *local)
{
	size_t line_size = (size_t)relay->config->limits.line_size;
	socklen_t address_size = sizeof(union address);
	struct delivery *delivery;
	struct admission held;

	if (!admission_enter(relay, listener, fd, client, &held))
		return;
	delivery = calloc(1, sizeof(*delivery));
	if (!delivery)
		abort();
	delivery->held = held;
	delivery->relay = relay;
	delivery->listener = listener;
	delivery->client = *client;
	if (local)
		delivery->local = *local;
	else
		getsockname(fd, &delivery->local.any, &address_size);
	delivery->accepted_ms = relay_now_ms();
	relay_session_id(relay, delivery->id, sizeof(delivery->id));
	stream_open(&delivery->front, fd);
	delivery->front_event =
	    event_new(relay->base, -1, 0, on_front, delivery);
	delivery->timer = evtimer_new(relay->base, on_timer, delivery);
	delivery->grace = evtimer_new(relay->base, delivery_on_grace, delivery);
	delivery->reaper = evtimer_new(relay->base, on_reap, delivery);
	delivery->sweeper = evtimer_new(relay->base, on_sweep, delivery);
	if (!delivery->front_event || !delivery->timer || !delivery->grace ||
	    !delivery->reaper || !delivery->sweeper)
		abort();
	delivery->in = buf_bounded(line_size + CHUNK);
	delivery->out = buf_bounded(
	    line_size * 8 + (size_t)relay->config->delivery.recipients * 512);
	delivery->mail = buf_bounded(line_size);
	delivery->path = buf_bounded(line_size);
	delivery->address = buf_bounded(line_size);
	LIST_INSERT_HEAD(&relay->deliveries, delivery, link);
	relay->session_count++;
	relay_count(relay, listener, STATS_SESSIONS, 1);
	begin(delivery);
}

void
delivery_retire(struct delivery *delivery)
{
	delivery->retiring = true;
	if (delivery->state == DELIVERY_COMMAND)
		delivery_take_commands(delivery);
}

void
delivery_stop(struct delivery *delivery)
{
	if (delivery->state == DELIVERY_FINISHING) {
		delivery->retiring = true;
		return;
	}
	if (delivery->state == DELIVERY_COMMAND) {
		delivery_say(
		    delivery, "421 4.3.2 This proxy is being stopped.");
		if (!delivery_flush(delivery))
			return;
	}
	delivery_end(delivery, "stopped");
}

struct delivery *
delivery_next(struct delivery *delivery)
{
	return LIST_NEXT(delivery, link);
}

json_t *
delivery_describe(const struct delivery *delivery)
{
	static const char *const states[] = {
		[DELIVERY_TLS] = "front_tls",
		[DELIVERY_COMMAND] = "front",
		[DELIVERY_PLACING] = "route",
		[DELIVERY_STARTING] = "back",
		[DELIVERY_STREAMING] = "relay",
		[DELIVERY_CHUNK] = "back",
		[DELIVERY_SKIPPING] = "relay",
		[DELIVERY_FINISHING] = "back",
		[DELIVERY_CLOSING] = "close",
		[DELIVERY_DEAD] = "dead",
	};
	char address[INET6_ADDRSTRLEN];

	address_text(&delivery->client, address, sizeof(address));
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:I, s:I}", "session",
	    delivery->id, "service",
	    service_kind_text(delivery->listener->config->service), "client",
	    address, "state", states[delivery->state], "waiting",
	    !delivery->settled, "tls",
	    delivery->front.ssl ? SSL_get_version(delivery->front.ssl) : "none",
	    "messages", (json_int_t)delivery->messages, "seconds",
	    (json_int_t)((relay_now_ms() - delivery->accepted_ms) / 1000));
}
