#include "proxy/smtp_front.h"

#include <string.h>

#include "proxy/front_sasl.h"
#include "proxy/front_unit.h"
#include "proxy/line.h"

#define CRLF "\r\n"

struct smtp_state {
	bool said_ehlo;    /* since TLS */
	uint64_t unwanted; /* octets of a refused BDAT still to come */
};

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
		return front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "EHLO takes a host name.");
	state->said_ehlo = true;
	add_ehlo(front, out);
	return FRONT_MORE;
}

static enum front_action
run_helo(struct front *front, struct slice argument, struct buf *out)
{
	struct smtp_state *state = front->state;

	if (!take_hello(front, slice_trim(argument)))
		return front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "HELO takes a host name.");
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
	return front_complain(front, out, FRONT_FAULT_LOGIN,
	    front_may_login(front) ? "Authentication required."
				   : "Say STARTTLS first.");
}

/* RFC 3030 section 2: refused or not, the octets come, and are no commands. */
static enum front_action
run_bdat(struct front *front, struct slice argument, struct buf *out)
{
	struct smtp_state *state = front->state;
	size_t space = slice_find(argument, ' ');

	if (slice_to_uint(
		slice_first(argument, space), UINT64_MAX, &state->unwanted) < 0)
		return front_close_with(front, out, "BDAT takes a size.");
	return run_mail(front, argument, out);
}

static enum front_action
run_auth(struct front *front, struct slice argument, struct buf *out)
{
	const struct smtp_state *state = front->state;

	if (!state->said_ehlo)
		return front_complain(
		    front, out, FRONT_FAULT_ORDER, "EHLO comes first.");
	return front_sasl_begin_line(front, argument, out);
}

static const struct front_command commands[] = {
	{ "EHLO", 0, run_ehlo },
	{ "HELO", 0, run_helo },
	{ "STARTTLS", FRONT_BARE | FRONT_BEFORE_TLS, run_starttls },
	{ "AUTH", FRONT_CREDENTIALS, run_auth },
	{ "NOOP", 0, run_noop },
	{ "RSET", FRONT_BARE, run_noop },
	{ "QUIT", FRONT_BARE, run_quit },
	{ "MAIL", 0, run_mail },
	{ "RCPT", 0, run_mail },
	{ "DATA", 0, run_mail },
	{ "BDAT", 0, run_bdat },
	{ "BURL", 0, run_mail },
	{ "VRFY", 0, run_mail },
	{ "EXPN", 0, run_mail },
};

/* RFC 4954 section 4: a response may have 12,288 octets. */
static size_t
line_size(const struct front *front)
{
	return front->settings->line_size + front->settings->literal_size;
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

static enum front_unit
smtp_take(struct front *front, struct slice *input, struct slice *text,
    struct buf *out, const char **why)
{
	(void)out;
	if (drop_unwanted(front->state, input))
		return FRONT_UNIT_MORE;
	return front_unit_line(input, line_size(front), text, why);
}

static void
smtp_greet(struct front *front, struct buf *out)
{
	buf_printf(out, "220 %s ESMTP ready." CRLF, front->settings->host_name);
}

static void
smtp_add_challenge(struct buf *out, struct slice base64)
{
	buf_add_string(out, "334 ");
	buf_add_slice(out, base64);
	buf_add_string(out, CRLF);
}

/* Whole lines, the last without its CRLF. */
static void
smtp_accept(struct front *front, struct slice reply, struct slice untagged,
    struct buf *out)
{
	(void)front;
	(void)untagged;
	buf_add_slice(out, reply);
	buf_add_string(out, CRLF);
}

const struct front_protocol smtp_front = {
	.commands = commands,
	.command_count = ARRAY_SIZE(commands),
	.state_size = sizeof(struct smtp_state),
	.starttls = "STARTTLS",
	.faults = {
		[FRONT_FAULT_COMMAND] = "500 5.5.1 ",
		[FRONT_FAULT_ARGUMENT] = "501 5.5.4 ",
		[FRONT_FAULT_ORDER] = "503 5.5.1 ",
		[FRONT_FAULT_ABSENT] = "502 5.5.1 ",
		[FRONT_FAULT_LOGIN] = "530 5.7.0 ",
		[FRONT_FAULT_LINE] = "500 5.5.2 ",
		[FRONT_FAULT_MECHANISM] = "504 5.5.4 ",
		[FRONT_FAULT_CANCELLED] = "501 5.7.0 ",
		[FRONT_FAULT_RESPONSE] = "501 5.5.2 ",
		[FRONT_FAULT_PRIVACY] = "538 5.7.11 ",
		[FRONT_FAULT_CREDENTIALS] = "535 5.7.8 ",
	},
	.bye = "421 4.7.0 ",
	.goodbye = "421 4.3.2 ",
	.refusals = {
		[REFUSAL_CREDENTIALS] = "535 5.7.8 Authentication failed.",
		[REFUSAL_NOLOGIN] =
		    "525 5.7.13 This account may not log in now. ",
		[REFUSAL_UNAVAILABLE] = "454 4.7.0 ",
		[REFUSAL_LIMIT] = "454 4.7.0 ",
	},
	.wrong = "535",
	.fault = "500 5.5.2 ",
	.line_end = CRLF,
	.greet = smtp_greet,
	.take = smtp_take,
	.run = front_unit_run,
	.respond = front_sasl_respond,
	.add_challenge = smtp_add_challenge,
	.accept = smtp_accept,
};
