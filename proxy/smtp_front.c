#include "proxy/smtp_front.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/front_sasl.h"
#include "proxy/line.h"

#define CRLF "\r\n"

struct smtp_state {
	bool said_ehlo;    /* since TLS */
	uint64_t unwanted; /* octets of a refused BDAT still to come */
};

/* Where a command is legal, and what it needs. */
enum command_flag {
	COMMAND_BEFORE_TLS = 1, /* only while TLS is offered and not on */
	COMMAND_LOGIN = 2,      /* only where credentials may be said */
	COMMAND_BARE = 4,       /* takes no argument */
	COMMAND_EHLO = 8        /* EHLO comes first */
};

struct command {
	const char *name;
	unsigned flags;
	enum front_action (*run)(
	    struct front *front, struct slice argument, struct buf *out);
};

static enum front_action
close_with(struct front *front, struct buf *out, const char *text)
{
	buf_printf(out, "421 4.7.0 %s" CRLF, text);
	front->closed_why = text;
	return FRONT_CLOSE;
}

/* A command that cannot be run; it is counted. text: with its codes. */
static enum front_action
refuse_command(struct front *front, struct buf *out, const char *text)
{
	buf_printf(out, "%s" CRLF, text);
	if (++front->bad_commands >= front->settings->bad_commands)
		return close_with(front, out, "Too many bad commands.");
	return FRONT_MORE;
}

/* What the servers have in common, then what is ours to say; a LF after each.
 */
static void
add_extensions(const struct front *front, struct buf *lines)
{
	buf_add_slice(lines,
	    buf_slice(&front->settings->offers->lines[SERVICE_SUBMISSION]));
	if (front->tls_offered && !front->tls)
		buf_add_string(lines, "STARTTLS\n");
	if (front_may_login(front)) {
		buf_add_string(lines, "AUTH");
		front_sasl_list(front, " ", lines);
		buf_add_char(lines, '\n');
	}
}

/* "250-" before all lines but the last, RFC 5321 section 4.2.1 */
static void
add_ehlo(const struct front *front, struct buf *out)
{
	struct buf lines = buf_bounded(OFFER_SIZE_MAX + 1024);
	struct slice rest, line;
	bool more;

	buf_printf(&lines, "%s\n", front->settings->host_name);
	add_extensions(front, &lines);
	rest = buf_slice(&lines);
	more = slice_next_word(&rest, '\n', &line);
	while (more) {
		struct slice this = line;

		more = slice_next_word(&rest, '\n', &line);
		buf_add_string(out, more ? "250-" : "250 ");
		buf_add_slice(out, this);
		buf_add_string(out, CRLF);
	}
	buf_free(&lines);
}

/*
 * Clients say all kinds of things here. A name that cannot be told to a server
 * as it is, is not told.
 */
static bool
take_hello(struct front *front, struct slice name)
{
	for (size_t i = 0; i < name.size; i++) {
		unsigned char c = (unsigned char)name.data[i];

		if (c <= 0x20 || c == 0x7f)
			return false;
	}
	if (name.size == 0)
		return false;
	front->hello[0] = '\0';
	if (slice_is_printable(name) && name.size < FRONT_HELLO_SIZE) {
		memcpy(front->hello, name.data, name.size);
		front->hello[name.size] = '\0';
	}
	return true;
}

static enum front_action
run_ehlo(struct front *front, struct slice argument, struct buf *out)
{
	struct smtp_state *state = front->state;

	if (!take_hello(front, slice_trim(argument)))
		return refuse_command(
		    front, out, "501 5.5.4 EHLO takes a host name.");
	state->said_ehlo = true;
	add_ehlo(front, out);
	return FRONT_MORE;
}

static enum front_action
run_helo(struct front *front, struct slice argument, struct buf *out)
{
	struct smtp_state *state = front->state;

	if (!take_hello(front, slice_trim(argument)))
		return refuse_command(
		    front, out, "501 5.5.4 HELO takes a host name.");
	state->said_ehlo = false;
	buf_printf(out, "250 %s" CRLF, front->settings->host_name);
	return FRONT_MORE;
}

/* RFC 3207 section 4.2: what was learned before TLS is forgotten. */
static enum front_action
run_starttls(struct front *front, struct slice argument, struct buf *out)
{
	struct smtp_state *state = front->state;

	(void)argument;
	state->said_ehlo = false;
	front->hello[0] = '\0';
	buf_add_string(out, "220 2.0.0 Begin TLS negotiation now." CRLF);
	return FRONT_STARTTLS;
}

static enum front_action
run_noop(struct front *front, struct slice argument, struct buf *out)
{
	(void)front;
	(void)argument;
	buf_add_string(out, "250 2.0.0 Nothing happened." CRLF);
	return FRONT_MORE;
}

static enum front_action
run_quit(struct front *front, struct slice argument, struct buf *out)
{
	(void)argument;
	buf_add_string(out, "221 2.0.0 Goodbye." CRLF);
	front->closed_why = "client said QUIT";
	return FRONT_CLOSE;
}

static enum front_action
run_mail(struct front *front, struct slice argument, struct buf *out)
{
	(void)argument;
	return refuse_command(front, out,
	    front_may_login(front) ? "530 5.7.0 Authentication required."
				   : "530 5.7.0 Say STARTTLS first.");
}

/* RFC 3030 section 2: refused or not, the octets come, and are no commands. */
static enum front_action
run_bdat(struct front *front, struct slice argument, struct buf *out)
{
	struct smtp_state *state = front->state;
	size_t space = slice_find(argument, ' ');

	if (slice_to_uint(
		slice_first(argument, space), UINT64_MAX, &state->unwanted) < 0)
		return close_with(front, out, "BDAT takes a size.");
	return run_mail(front, argument, out);
}

static enum front_action
take_sasl(struct front *front, enum front_sasl result,
    const struct buf *challenge, const char *why, struct buf *out)
{
	switch (result) {
	case FRONT_SASL_CHALLENGE:
		buf_add_string(out, "334 ");
		buf_add_slice(out, buf_slice(challenge));
		buf_add_string(out, CRLF);
		return FRONT_MORE;
	case FRONT_SASL_LOGIN:
		return FRONT_LOGIN;
	case FRONT_SASL_RESPONSE:
		return FRONT_RESPONSE;
	case FRONT_SASL_CANCELLED:
		return refuse_command(
		    front, out, "501 5.7.0 Authentication cancelled.");
	case FRONT_SASL_NOT_BASE64:
		return refuse_command(
		    front, out, "501 5.5.2 Response is not base64.");
	case FRONT_SASL_FAILED:
		break;
	}
	buf_printf(out, "535 5.7.8 %s." CRLF, why);
	return FRONT_MORE;
}

static enum front_action
run_auth(struct front *front, struct slice argument, struct buf *out)
{
	size_t space = slice_find(argument, ' ');
	struct slice initial = slice_from_offset(
	    argument, space == SIZE_MAX ? argument.size : space + 1);
	struct buf challenge = buf_bounded(front->settings->line_size);
	enum sasl_mechanism mechanism;
	enum front_action action;
	enum front_sasl result;
	const char *why = "";

	if (front_sasl_find(front, slice_first(argument, space), &mechanism) <
	    0)
		return refuse_command(
		    front, out, "504 5.5.4 This mechanism is not spoken here.");
	result = front_sasl_begin(front, mechanism,
	    space == SIZE_MAX ? NULL : &initial, &challenge, &why);
	action = take_sasl(front, result, &challenge, why, out);
	buf_free(&challenge);
	return action;
}

static enum front_action
take_response(struct front *front, struct slice line, struct buf *out)
{
	struct buf challenge = buf_bounded(front->settings->line_size);
	enum front_action action;
	enum front_sasl result;
	const char *why = "";

	result = front_sasl_respond(front, line, &challenge, &why);
	action = take_sasl(front, result, &challenge, why, out);
	buf_free(&challenge);
	return action;
}

static const struct command commands[] = {
	{ "EHLO", 0, run_ehlo },
	{ "HELO", 0, run_helo },
	{ "STARTTLS", COMMAND_BARE | COMMAND_BEFORE_TLS, run_starttls },
	{ "AUTH", COMMAND_EHLO | COMMAND_LOGIN, run_auth },
	{ "NOOP", 0, run_noop },
	{ "RSET", COMMAND_BARE, run_noop },
	{ "QUIT", COMMAND_BARE, run_quit },
	{ "MAIL", 0, run_mail },
	{ "RCPT", 0, run_mail },
	{ "DATA", 0, run_mail },
	{ "BDAT", 0, run_bdat },
	{ "BURL", 0, run_mail },
	{ "VRFY", 0, run_mail },
	{ "EXPN", 0, run_mail },
};

static const struct command *
find_command(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (slice_is_nocase(name, commands[i].name))
			return &commands[i];
	return NULL;
}

static enum front_action
run_command(struct front *front, struct slice line, struct buf *out)
{
	const struct smtp_state *state = front->state;
	size_t space = slice_find(line, ' ');
	const struct command *command = find_command(slice_first(line, space));
	struct slice argument =
	    slice_from_offset(line, space == SIZE_MAX ? line.size : space + 1);

	if (!command)
		return refuse_command(front, out,
		    "500 5.5.1 Unknown command, or not before login.");
	if ((command->flags & COMMAND_BARE) && slice_trim(argument).size > 0)
		return refuse_command(
		    front, out, "501 5.5.4 This command takes no argument.");
	if ((command->flags & COMMAND_BEFORE_TLS) && front->tls)
		return refuse_command(
		    front, out, "503 5.5.1 TLS is on already.");
	if ((command->flags & COMMAND_BEFORE_TLS) && !front->tls_offered)
		return refuse_command(
		    front, out, "502 5.5.1 TLS is not offered here.");
	if ((command->flags & COMMAND_EHLO) && !state->said_ehlo)
		return refuse_command(
		    front, out, "503 5.5.1 EHLO comes first.");
	if ((command->flags & COMMAND_LOGIN) && !front_may_login(front)) {
		buf_add_string(
		    out, "538 5.7.11 Credentials only after STARTTLS." CRLF);
		return FRONT_MORE;
	}
	return command->run(front, argument, out);
}

/* RFC 4954 section 4: a response may have 12,288 octets. */
static size_t
line_size(const struct front *front)
{
	return front->settings->line_size + front->settings->literal_size;
}

/* A faulty line in place of a response ends the exchange. */
static enum front_action
refuse_line(struct front *front, enum line_result result, struct buf *out)
{
	front->in_sasl = false;
	if (result == LINE_TOO_LONG)
		return close_with(front, out, "Line too long.");
	return refuse_command(front, out,
	    result == LINE_ENDING
		? "500 5.5.2 Lines end in CRLF."
		: "500 5.5.2 Commands have no NUL and no CR by itself.");
}

/* True when all that has come was unwanted. */
static bool
drop_unwanted(struct smtp_state *state, struct slice *input)
{
	size_t size = state->unwanted < input->size ? (size_t)state->unwanted
						    : input->size;

	*input = slice_from_offset(*input, size);
	state->unwanted -= size;
	return input->size == 0;
}

static enum front_action
smtp_input(struct front *front, struct slice *input, struct buf *out)
{
	struct smtp_state *state = front->state;
	enum front_action action = FRONT_MORE;

	while (action == FRONT_MORE) {
		struct slice line;
		enum line_result result;

		if (drop_unwanted(state, input))
			return FRONT_MORE;
		result = line_take(input, line_size(front), &line);
		if (result == LINE_MORE)
			return FRONT_MORE;
		if (result != LINE_DONE)
			action = refuse_line(front, result, out);
		else if (front->in_sasl)
			action = take_response(front, line, out);
		else
			action = run_command(front, line, out);
	}
	return action;
}

static int
smtp_open(struct front *front)
{
	front->state = calloc(1, sizeof(struct smtp_state));
	return front->state ? 0 : -1;
}

static void
smtp_close(struct front *front)
{
	free(front->state);
	front->state = NULL;
}

static void
smtp_greet(struct front *front, struct buf *out)
{
	buf_printf(out, "220 %s ESMTP ready." CRLF, front->settings->host_name);
}

static void
smtp_challenge(struct front *front, struct slice challenge, struct buf *out)
{
	buf_add_string(out, "334 ");
	front_sasl_challenge(front, challenge, out);
	buf_add_string(out, CRLF);
}

static void
smtp_accept(struct front *front, struct slice reply, struct slice untagged,
    struct buf *out)
{
	(void)front;
	(void)untagged;
	buf_add_slice(out, reply);
	buf_add_string(out, CRLF);
}

static void
smtp_refuse(struct front *front, const struct refusal *refusal, struct buf *out)
{
	(void)front;
	switch (refusal->kind) {
	case REFUSAL_BACK:
		/* Whole lines, the last without its CRLF. */
		buf_add_slice(out, refusal->text);
		buf_add_string(out, CRLF);
		return;
	case REFUSAL_CREDENTIALS:
		buf_add_string(out, "535 5.7.8 Authentication failed.");
		break;
	case REFUSAL_NOLOGIN:
		buf_add_string(
		    out, "525 5.7.13 This account may not log in now. ");
		break;
	case REFUSAL_UNAVAILABLE:
		buf_add_string(out, "454 4.7.0 ");
		break;
	}
	line_add_text(out, refusal->text);
	buf_add_string(out, CRLF);
}

static void
smtp_goodbye(struct front *front, const char *text, struct buf *out)
{
	(void)front;
	buf_printf(out, "421 4.3.2 %s" CRLF, text);
}

const struct front_protocol smtp_front = {
	.service = SERVICE_SUBMISSION,
	.open = smtp_open,
	.close = smtp_close,
	.greet = smtp_greet,
	.input = smtp_input,
	.challenge = smtp_challenge,
	.accept = smtp_accept,
	.refuse = smtp_refuse,
	.goodbye = smtp_goodbye,
};
