#include "proxy/delivery_state.h"

#define WATERMARK                                                              \
	65536 /* octets waiting for a server that stop the reading             \
	       */
#define CRLF "\r\n"

bool
delivery_is_blocked(const struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->back_count; i++)
		if (lmtp_back_waiting(delivery->backs[i]) > WATERMARK)
			return true;
	return false;
}

static void
set_reply(struct recipient *recipient, struct slice reply)
{
	if (recipient->done)
		return;
	buf_add_slice(&recipient->reply, reply);
	recipient->done = true;
}

static bool
all_done(const struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipient_count; i++)
		if (!delivery->recipients[i]->done)
			return false;
	return true;
}

/* How much an answer counts where one is for all: nothing is lost when a
 * message comes again, and much when it does not. */
static unsigned
weight(const struct recipient *recipient)
{
	switch (buf_slice(&recipient->reply).data[0]) {
	case '2':
		return 0;
	case '4':
		return 2;
	default:
		return 1;
	}
}

static void
answer_for_all(struct delivery *delivery)
{
	const struct recipient *worst = delivery->recipients[0];

	for (size_t i = 1; i < delivery->recipient_count; i++)
		if (weight(delivery->recipients[i]) > weight(worst))
			worst = delivery->recipients[i];
	buf_add_slice(&delivery->out, buf_slice(&worst->reply));
	buf_add_string(&delivery->out, CRLF);
}

static void
answer_each(struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipient_count; i++) {
		buf_add_slice(
		    &delivery->out, buf_slice(&delivery->recipients[i]->reply));
		buf_add_string(&delivery->out, CRLF);
	}
}

/* All results are there: says them and is ready for the next message. */
static void
answer_message(struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipient_count; i++) {
		const struct recipient *recipient = delivery->recipients[i];

		delivery_log_recipient(delivery, slice_from(""),
		    recipient->server, buf_slice(&recipient->reply));
	}
	if (delivery_is_smtp(delivery))
		answer_for_all(delivery);
	else
		answer_each(delivery);
	delivery->messages++;
	relay_count(delivery->relay, delivery->listener, STATS_MESSAGES, 1);
	relay_count(delivery->relay, delivery->listener, STATS_BYTES_IN,
	    delivery->size);
	delivery->state = DELIVERY_COMMAND;
	delivery_forget(delivery);
	delivery_take_commands(delivery);
}

static void
finish_message(struct delivery *delivery)
{
	if (all_done(delivery))
		answer_message(delivery);
	else
		delivery_arm(delivery);
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

bool
delivery_is_waited_for(
    const struct delivery *delivery, const struct lmtp_back *back)
{
	return !lmtp_back_has_failed(back) && count_waiting(delivery, back) > 0;
}

void
delivery_end_message(struct delivery *delivery)
{
	delivery->state = DELIVERY_FINISHING;
	delivery_wait(delivery, delivery->relay->config->limits.idle_time);
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];
		if (delivery_is_waited_for(delivery, back))
			lmtp_back_finish(back, count_waiting(delivery, back));
	}
	finish_message(delivery);
}

/* By SMTP one that fails fails for all, while that can still be. */
static struct slice
find_failed(const struct delivery *delivery)
{
	for (size_t i = 0;
	     delivery_is_smtp(delivery) && i < delivery->recipient_count; i++)
		if (delivery->recipients[i]->done)
			return buf_slice(&delivery->recipients[i]->reply);
	return slice_from("");
}

/*
 * A line of "." that may seem an end is not even passed where lines may end
 * anyhow. Empty: there is no fault so far.
 */
static struct slice
find_fault(const struct delivery *delivery)
{
	const struct config_delivery *config =
	    &delivery->relay->config->delivery;

	if (delivery->end.loose || (delivery->end.bare && !config->bare_lf))
		return slice_from(
		    "550 5.6.0 The message has a CR or LF by itself.");
	if (config->message_size > 0 &&
	    delivery->size > (uint64_t)config->message_size)
		return slice_from("552 5.3.4 The message is too large.");
	if (delivery->hops.count > (unsigned)config->hops)
		return slice_from(
		    "554 5.4.6 The message goes round in circles.");
	return find_failed(delivery);
}

/*
 * At once, not at its end: a server that takes LF for CRLF would see its end
 * where we do not, and take the rest for commands.
 */
bool
delivery_check_message(struct delivery *delivery)
{
	struct slice fault = find_fault(delivery);

	if (fault.size == 0)
		return false;
	for (size_t i = 0; i < delivery->recipient_count; i++)
		set_reply(delivery->recipients[i], fault);
	for (size_t i = 0; i < delivery->back_count; i++)
		if (delivery_uses(delivery, delivery->backs[i]))
			lmtp_back_abandon(delivery->backs[i]);
	return true;
}

/* To every server that takes it; what a failed one would have got is gone. */
static void
pass_content(struct delivery *delivery, struct slice content)
{
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];

		if (delivery_is_waited_for(delivery, back))
			lmtp_back_content(back, content);
		if (delivery->state == DELIVERY_DEAD)
			return;
	}
}

void
delivery_stream_content(struct delivery *delivery)
{
	struct slice input = buf_slice(&delivery->in);
	bool done;
	size_t size;

	if (delivery->chunked) {
		delivery_stream_chunk(delivery);
		return;
	}
	size = lmtp_find_end(&delivery->end, input, &done);
	delivery->size += size;
	hops_watch(&delivery->hops, slice_first(input, size));
	if (!delivery_check_message(delivery))
		pass_content(delivery, slice_first(input, size));
	buf_consume(&delivery->in, size);
	if (delivery->state != DELIVERY_STREAMING)
		return;
	if (done)
		delivery_end_message(delivery);
	else
		delivery_arm(delivery);
}

/* No server takes it: the client need not begin. */
static void
give_up(struct delivery *delivery)
{
	if (delivery_is_smtp(delivery))
		answer_for_all(delivery);
	else
		delivery_say(delivery,
		    "451 4.3.0 No server of the recipients takes the message now.");
	delivery->state = DELIVERY_COMMAND;
	delivery_forget(delivery);
	delivery_take_commands(delivery);
}

/* Every server has answered DATA: the client may begin, if one takes it. */
static void
begin_content(struct delivery *delivery)
{
	for (size_t i = 0; i < delivery->recipient_count; i++)
		if (!delivery->recipients[i]->done &&
		    !delivery->recipients[i]->started)
			return;
	(void)delivery_check_message(delivery);
	if (delivery->chunked) {
		delivery_begin_chunk(delivery);
		return;
	}
	if (all_done(delivery)) {
		give_up(delivery);
		return;
	}
	delivery_say(delivery, "354 End data with <CR><LF>.<CR><LF>");
	delivery->state = DELIVERY_STREAMING;
	delivery_wait(
	    delivery, delivery->relay->config->limits.write_stall_time);
	if (!delivery_flush(delivery))
		return;
	if (delivery->in.size > 0)
		delivery_stream_content(delivery);
	else
		delivery_arm(delivery);
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

/* Nothing need be said to a server before the first chunk. */
static void
start_recipients(struct delivery *delivery, const struct lmtp_back *back)
{
	for (size_t i = 0; i < delivery->recipient_count; i++)
		if (delivery->recipients[i]->back == back)
			delivery->recipients[i]->started = true;
}

void
delivery_start_message(struct delivery *delivery)
{
	delivery->state = DELIVERY_STARTING;
	evtimer_del(delivery->timer);
	give_up_lost(delivery);
	for (size_t i = 0; i < delivery->back_count; i++) {
		struct lmtp_back *back = delivery->backs[i];

		if (!delivery_is_waited_for(delivery, back))
			continue;
		if (delivery->chunked && lmtp_back_takes_chunks(back))
			start_recipients(delivery, back);
		else
			lmtp_back_data(back);
	}
	if (delivery->state == DELIVERY_STARTING)
		begin_content(delivery);
}

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
			set_reply(
			    recipient, delivery_last_word(
					   code / 100 == 2 ? 354 : code, text));
	}
	begin_content(delivery);
}

/* A chunk that is refused is the whole message refused. */
static void
take_chunk_reply(struct delivery *delivery, const struct lmtp_back *back,
    unsigned code, struct slice text)
{
	for (size_t i = 0; code / 100 != 2 && i < delivery->recipient_count;
	     i++)
		if (delivery->recipients[i]->back == back)
			set_reply(delivery->recipients[i],
			    delivery_last_word(code, text));
	if (delivery->state == DELIVERY_CHUNK)
		delivery_finish_chunk(delivery);
	else
		delivery_arm(delivery);
}

static void
take_result(struct delivery *delivery, const struct lmtp_back *back,
    unsigned code, struct slice text)
{
	for (size_t i = 0; i < delivery->recipient_count; i++) {
		struct recipient *recipient = delivery->recipients[i];

		if (recipient->back != back || recipient->done)
			continue;
		set_reply(recipient, delivery_last_word(code, text));
		if (!lmtp_back_is_smtp(back))
			break;
	}
	finish_message(delivery);
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
	if (delivery_uses(delivery, back))
		log_failure(delivery, back, why);
	event_active(delivery->sweeper, EV_TIMEOUT, 1);
	for (size_t i = 0; i < delivery->recipient_count; i++)
		if (delivery->recipients[i]->back == back)
			set_reply(
			    delivery->recipients[i], delivery_lost_reply());
	if (delivery->state == DELIVERY_PLACING && delivery->placing &&
	    delivery->placing->back == back) {
		delivery_answer_recipient(delivery, delivery_lost_reply());
		delivery_take_commands(delivery);
	} else if (delivery->state == DELIVERY_STARTING) {
		begin_content(delivery);
	} else if (delivery->state == DELIVERY_CHUNK) {
		delivery_finish_chunk(delivery);
	} else if (delivery->state == DELIVERY_FINISHING) {
		finish_message(delivery);
	} else if (delivery->state == DELIVERY_STREAMING) {
		/* The others need not wait for it any more. */
		delivery_arm(delivery);
	}
}

void
delivery_tell(void *context, struct lmtp_back *back, enum lmtp_news news,
    unsigned code, struct slice text)
{
	struct delivery *delivery = context;

	if (delivery->state == DELIVERY_DEAD)
		return;
	switch (news) {
	case LMTP_NEWS_RECIPIENT:
		if (delivery->state == DELIVERY_PLACING)
			delivery_take_recipient_reply(delivery, code, text);
		break;
	case LMTP_NEWS_DATA:
		if (delivery->state == DELIVERY_STARTING)
			take_data_reply(delivery, back, code, text);
		break;
	case LMTP_NEWS_CHUNK:
		if (delivery->state == DELIVERY_CHUNK ||
		    delivery->state == DELIVERY_STREAMING)
			take_chunk_reply(delivery, back, code, text);
		break;
	case LMTP_NEWS_RESULT:
		if (delivery->state == DELIVERY_FINISHING)
			take_result(delivery, back, code, text);
		break;
	case LMTP_NEWS_ROOM:
		if (delivery->state == DELIVERY_STREAMING) {
			delivery_wait(delivery,
			    delivery->relay->config->limits.write_stall_time);
			delivery_arm(delivery);
		}
		break;
	case LMTP_NEWS_FAILED:
		take_failure(delivery, back, text);
		break;
	}
}
