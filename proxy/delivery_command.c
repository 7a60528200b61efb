#include <stdlib.h>

#include "proxy/delivery_state.h"
#include "proxy/line.h"

#define CRLF "\r\n"

static void
run_lhlo(struct delivery *delivery, struct slice arguments)
{
	const struct config *config = delivery->relay->config;

	if (arguments.size == 0) {
		delivery_say(delivery, "501 5.5.4 A name is missing.");
		return;
	}
	delivery->greeted = true;
	delivery_forget(delivery);
	buf_printf(&delivery->out,
	    "250-%s" CRLF "250-PIPELINING" CRLF "250-8BITMIME" CRLF
	    "250-CHUNKING" CRLF "250-SIZE %ld" CRLF,
	    config->host_name, config->delivery.message_size);
	if (delivery->listener->config->tls == SERVICE_TLS_STARTTLS &&
	    !delivery->tls)
		delivery_say(delivery, "250-STARTTLS");
	delivery_say(delivery, "250 ENHANCEDSTATUSCODES");
}

/* RFC 5321 section 4.1.1.1: there are no extensions then. */
static void
run_helo(struct delivery *delivery, struct slice arguments)
{
	if (arguments.size == 0) {
		delivery_say(delivery, "501 5.5.4 A name is missing.");
		return;
	}
	delivery->greeted = true;
	delivery_forget(delivery);
	buf_printf(
	    &delivery->out, "250 %s" CRLF, delivery->relay->config->host_name);
}

/* What cannot be done with such parameters; NULL: nothing. */
static const char *
find_fault(const struct delivery *delivery, struct slice parameters)
{
	uint64_t size_max =
	    (uint64_t)delivery->relay->config->delivery.message_size;
	struct slice value;
	uint64_t size;

	/* RFC 3030 section 3: it could not go to a server as lines. */
	if (lmtp_find_parameter(parameters, "BODY", &value) &&
	    slice_is_nocase(value, "BINARYMIME"))
		return "555 5.5.4 BINARYMIME is not offered here.";
	if (!lmtp_find_parameter(parameters, "SIZE", &value))
		return NULL;
	if (slice_to_uint(value, UINT64_MAX, &size) < 0)
		return "501 5.5.4 SIZE takes a number.";
	return size_max > 0 && size > size_max
		   ? "552 5.3.4 The message is too large."
		   : NULL;
}

static void
run_mail(struct delivery *delivery, struct slice arguments)
{
	struct slice rest = arguments, path, address;
	const char *fault = NULL;

	if (!delivery->greeted) {
		delivery_say(delivery, delivery_is_smtp(delivery)
					   ? "503 5.5.1 EHLO comes first."
					   : "503 5.5.1 LHLO comes first.");
	} else if (delivery->mail.size > 0) {
		delivery_say(
		    delivery, "503 5.5.1 There is a transaction already.");
	} else if (slice_has_control(arguments) ||
		   !lmtp_take_path(&rest, "FROM:", &path, &address)) {
		delivery_say(delivery, "501 5.5.4 MAIL takes FROM:<address>.");
	} else if ((fault = find_fault(delivery, rest)) != NULL) {
		delivery_say(delivery, fault);
	} else {
		buf_add_string(&delivery->mail, "MAIL FROM:");
		buf_add_slice(&delivery->mail, path);
		if (rest.size > 0)
			buf_add_char(&delivery->mail, ' ');
		buf_add_slice(&delivery->mail, rest);
		delivery->settled = true;
		delivery->bad_commands = 0;
		admission_settle(delivery->relay, &delivery->held);
		delivery_say(delivery, "250 2.1.0 Sender accepted.");
	}
}

static void
run_rcpt(struct delivery *delivery, struct slice arguments)
{
	struct slice rest = arguments, path, address;

	buf_clear(&delivery->address);
	buf_clear(&delivery->path);
	if (delivery->mail.size == 0) {
		delivery_say(delivery, "503 5.5.1 MAIL comes first.");
		return;
	}
	if (delivery->chunked) {
		delivery_say(delivery, "503 5.5.1 The message has begun.");
		return;
	}
	if (slice_has_control(arguments) ||
	    !lmtp_take_path(&rest, "TO:", &path, &address) ||
	    lmtp_unquote(&delivery->address, address) < 0) {
		delivery_say(delivery, "501 5.1.3 RCPT takes TO:<address>.");
		return;
	}
	if (delivery->recipient_count >=
	    (size_t)delivery->relay->config->delivery.recipients) {
		delivery_say(delivery, "452 4.5.3 Too many recipients.");
		return;
	}
	if (rest.size > 0)
		buf_add_char(&delivery->path, ' ');
	buf_add_slice(&delivery->path, rest);
	delivery->placing = calloc(1, sizeof(*delivery->placing));
	if (!delivery->placing)
		abort();
	delivery->placing->delivery = delivery;
	delivery->placing->reply = buf_bounded(DELIVERY_REPLY_MAX);
	delivery_place(delivery);
}

static void
run_data(struct delivery *delivery, struct slice arguments)
{
	if (arguments.size > 0)
		delivery_say(delivery, "501 5.5.4 DATA takes no arguments.");
	else if (delivery->chunked)
		delivery_say(
		    delivery, "503 5.5.1 The message comes in chunks.");
	else if (delivery->recipient_count == 0)
		delivery_say(
		    delivery, "503 5.5.1 There is no valid recipient.");
	else
		delivery_start_message(delivery);
}

static void
run_bdat(struct delivery *delivery, struct slice arguments)
{
	uint64_t size;
	bool last;

	/* Nobody knows where the next command begins. */
	if (lmtp_take_chunk(arguments, &size, &last))
		delivery_start_chunk(delivery, size, last);
	else
		delivery_close(
		    delivery, "501 5.5.4 BDAT takes a size and perhaps LAST.");
}

static void
run_rset(struct delivery *delivery, struct slice arguments)
{
	(void)arguments;
	delivery_forget(delivery);
	delivery_say(delivery, "250 2.0.0 Forgotten.");
}

static void
run_noop(struct delivery *delivery, struct slice arguments)
{
	(void)arguments;
	delivery_say(delivery, "250 2.0.0 Nothing happened.");
}

static void
run_vrfy(struct delivery *delivery, struct slice arguments)
{
	(void)arguments;
	delivery_say(delivery, "252 2.3.3 Send a message and see.");
}

static void
run_quit(struct delivery *delivery, struct slice arguments)
{
	(void)arguments;
	delivery_close(delivery, "221 2.0.0 Goodbye.");
}

static void
run_starttls(struct delivery *delivery, struct slice arguments)
{
	if (delivery->tls ||
	    delivery->listener->config->tls != SERVICE_TLS_STARTTLS) {
		delivery_say(delivery, "502 5.5.1 TLS is not offered now.");
		return;
	}
	if (arguments.size > 0) {
		delivery_say(
		    delivery, "501 5.5.4 STARTTLS takes no arguments.");
		return;
	}
	delivery_say(delivery, "220 2.0.0 Begin TLS now.");
	delivery->greeted = false;
	delivery_forget(delivery);
	if (!delivery_flush(delivery))
		return;
	if (delivery->out.size > 0)
		delivery_end(delivery, "client does not read before TLS");
	else
		delivery_begin_tls(delivery);
}

enum dialect {
	DIALECT_LMTP = 1,
	DIALECT_SMTP = 2
};

static const struct {
	const char *name;
	unsigned dialects; /* enum dialect */
	void (*run)(struct delivery *delivery, struct slice arguments);
} commands[] = {
	{ "LHLO", DIALECT_LMTP, run_lhlo },
	{ "EHLO", DIALECT_SMTP, run_lhlo },
	{ "HELO", DIALECT_SMTP, run_helo },
	{ "MAIL", DIALECT_LMTP | DIALECT_SMTP, run_mail },
	{ "RCPT", DIALECT_LMTP | DIALECT_SMTP, run_rcpt },
	{ "DATA", DIALECT_LMTP | DIALECT_SMTP, run_data },
	{ "BDAT", DIALECT_LMTP | DIALECT_SMTP, run_bdat },
	{ "RSET", DIALECT_LMTP | DIALECT_SMTP, run_rset },
	{ "NOOP", DIALECT_LMTP | DIALECT_SMTP, run_noop },
	{ "VRFY", DIALECT_LMTP | DIALECT_SMTP, run_vrfy },
	{ "QUIT", DIALECT_LMTP | DIALECT_SMTP, run_quit },
	{ "STARTTLS", DIALECT_LMTP | DIALECT_SMTP, run_starttls },
};

/* Whoever speaks another protocol is not listened to for long. */
static void
take_nonsense(struct delivery *delivery, const char *answer)
{
	long limit = delivery->relay->config->limits.bad_commands;

	if (++delivery->bad_commands >= (unsigned long)limit)
		delivery_close(delivery, "421 4.7.0 Too many bad commands.");
	else
		delivery_say(delivery, answer);
}

static void
run_command(struct delivery *delivery, struct slice line)
{
	unsigned dialect =
	    delivery_is_smtp(delivery) ? DIALECT_SMTP : DIALECT_LMTP;
	size_t space = slice_find(line, ' ');
	struct slice name = slice_first(line, space);
	struct slice arguments =
	    space == SIZE_MAX ? slice_from("")
			      : slice_trim(slice_from_offset(line, space));

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if ((commands[i].dialects & dialect) &&
		    slice_is_nocase(name, commands[i].name)) {
			commands[i].run(delivery, arguments);
			return;
		}
	}
	take_nonsense(delivery, "500 5.5.2 Unknown command.");
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

/* What is to be done when no more commands can be taken now. */
static void
rest(struct delivery *delivery)
{
	if (delivery->state == DELIVERY_DEAD ||
	    delivery->state == DELIVERY_CLOSING)
		return;
	if (delivery->state == DELIVERY_COMMAND)
		delivery_wait(
		    delivery, delivery->relay->config->limits.idle_time);
	if (delivery->state == DELIVERY_COMMAND && delivery->retiring &&
	    delivery->mail.size == 0) {
		delivery_close(
		    delivery, "421 4.3.2 This proxy is being restarted.");
		return;
	}
	if (delivery_flush(delivery))
		delivery_arm(delivery);
}

void
delivery_take_commands(struct delivery *delivery)
{
	/* A command that was done at once has called us: the loop goes on. */
	if (delivery->taking)
		return;
	delivery->taking = true;
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
			delivery_close(delivery, "500 5.5.2 Line too long.");
		else if (result != LINE_DONE)
			take_nonsense(delivery,
			    "500 5.5.2 Lines end in CRLF and have no NUL.");
	}
	delivery->taking = false;
	rest(delivery);
}
