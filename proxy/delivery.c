#include "proxy/delivery.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/name.h"
#include "proxy/line.h"
#include "proxy/lmtp_back.h"
#include "proxy/lmtp_parse.h"
#include "proxy/tls.h"

#define CHUNK       16384 /* octets read at once */
#define BACKS_MAX   64    /* servers in one session */
#define REPLY_MAX   512   /* octets of one recipient's reply */
#define COMMAND_MAX 4096  /* octets of one command to a server */
#define WATERMARK                                                              \
	65536 /* octets waiting for a server that stop the reading             \
	       */
#define RECORD_SIZE_MAX 65536
#define ID_SIZE         24

#define CRLF "\r\n"

enum delivery_state {
	DELIVERY_TLS,       /* handshake with the client */
	DELIVERY_COMMAND,   /* the client says commands */
	DELIVERY_PLACING,   /* a recipient waits for its guard or its server */
	DELIVERY_STARTING,  /* DATA was said to the servers */
	DELIVERY_STREAMING, /* the message goes through */
	DELIVERY_FINISHING, /* its results come */
	DELIVERY_CLOSING,   /* the last words */
	DELIVERY_DEAD
};

/* A recipient that its server accepted. */
struct recipient {
	struct delivery *delivery;
	struct lmtp_back *back; /* borrowed from delivery->backs */
	struct follower follower;
	struct buf reply; /* owned: what the client will be told */
	char server[ROUTE_HOST_SIZE];
	bool lost;    /* its account may not be with that server */
	bool started; /* its server takes the message */
	bool done;    /* reply is there */
};

struct delivery {
	LIST_ENTRY(delivery) link;
	struct relay *relay;
	const struct listener *listener;
	union address client;
	char id[ID_SIZE];
	enum delivery_state state;
	struct stream front;
	struct event *front_event; /* owned */
	short front_events;
	struct event *timer; /* owned: idle, stall, or guard of a recipient */
	struct event
	    *grace; /* owned: moved accounts' servers are left at its end */
	struct event *reaper;  /* owned */
	struct event *sweeper; /* owned: servers that failed are freed */
	struct buf in, out;
	bool tls, greeted, retiring;
	struct buf
	    mail; /* owned: "MAIL FROM:<...> ..."; empty: no transaction */
	struct lmtp_back *backs[BACKS_MAX]; /* owned */
	size_t back_count;
	struct recipient **recipients; /* owned, in the order of RCPT */
	size_t recipient_count;
	/* the recipient under way */
	struct recipient *placing; /* owned */
	struct buf path;    /* owned: its path for the server, and parameters */
	struct buf address; /* owned: as looked up */
	/* the message under way */
	struct lmtp_end end;
	uint64_t size;
	uint64_t messages;
	int64_t accepted_ms;
};

static void tell(void *context, struct lmtp_back *back, enum lmtp_news news,
    unsigned code, struct slice text);
static void take_commands(struct delivery *delivery);
static void on_front(evutil_socket_t fd, short what, void *context);

/* ---- life ---- */

static void
recipient_free(struct recipient *recipient)
{
	if (!recipient)
		return;
	moves_forget(&recipient->follower);
	buf_free(&recipient->reply);
	free(recipient);
}

/*
 * Forgets the message and its recipients. The servers stay connected and forget
 * theirs: one that still had some of it would mix it with the next.
 */
static void
forget_transaction(struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->back_count; i++)
		lmtp_back_reset(delivery->backs[i]);
	for (size_t i = 0; i < delivery->recipient_count; i++)
		recipient_free(delivery->recipients[i]);
	delivery->recipient_count = 0;
	recipient_free(delivery->placing);
	delivery->placing = NULL;
	buf_clear(&delivery->mail);
	delivery->end = (struct lmtp_end){ 0 };
	delivery->size = 0;
	evtimer_del(delivery->grace);
	event_active(delivery->sweeper, EV_TIMEOUT, 1);
}

static bool
is_in_use(const struct delivery *delivery, const struct lmtp_back *back)
{
	if (delivery->placing && delivery->placing->back == back)
		return true;
	for (size_t i = 0; i < delivery->recipient_count; i++)
		if (delivery->recipients[i]->back == back)
			return true;
	return false;
}

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

		if (lmtp_back_has_failed(back) && !is_in_use(delivery, back))
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
	forget_transaction(delivery);
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
static void
end(struct delivery *delivery, const char *why)
{
	if (delivery->state == DELIVERY_DEAD)
		return;
	log_end(delivery, why);
	stats_subtract(delivery->relay->settings->slot, STATS_SESSIONS, 1);
	delivery->state = DELIVERY_DEAD;
	if (delivery->front_events)
		event_del(delivery->front_event);
	stream_close(&delivery->front);
	event_active(delivery->reaper, EV_TIMEOUT, 1);
}

/* ---- events ---- */

static bool
is_blocked(const struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->back_count; i++)
		if (lmtp_back_waiting(delivery->backs[i]) > WATERMARK)
			return true;
	return false;
}

static bool
wants_input(const struct delivery *delivery)
{
	switch (delivery->state) {
	case DELIVERY_TLS:
	case DELIVERY_COMMAND:
	case DELIVERY_CLOSING:
		return true;
	case DELIVERY_STREAMING:
		return !is_blocked(delivery);
	case DELIVERY_PLACING:
	case DELIVERY_STARTING:
	case DELIVERY_FINISHING:
	case DELIVERY_DEAD:
		break;
	}
	return false;
}

static void
arm(struct delivery *delivery)
{
	short wanted = stream_events(
	    &delivery->front, wants_input(delivery), delivery->out.size > 0);

	if (delivery->state == DELIVERY_DEAD ||
	    wanted == delivery->front_events)
		return;
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
	/* What TLS holds already nothing will announce. */
	if (wants_input(delivery) && stream_has_pending(&delivery->front))
		event_active(delivery->front_event, EV_READ, 1);
}

/* Sends what waits for the client. False when the session ended. */
static bool
flush(struct delivery *delivery)
{
	enum stream_result result =
	    stream_flush(&delivery->front, &delivery->out);

	if (!delivery->out.failed &&
	    (result == STREAM_DONE || result == STREAM_AGAIN))
		return true;
	end(delivery, delivery->out.failed
			  ? "client does not read what it asked for"
			  : stream_why(&delivery->front));
	return false;
}

/* Says the last word and waits for the client to close. */
static void
close_with(struct delivery *delivery, const char *text)
{
	struct timeval patience = { 5, 0 };

	buf_printf(&delivery->out, "%s" CRLF, text);
	delivery->state = DELIVERY_CLOSING;
	evtimer_add(delivery->timer, &patience);
	if (!flush(delivery))
		return;
	if (delivery->out.size == 0)
		stream_finish(&delivery->front);
	arm(delivery);
}

static void
wait_idle(struct delivery *delivery, long seconds)
{
	struct timeval time = { seconds, 0 };

	evtimer_add(delivery->timer, &time);
}

static void
say(struct delivery *delivery, const char *text)
{
	buf_printf(&delivery->out, "%s" CRLF, text);
}

/* ---- recipients ---- */

/* A message is with the servers, or about to be. */
static bool
has_message(const struct delivery *delivery)
{
	return delivery->state == DELIVERY_STARTING ||
	       delivery->state == DELIVERY_STREAMING ||
	       delivery->state == DELIVERY_FINISHING;
}

/* Outside of a message DATA will find that it is lost. */
static void
on_moved(void *context, const char *why)
{
	struct recipient *recipient = context;
	struct delivery *delivery = recipient->delivery;
	struct timeval grace = { 0, DELIVERY_GRACE * 1000L };

	(void)why;
	if (recipient->lost)
		return;
	recipient->lost = true;
	stats_add(delivery->relay->settings->slot, STATS_MOVED, 1);
	if ((has_message(delivery) || recipient == delivery->placing) &&
	    !evtimer_pending(delivery->grace, NULL))
		evtimer_add(delivery->grace, &grace);
}

static bool
must_leave(const struct recipient *recipient)
{
	return recipient && recipient->lost && !recipient->done &&
	       !lmtp_back_has_failed(recipient->back);
}

/* The servers of moved accounts that still have not answered are left. */
static void
on_grace(evutil_socket_t fd, short what, void *context)
{
	struct delivery *delivery = context;

	(void)fd;
	(void)what;
	if (must_leave(delivery->placing)) {
		lmtp_back_fail(delivery->placing->back, "an account was moved");
		return;
	}
	for (size_t i = 0;
	     has_message(delivery) && i < delivery->recipient_count; i++)
		if (must_leave(delivery->recipients[i]))
			lmtp_back_fail(delivery->recipients[i]->back,
			    "an account was moved");
}

/* The server of that route, connected now if it is not yet. NULL: too many. */
static struct lmtp_back *
find_back(struct delivery *delivery, const struct route *route)
{
	struct lmtp_back *back;

	for (size_t i = 0; i < delivery->back_count; i++)
		if (strcmp(lmtp_back_server(delivery->backs[i]),
			route->server) == 0 &&
		    !lmtp_back_has_failed(delivery->backs[i]))
			return delivery->backs[i];
	if (delivery->back_count == BACKS_MAX)
		return NULL;
	back = lmtp_back_new(delivery->relay, route, tell, delivery);
	if (!back)
		abort();
	delivery->backs[delivery->back_count++] = back;
	return back;
}

static void
log_recipient(const struct delivery *delivery, struct slice address,
    const char *server, struct slice reply)
{
	struct log_line line = log_line(LOG_LEVEL_INFO, "recipient");

	log_word(&line, "session", delivery->id);
	if (address.size > 0)
		log_text(&line, "address", address);
	log_string(&line, "server", server);
	log_text(&line, "reply", reply);
	log_send(&delivery->relay->log, &line);
}

/* The recipient under way gets its answer; commands go on. */
static void
answer_recipient(struct delivery *delivery, struct slice reply)
{
	if (delivery->placing)
		log_recipient(delivery, buf_slice(&delivery->address),
		    delivery->placing->server, reply);
	buf_add_slice(&delivery->out, reply);
	buf_add_string(&delivery->out, CRLF);
	recipient_free(delivery->placing);
	delivery->placing = NULL;
	delivery->state = DELIVERY_COMMAND;
}

static void
add_recipient(struct delivery *delivery, struct recipient *recipient)
{
	struct recipient **more = reallocarray((void *)delivery->recipients,
	    delivery->recipient_count + 1, sizeof(struct recipient *));

	if (!more)
		abort();
	delivery->recipients = more;
	more[delivery->recipient_count++] = recipient;
}

/* A server without SMTPUTF8 takes ASCII alone, and it cuts names at the
 * delimiter, quoted or not: what is left may be another account's name. */
static bool
is_plain(struct slice name, char delimiter)
{
	struct slice local = name, domain = slice_from("");

	name_split_address(name, &local, &domain);
	for (size_t i = 0; i < name.size; i++)
		if ((unsigned char)name.data[i] >= 0x80)
			return false;
	return !delimiter || slice_find(local, delimiter) == SIZE_MAX;
}

/* The account's uid, or its address where the uid would not do. */
static struct slice
name_for_server(const struct account *account, char delimiter)
{
	if (!is_plain(account->uid, delimiter) && account->address.size > 0 &&
	    is_plain(account->address, delimiter))
		return account->address;
	return account->uid;
}

/* "RCPT TO:<...> ..." as the server gets it. */
static void
ask_server(struct delivery *delivery, const struct account *account,
    struct slice detail, const struct route *route)
{
	struct recipient *recipient = delivery->placing;
	struct buf command = buf_bounded(COMMAND_MAX);
	struct slice name = buf_slice(&delivery->address);
	char delimiter = delivery->relay->config->delivery.delimiter[0];

	if (delivery->relay->config->backend.name == CONFIG_NAME_UID &&
	    account->uid.size > 0)
		name = name_for_server(account, delimiter);
	else
		detail = slice_from("");
	buf_add_string(&command, "RCPT TO:");
	lmtp_add_path(&command, name, delimiter, detail);
	buf_add_slice(&command, buf_slice(&delivery->path));
	recipient->back = command.failed ? NULL : find_back(delivery, route);
	if (!recipient->back) {
		buf_free(&command);
		answer_recipient(delivery,
		    slice_from("452 4.5.3 Too many servers at once."));
		return;
	}
	memcpy(recipient->server, route->server, sizeof(recipient->server));
	recipient->follower = (struct follower){ .moved = on_moved,
		.context = recipient,
		.server = recipient->server };
	moves_follow(delivery->relay, &recipient->follower, account);
	delivery->state = DELIVERY_PLACING;
	lmtp_back_recipient(
	    recipient->back, buf_slice(&delivery->mail), buf_slice(&command));
	buf_free(&command);
}

/* Routes the recipient whose address and parameters are there. */
static void
place_recipient(struct delivery *delivery)
{
	const struct config *config = delivery->relay->config;
	struct buf store = buf_bounded(RECORD_SIZE_MAX);
	int64_t now_us = route_now();
	struct account account;
	struct slice detail;
	struct timeval pause;
	struct route route;

	switch (route_mail(&delivery->relay->router,
	    buf_slice(&delivery->address), config->delivery.delimiter[0],
	    now_us, &store, &account, &detail, &route)) {
	case ROUTE_FOUND:
		ask_server(delivery, &account, detail, &route);
		break;
	case ROUTE_WAIT:
		pause =
		    (struct timeval){ (route.wait_until_us - now_us) / 1000000,
			    (route.wait_until_us - now_us) % 1000000 };
		evtimer_add(delivery->timer, &pause);
		delivery->state = DELIVERY_PLACING;
		break;
	case ROUTE_UNKNOWN:
		answer_recipient(delivery,
		    slice_from("550 5.1.1 There is no such user here."));
		break;
	case ROUTE_NOLOGIN:
	case ROUTE_DISABLED:
	case ROUTE_UNAVAILABLE:
		answer_recipient(delivery,
		    slice_from(
			"451 4.3.0 The mailbox cannot be served now, try again later."));
		break;
	}
	buf_free(&store);
}

/* ---- the message ---- */

static void
set_reply(struct recipient *recipient, struct slice reply)
{
	if (recipient->done)
		return;
	buf_add_slice(&recipient->reply, reply);
	recipient->done = true;
}

static struct slice
lost_reply(void)
{
	return slice_from(
	    "451 4.3.0 The server of the mailbox failed, try again later.");
}

/* What a server said as the last word on a recipient, fit for the client. */
static struct slice
last_word(unsigned code, struct slice text)
{
	if (code / 100 == 3)
		return slice_from(
		    "451 4.3.0 The server of the mailbox is not set up right.");
	if (text.size <= REPLY_MAX)
		return text;
	if (code / 100 == 2)
		return slice_from("250 2.0.0 Done.");
	return code / 100 == 4 ? slice_from("451 4.0.0 Not now.")
			       : slice_from("550 5.0.0 Refused.");
}

static bool
all_done(const struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipient_count; i++)
		if (!delivery->recipients[i]->done)
			return false;
	return true;
}

/* All results are there: says them in order and is ready for the next message.
 */
static void
answer_message(struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipient_count; i++) {
		struct recipient *recipient = delivery->recipients[i];

		log_recipient(delivery, slice_from(""), recipient->server,
		    buf_slice(&recipient->reply));
		buf_add_slice(&delivery->out, buf_slice(&recipient->reply));
		buf_add_string(&delivery->out, CRLF);
	}
	delivery->messages++;
	stats_add(
	    delivery->relay->settings->slot, STATS_BYTES_IN, delivery->size);
	delivery->state = DELIVERY_COMMAND;
	forget_transaction(delivery);
	take_commands(delivery);
}

static void
finish_message(struct delivery *delivery)
{
	if (all_done(delivery))
		answer_message(delivery);
	else
		arm(delivery);
}

/* How many recipients of a server wait for a result. */
static size_t
count_waiting(const struct delivery *delivery, const struct lmtp_back *back)
{
	size_t count = 0;

	for (size_t i = 0; i < delivery->recipient_count; i++)
		count += delivery->recipients[i]->back == back &&
			 !delivery->recipients[i]->done;
	return count;
}

static void
end_message(struct delivery *delivery)
{
	delivery->state = DELIVERY_FINISHING;
	wait_idle(delivery, delivery->relay->config->limits.idle_time);
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];
		size_t count = count_waiting(delivery, back);

		if (count > 0 && !lmtp_back_has_failed(back))
			lmtp_back_finish(back, count);
	}
	finish_message(delivery);
}

/* A line of "." that may seem an end is not even passed where lines may end
 * anyhow. */
static bool
must_refuse(const struct delivery *delivery)
{
	return delivery->end.loose ||
	       (delivery->end.bare &&
		   !delivery->relay->config->delivery.bare_lf);
}

/*
 * A message that must not be. At once, not at its end: a server that takes LF
 * for CRLF would see its end where we do not, and take the rest for commands.
 */
static void
refuse_message(struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipient_count; i++) {
		struct recipient *recipient = delivery->recipients[i];

		set_reply(recipient,
		    slice_from(
			"550 5.6.0 The message has a CR or LF by itself."));
	}
	for (size_t i = 0; i < delivery->back_count; i++)
		if (is_in_use(delivery, delivery->backs[i]))
			lmtp_back_abandon(delivery->backs[i]);
}

/* To every server that takes it; what a failed one would have got is gone. */
static void
pass_content(struct delivery *delivery, struct slice content)
{
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];

		if (count_waiting(delivery, back) > 0 &&
		    !lmtp_back_has_failed(back))
			lmtp_back_content(back, content);
		if (delivery->state == DELIVERY_DEAD)
			return;
	}
}

static void
stream_content(struct delivery *delivery)
{
	struct slice input = buf_slice(&delivery->in);
	bool done;
	size_t size = lmtp_find_end(&delivery->end, input, &done);

	delivery->size += size;
	if (must_refuse(delivery))
		refuse_message(delivery);
	else
		pass_content(delivery, slice_first(input, size));
	buf_consume(&delivery->in, size);
	if (delivery->state != DELIVERY_STREAMING)
		return;
	if (done)
		end_message(delivery);
	else
		arm(delivery);
}

/* Every server has answered DATA: the client may begin, if one takes it. */
static void
begin_content(struct delivery *delivery)
{
	bool any = false;

	for (size_t i = 0; i < delivery->recipient_count; i++) {
		struct recipient *recipient = delivery->recipients[i];

		if (!recipient->done && !recipient->started)
			return;
		any = any || !recipient->done;
	}
	if (!any) {
		say(delivery,
		    "451 4.3.0 No server of the recipients takes the message now.");
		delivery->state = DELIVERY_COMMAND;
		forget_transaction(delivery);
		take_commands(delivery);
		return;
	}
	say(delivery, "354 End data with <CR><LF>.<CR><LF>");
	delivery->state = DELIVERY_STREAMING;
	wait_idle(delivery, delivery->relay->config->limits.write_stall_time);
	if (!flush(delivery))
		return;
	if (delivery->in.size > 0)
		stream_content(delivery);
	else
		arm(delivery);
}

/* Accounts that moved since RCPT: their server's part of the message is given
 * up. */
static void
give_up_lost(struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipient_count; i++) {
		struct recipient *lost = delivery->recipients[i];

		if (!lost->lost)
			continue;
		for (size_t k = 0; k < delivery->recipient_count; k++)
			if (delivery->recipients[k]->back == lost->back)
				set_reply(delivery->recipients[k],
				    slice_from(
					"451 4.3.0 The mailbox is being moved, "
					"try again later."));
		lmtp_back_reset(lost->back);
	}
}

static void
start_message(struct delivery *delivery)
{
	delivery->state = DELIVERY_STARTING;
	evtimer_del(delivery->timer);
	give_up_lost(delivery);
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];

		if (count_waiting(delivery, back) > 0 &&
		    !lmtp_back_has_failed(back))
			lmtp_back_data(back);
	}
	if (delivery->state == DELIVERY_STARTING)
		begin_content(delivery);
}

/* ---- news of the servers ---- */

static void
take_data_reply(struct delivery *delivery, struct lmtp_back *back,
    unsigned code, struct slice text)
{
	for (size_t i = 0; i < delivery->recipient_count; i++) {
		struct recipient *recipient = delivery->recipients[i];

		if (recipient->back != back)
			continue;
		recipient->started = code == 354;
		/* Whatever it means by 2xx, it has no message to accept. */
		if (code != 354)
			set_reply(recipient,
			    last_word(code / 100 == 2 ? 354 : code, text));
	}
	begin_content(delivery);
}

static void
take_result(struct delivery *delivery, const struct lmtp_back *back,
    unsigned code, struct slice text)
{
	for (size_t i = 0; i < delivery->recipient_count; i++) {
		struct recipient *recipient = delivery->recipients[i];

		if (recipient->back == back && !recipient->done) {
			set_reply(recipient, last_word(code, text));
			break;
		}
	}
	finish_message(delivery);
}

static void
take_recipient_reply(
    struct delivery *delivery, unsigned code, struct slice text)
{
	struct recipient *recipient = delivery->placing;

	if (code / 100 == 2) {
		add_recipient(delivery, recipient);
		delivery->placing = NULL;
	}
	answer_recipient(delivery, last_word(code, text));
	take_commands(delivery);
}

/* Unless it was we who left it. */
static void
log_failure(const struct delivery *delivery, const struct lmtp_back *back,
    struct slice why)
{
	struct log_line line = log_line(LOG_LEVEL_WARNING, "server_failed");

	log_word(&line, "session", delivery->id);
	log_string(&line, "server", lmtp_back_server(back));
	log_text(&line, "why", why);
	log_send(&delivery->relay->log, &line);
	relay_report(delivery->relay, lmtp_back_server(back));
}

static void
take_failure(
    struct delivery *delivery, const struct lmtp_back *back, struct slice why)
{
	if (is_in_use(delivery, back))
		log_failure(delivery, back, why);
	event_active(delivery->sweeper, EV_TIMEOUT, 1);
	for (size_t i = 0; i < delivery->recipient_count; i++)
		if (delivery->recipients[i]->back == back)
			set_reply(delivery->recipients[i], lost_reply());
	if (delivery->state == DELIVERY_PLACING && delivery->placing &&
	    delivery->placing->back == back) {
		answer_recipient(delivery, lost_reply());
		take_commands(delivery);
	} else if (delivery->state == DELIVERY_STARTING) {
		begin_content(delivery);
	} else if (delivery->state == DELIVERY_FINISHING) {
		finish_message(delivery);
	} else if (delivery->state == DELIVERY_STREAMING) {
		/* The others need not wait for it any more. */
		arm(delivery);
	}
}

static void
tell(void *context, struct lmtp_back *back, enum lmtp_news news, unsigned code,
    struct slice text)
{
	struct delivery *delivery = context;

	if (delivery->state == DELIVERY_DEAD)
		return;
	switch (news) {
	case LMTP_NEWS_RECIPIENT:
		if (delivery->state == DELIVERY_PLACING)
			take_recipient_reply(delivery, code, text);
		break;
	case LMTP_NEWS_DATA:
		if (delivery->state == DELIVERY_STARTING)
			take_data_reply(delivery, back, code, text);
		break;
	case LMTP_NEWS_RESULT:
		if (delivery->state == DELIVERY_FINISHING)
			take_result(delivery, back, code, text);
		break;
	case LMTP_NEWS_ROOM:
		if (delivery->state == DELIVERY_STREAMING) {
			wait_idle(delivery,
			    delivery->relay->config->limits.write_stall_time);
			arm(delivery);
		}
		break;
	case LMTP_NEWS_FAILED:
		take_failure(delivery, back, text);
		break;
	}
}

/* ---- commands of the client ---- */

static void
run_lhlo(struct delivery *delivery, struct slice arguments)
{
	const struct config_listener *listener = delivery->listener->config;

	if (arguments.size == 0) {
		say(delivery, "501 5.5.4 LHLO takes a name.");
		return;
	}
	delivery->greeted = true;
	forget_transaction(delivery);
	buf_printf(&delivery->out,
	    "250-%s" CRLF "250-PIPELINING" CRLF "250-8BITMIME" CRLF,
	    delivery->relay->config->host_name);
	if (listener->tls == SERVICE_TLS_STARTTLS && !delivery->tls)
		say(delivery, "250-STARTTLS");
	say(delivery, "250 ENHANCEDSTATUSCODES");
}

/* Nothing with a control octet goes to a server. */
static bool
is_clean(struct slice text)
{
	for (size_t i = 0; i < text.size; i++)
		if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
			return false;
	return true;
}

static void
run_mail(struct delivery *delivery, struct slice arguments)
{
	struct slice rest = arguments, path, address;

	if (!delivery->greeted) {
		say(delivery, "503 5.5.1 LHLO comes first.");
	} else if (delivery->mail.size > 0) {
		say(delivery, "503 5.5.1 There is a transaction already.");
	} else if (!is_clean(arguments) ||
		   !lmtp_take_path(&rest, "FROM:", &path, &address)) {
		say(delivery, "501 5.5.4 MAIL takes FROM:<address>.");
	} else {
		buf_add_string(&delivery->mail, "MAIL FROM:");
		buf_add_slice(&delivery->mail, path);
		if (rest.size > 0)
			buf_add_char(&delivery->mail, ' ');
		buf_add_slice(&delivery->mail, rest);
		say(delivery, "250 2.1.0 Sender accepted.");
	}
}

static void
run_rcpt(struct delivery *delivery, struct slice arguments)
{
	struct slice rest = arguments, path, address;

	buf_clear(&delivery->address);
	buf_clear(&delivery->path);
	if (delivery->mail.size == 0) {
		say(delivery, "503 5.5.1 MAIL comes first.");
		return;
	}
	if (!is_clean(arguments) ||
	    !lmtp_take_path(&rest, "TO:", &path, &address) ||
	    lmtp_unquote(&delivery->address, address) < 0) {
		say(delivery, "501 5.1.3 RCPT takes TO:<address>.");
		return;
	}
	if (delivery->recipient_count >=
	    (size_t)delivery->relay->config->delivery.recipients) {
		say(delivery, "452 4.5.3 Too many recipients.");
		return;
	}
	if (rest.size > 0)
		buf_add_char(&delivery->path, ' ');
	buf_add_slice(&delivery->path, rest);
	delivery->placing = calloc(1, sizeof(*delivery->placing));
	if (!delivery->placing)
		abort();
	delivery->placing->delivery = delivery;
	delivery->placing->reply = buf_bounded(REPLY_MAX);
	place_recipient(delivery);
}

static void
run_data(struct delivery *delivery, struct slice arguments)
{
	if (arguments.size > 0)
		say(delivery, "501 5.5.4 DATA takes no arguments.");
	else if (delivery->recipient_count == 0)
		say(delivery, "503 5.5.1 There is no valid recipient.");
	else
		start_message(delivery);
}

static void
run_rset(struct delivery *delivery, struct slice arguments)
{
	(void)arguments;
	forget_transaction(delivery);
	say(delivery, "250 2.0.0 Forgotten.");
}

static void
run_noop(struct delivery *delivery, struct slice arguments)
{
	(void)arguments;
	say(delivery, "250 2.0.0 Nothing happened.");
}

static void
run_vrfy(struct delivery *delivery, struct slice arguments)
{
	(void)arguments;
	say(delivery, "252 2.3.3 Send a message and see.");
}

static void
run_quit(struct delivery *delivery, struct slice arguments)
{
	(void)arguments;
	close_with(delivery, "221 2.0.0 Goodbye.");
}

static void
begin_tls(struct delivery *delivery)
{
	buf_clear(&delivery->in);
	if (stream_tls_server(&delivery->front,
		delivery->relay->settings->front_context) < 0) {
		end(delivery, "out of memory");
		return;
	}
	tls_front_expect(delivery->front.ssl, SERVICE_LMTP,
	    delivery->listener->config->client_certificate);
	delivery->state = DELIVERY_TLS;
	wait_idle(delivery, delivery->relay->config->limits.login_time);
	arm(delivery);
}

static void
run_starttls(struct delivery *delivery, struct slice arguments)
{
	if (delivery->tls ||
	    delivery->listener->config->tls != SERVICE_TLS_STARTTLS) {
		say(delivery, "502 5.5.1 TLS is not offered now.");
		return;
	}
	if (arguments.size > 0) {
		say(delivery, "501 5.5.4 STARTTLS takes no arguments.");
		return;
	}
	say(delivery, "220 2.0.0 Begin TLS now.");
	delivery->greeted = false;
	forget_transaction(delivery);
	if (!flush(delivery))
		return;
	if (delivery->out.size > 0)
		end(delivery, "client does not read before TLS");
	else
		begin_tls(delivery);
}

static const struct {
	const char *name;
	void (*run)(struct delivery *delivery, struct slice arguments);
} commands[] = {
	{ "LHLO", run_lhlo },
	{ "MAIL", run_mail },
	{ "RCPT", run_rcpt },
	{ "DATA", run_data },
	{ "RSET", run_rset },
	{ "NOOP", run_noop },
	{ "VRFY", run_vrfy },
	{ "QUIT", run_quit },
	{ "STARTTLS", run_starttls },
};

static void
run_command(struct delivery *delivery, struct slice line)
{
	size_t space = slice_find(line, ' ');
	struct slice name = slice_first(line, space);
	struct slice arguments =
	    space == SIZE_MAX ? slice_from("")
			      : slice_trim(slice_from_offset(line, space));

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (slice_is_nocase(name, commands[i].name)) {
			commands[i].run(delivery, arguments);
			return;
		}
	}
	say(delivery, "500 5.5.2 Unknown command.");
}

/* Copies a line out of the input, which commands may change. */
static enum line_result
next_line(struct delivery *delivery, struct buf *line)
{
	struct slice input = buf_slice(&delivery->in), found;
	size_t size_max = (size_t)delivery->relay->config->limits.line_size;
	enum line_result result = line_take(&input, size_max, &found);

	if (result == LINE_DONE)
		buf_add_slice(line, found);
	if (result != LINE_MORE && result != LINE_TOO_LONG)
		buf_consume(&delivery->in, delivery->in.size - input.size);
	return result;
}

/* As many commands as are there, as long as each is done at once. */
static void
take_commands(struct delivery *delivery)
{
	while (delivery->state == DELIVERY_COMMAND) {
		struct buf line = buf_bounded(
		    (size_t)delivery->relay->config->limits.line_size);
		enum line_result result = next_line(delivery, &line);

		if (result == LINE_DONE)
			run_command(delivery, buf_slice(&line));
		buf_free(&line);
		if (result == LINE_MORE)
			break;
		if (result == LINE_TOO_LONG)
			close_with(delivery, "500 5.5.2 Line too long.");
		else if (result != LINE_DONE)
			say(delivery,
			    "500 5.5.2 Lines end in CRLF and have no NUL.");
	}
	if (delivery->state == DELIVERY_DEAD ||
	    delivery->state == DELIVERY_CLOSING)
		return;
	if (delivery->state == DELIVERY_COMMAND)
		wait_idle(delivery, delivery->relay->config->limits.idle_time);
	if (delivery->state == DELIVERY_COMMAND && delivery->retiring &&
	    delivery->mail.size == 0) {
		close_with(
		    delivery, "421 4.3.2 This proxy is being restarted.");
		return;
	}
	if (flush(delivery))
		arm(delivery);
}

/* ---- the client's connection ---- */

static void
greet(struct delivery *delivery)
{
	buf_printf(&delivery->out, "220 %s LMTP ready" CRLF,
	    delivery->relay->config->host_name);
}

static void
shake_hands(struct delivery *delivery)
{
	enum stream_result result = stream_handshake(&delivery->front);

	if (result == STREAM_AGAIN) {
		arm(delivery);
		return;
	}
	if (result != STREAM_DONE) {
		stats_add(delivery->relay->settings->slot, STATS_TLS_FAILED, 1);
		end(delivery, stream_why(&delivery->front));
		return;
	}
	delivery->tls = true;
	delivery->state = DELIVERY_COMMAND;
	if (delivery->listener->config->tls == SERVICE_TLS_IMPLICIT)
		greet(delivery);
	take_commands(delivery);
}

static void
take_input(struct delivery *delivery)
{
	if (delivery->state == DELIVERY_CLOSING)
		buf_clear(&delivery->in);
	else if (delivery->state == DELIVERY_STREAMING)
		stream_content(delivery);
	else
		take_commands(delivery);
}

static void
on_front(evutil_socket_t fd, short what, void *context)
{
	struct delivery *delivery = context;
	enum stream_result result;

	(void)fd;
	(void)what;
	if (delivery->state == DELIVERY_TLS) {
		shake_hands(delivery);
		return;
	}
	if (!flush(delivery))
		return;
	if (delivery->state == DELIVERY_CLOSING && delivery->out.size == 0)
		stream_finish(&delivery->front);
	while (wants_input(delivery)) {
		result = stream_fill(&delivery->front, &delivery->in, CHUNK);
		if (result == STREAM_AGAIN)
			break;
		if (result != STREAM_DONE) {
			end(delivery, result == STREAM_END
					  ? "client closed"
					  : stream_why(&delivery->front));
			return;
		}
		if (delivery->state == DELIVERY_STREAMING)
			wait_idle(delivery,
			    delivery->relay->config->limits.write_stall_time);
		take_input(delivery);
		if (!stream_has_pending(&delivery->front))
			break;
	}
	if (delivery->state != DELIVERY_DEAD)
		arm(delivery);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	struct delivery *delivery = context;

	(void)fd;
	(void)what;
	if (delivery->state == DELIVERY_PLACING && delivery->placing &&
	    !delivery->placing->back) {
		place_recipient(delivery);
		take_commands(delivery);
	} else if (delivery->state == DELIVERY_STREAMING &&
		   is_blocked(delivery)) {
		wait_idle(
		    delivery, delivery->relay->config->limits.write_stall_time);
	} else if (delivery->state == DELIVERY_COMMAND) {
		close_with(delivery, "421 4.4.2 Idle for too long.");
	} else {
		end(delivery, delivery->state == DELIVERY_CLOSING
				  ? "closed"
				  : "took too long");
	}
}

void
delivery_accept(struct relay *relay, const struct listener *listener, int fd,
    const union address *client)
{
	struct delivery *delivery = calloc(1, sizeof(*delivery));
	size_t line_size = (size_t)relay->config->limits.line_size;

	if (!delivery)
		abort();
	delivery->relay = relay;
	delivery->listener = listener;
	delivery->client = *client;
	delivery->accepted_ms = relay_now_ms();
	relay_session_id(relay, delivery->id, sizeof(delivery->id));
	stream_open(&delivery->front, fd);
	delivery->front_event =
	    event_new(relay->base, -1, 0, on_front, delivery);
	delivery->timer = evtimer_new(relay->base, on_timer, delivery);
	delivery->grace = evtimer_new(relay->base, on_grace, delivery);
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
	stats_add(relay->settings->slot, STATS_SESSIONS, 1);
	delivery->state = DELIVERY_COMMAND;
	wait_idle(delivery, relay->config->limits.idle_time);
	if (listener->config->tls == SERVICE_TLS_IMPLICIT) {
		begin_tls(delivery);
		return;
	}
	greet(delivery);
	if (flush(delivery))
		arm(delivery);
}

void
delivery_retire(struct delivery *delivery)
{
	delivery->retiring = true;
	if (delivery->state == DELIVERY_COMMAND)
		take_commands(delivery);
}

void
delivery_stop(struct delivery *delivery)
{
	if (delivery->state == DELIVERY_FINISHING) {
		delivery->retiring = true;
		return;
	}
	if (delivery->state == DELIVERY_COMMAND) {
		say(delivery, "421 4.3.2 This proxy is being stopped.");
		if (!flush(delivery))
			return;
	}
	end(delivery, "stopped");
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
		[DELIVERY_FINISHING] = "back",
		[DELIVERY_CLOSING] = "close",
		[DELIVERY_DEAD] = "dead",
	};
	char address[INET6_ADDRSTRLEN];

	address_text(&delivery->client, address, sizeof(address));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "session",
	    delivery->id, "service", "lmtp", "client", address, "state",
	    states[delivery->state], "tls",
	    delivery->front.ssl ? SSL_get_version(delivery->front.ssl) : "none",
	    "messages", (json_int_t)delivery->messages, "seconds",
	    (json_int_t)((relay_now_ms() - delivery->accepted_ms) / 1000));
}
