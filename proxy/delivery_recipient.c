#include <stdlib.h>
#include <string.h>

#include "lib/name.h"
#include "proxy/delivery_state.h"
#include "replica/clock.h"

#define COMMAND_MAX     4096 /* octets of one command to a server */
#define RECORD_SIZE_MAX 65536
#define CRLF            "\r\n"

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
void
delivery_forget(struct delivery *delivery)
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
	delivery->stuffing = (struct lmtp_stuffing){ 0 };
	delivery->hops = (struct hops){ 0 };
	delivery->size = 0;
	delivery->chunked = false;
	evtimer_del(delivery->grace);
	event_active(delivery->sweeper, EV_TIMEOUT, 1);
}

bool
delivery_uses(const struct delivery *delivery, const struct lmtp_back *back)
{
	if (delivery->placing && delivery->placing->back == back)
		return true;
	for (size_t i = 0; i < delivery->recipient_count; i++)
		if (delivery->recipients[i]->back == back)
			return true;
	return false;
}

/* A message is with the servers, or about to be. */
static bool
has_message(const struct delivery *delivery)
{
	return delivery->chunked || delivery->state == DELIVERY_STARTING ||
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
	relay_count(delivery->relay, delivery->listener, STATS_MOVED, 1);
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
void
delivery_on_grace(evutil_socket_t fd, short what, void *context)
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
	if (delivery->back_count == DELIVERY_BACKS_MAX)
		return NULL;
	back = lmtp_back_new(delivery->relay, route,
	    (struct lmtp_client){ &delivery->client, &delivery->local },
	    delivery_tell, delivery);
	if (!back)
		abort();
	delivery->backs[delivery->back_count++] = back;
	return back;
}

void
delivery_log_recipient(const struct delivery *delivery, struct slice address,
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
void
delivery_answer_recipient(struct delivery *delivery, struct slice reply)
{
	if (delivery->placing)
		delivery_log_recipient(delivery, buf_slice(&delivery->address),
		    delivery->placing->server, reply);
	buf_add_slice(&delivery->out, reply);
	buf_add_string(&delivery->out, CRLF);
	recipient_free(delivery->placing);
	delivery->placing = NULL;
	delivery->state = DELIVERY_COMMAND;
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

/* By SMTP, where one answer is for all recipients of a message. */
static bool
must_come_alone(const struct delivery *delivery, const struct route *route)
{
	int choice = delivery->relay->config->delivery.smtp_recipients;

	if (!delivery_is_smtp(delivery) || delivery->recipient_count == 0)
		return false;
	switch ((enum config_recipients)choice) {
	case CONFIG_RECIPIENTS_ONE:
		return true;
	case CONFIG_RECIPIENTS_ALL:
		return false;
	case CONFIG_RECIPIENTS_SERVER:
		break;
	}
	return strcmp(delivery->recipients[0]->server, route->server) != 0;
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

	/* SMTP knows no names without a domain. */
	if (route->service == SERVICE_SMTP && account->address.size > 0)
		name = account->address;
	else if (route->service != SERVICE_SMTP &&
		 delivery->relay->config->backend.name == CONFIG_NAME_UID &&
		 account->uid.size > 0)
		name = name_for_server(account, delimiter);
	else
		detail = slice_from("");
	buf_add_string(&command, "RCPT TO:");
	lmtp_add_path(&command, name, delimiter, detail);
	buf_add_slice(&command, buf_slice(&delivery->path));
	/* A replica that another version made may have such names. */
	if (slice_has_control(buf_slice(&command))) {
		buf_free(&command);
		delivery_answer_recipient(
		    delivery, slice_from("451 4.3.0 The account has no name "
					 "that could be said to its server."));
		return;
	}
	recipient->back = command.failed ? NULL : find_back(delivery, route);
	if (!recipient->back) {
		buf_free(&command);
		delivery_answer_recipient(delivery,
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
void
delivery_place(struct delivery *delivery)
{
	const struct config *config = delivery->relay->config;
	struct buf store = buf_bounded(RECORD_SIZE_MAX);
	int64_t now_us = clock_realtime_us();
	struct account account;
	struct slice detail;
	struct timeval pause;
	struct route route;

	switch (route_mail(&delivery->relay->router,
	    buf_slice(&delivery->address), config->delivery.delimiter[0],
	    now_us, &store, &account, &detail, &route)) {
	case ROUTE_FOUND:
		if (must_come_alone(delivery, &route))
			delivery_answer_recipient(delivery,
			    slice_from(
				"452 4.5.3 Send it to this recipient by itself."));
		else
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
		delivery_answer_recipient(delivery,
		    slice_from("550 5.1.1 There is no such user here."));
		break;
	case ROUTE_NOLOGIN:
	case ROUTE_DISABLED:
	case ROUTE_UNAVAILABLE:
		delivery_answer_recipient(delivery,
		    slice_from(
			"451 4.3.0 The mailbox cannot be served now, try again later."));
		break;
	}
	buf_free(&store);
}

struct slice
delivery_lost_reply(void)
{
	return slice_from(
	    "451 4.3.0 The server of the mailbox failed, try again later.");
}

/* What a server said as the last word on a recipient, fit for the client. */
struct slice
delivery_last_word(unsigned code, struct slice text)
{
	/* It closes its connection, which is no reason for the client's. */
	if (code == 421)
		return delivery_lost_reply();
	if (code / 100 == 3)
		return slice_from(
		    "451 4.3.0 The server of the mailbox is not set up right.");
	if (text.size <= DELIVERY_REPLY_MAX)
		return text;
	if (code / 100 == 2)
		return slice_from("250 2.0.0 Done.");
	return code / 100 == 4 ? slice_from("451 4.0.0 Not now.")
			       : slice_from("550 5.0.0 Refused.");
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

void
delivery_take_recipient_reply(
    struct delivery *delivery, unsigned code, struct slice text)
{
	struct recipient *recipient = delivery->placing;

	if (code / 100 == 2) {
		add_recipient(delivery, recipient);
		delivery->placing = NULL;
	}
	delivery_answer_recipient(delivery, delivery_last_word(code, text));
	delivery_take_commands(delivery);
}
