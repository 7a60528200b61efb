#include "proxy/sieve_front.h"

#include "proxy/front_sasl.h"
#include "proxy/front_unit.h"
#include "proxy/line.h"
#include "proxy/sieve_string.h"

#define CRLF "\r\n"

struct sieve_state {
	struct imap_scanner scanner;
};

static void
add_capability(struct buf *out, struct slice name, struct slice value)
{
	sieve_add_string(out, name, false);
	buf_add_char(out, ' ');
	sieve_add_string(out, value, false);
	buf_add_string(out, CRLF);
}

/* RFC 5804 section 1.7; SIEVE must be there even when nothing is known. */
static void
add_capabilities(const struct front *front, struct buf *out)
{
	struct slice lines =
	    buf_slice(&front->settings->offers->lines[SERVICE_SIEVE]);
	struct slice name, value;
	struct buf mechanisms = buf_bounded(256);

	buf_add_string(out, "\"IMPLEMENTATION\" \"Postcell\"" CRLF);
	if (!offer_find(lines, "SIEVE", &value))
		buf_add_string(out, "\"SIEVE\" \"\"" CRLF);
	while (offer_next(&lines, &name, &value))
		add_capability(out, name, value);
	if (front_may_login(front))
		front_sasl_list(front, " ", &mechanisms);
	add_capability(out, slice_from("SASL"),
	    slice_from_offset(buf_slice(&mechanisms), 1));
	buf_free(&mechanisms);
	if (front->tls_offered && !front->tls)
		buf_add_string(out, "\"STARTTLS\"" CRLF);
	buf_add_string(out, "\"VERSION\" \"1.0\"" CRLF);
}

static enum front_action
run_capability(struct front *front, struct slice arguments, struct buf *out)
{
	(void)arguments;
	add_capabilities(front, out);
	buf_add_string(out, "OK \"These are the capabilities.\"" CRLF);
	return FRONT_MORE;
}

/* NOOP ["tag"], RFC 5804 section 2.13 */
static enum front_action
run_noop(struct front *front, struct slice arguments, struct buf *out)
{
	struct buf tag = buf_bounded(front->settings->line_size);
	bool has_tag = imap_take_space(&arguments);
	enum front_action action = FRONT_MORE;

	if ((has_tag && !sieve_take_string(&arguments, &tag)) ||
	    !imap_take_end(&arguments)) {
		action = front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "NOOP takes at most one string.");
	} else if (has_tag) {
		buf_add_string(out, "OK (TAG ");
		sieve_add_string(out, buf_slice(&tag), false);
		buf_add_string(out, ") \"Done.\"" CRLF);
	} else {
		buf_add_string(out, "OK \"Done.\"" CRLF);
	}
	buf_free(&tag);
	return action;
}

static enum front_action
run_logout(struct front *front, struct slice arguments, struct buf *out)
{
	(void)arguments;
	buf_add_string(out, "OK \"Logging out.\"" CRLF);
	front->closed_why = "client logged out";
	return FRONT_CLOSE;
}

static enum front_action
run_starttls(struct front *front, struct slice arguments, struct buf *out)
{
	(void)front;
	(void)arguments;
	buf_add_string(out, "OK \"Begin TLS negotiation now.\"" CRLF);
	return FRONT_STARTTLS;
}

/* AUTHENTICATE "mechanism" ["initial response"] */
static enum front_action
run_authenticate(struct front *front, struct slice arguments, struct buf *out)
{
	struct buf name = buf_bounded(64);
	struct buf text = buf_bounded(
	    front->settings->line_size + front->settings->literal_size);
	enum front_action action;
	bool has_initial = false, is_good;
	struct slice initial;

	is_good =
	    imap_take_space(&arguments) && sieve_take_string(&arguments, &name);
	if (is_good && imap_take_space(&arguments)) {
		has_initial = true;
		is_good = sieve_take_string(&arguments, &text);
	}
	initial = buf_slice(&text);
	if (is_good && imap_take_end(&arguments))
		action = front_sasl_begin(front, buf_slice(&name),
		    has_initial ? &initial : NULL, out);
	else
		action = front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "AUTHENTICATE takes a mechanism and at most one response.");
	buf_free(&name);
	buf_wipe(&text);
	return action;
}

static enum front_action
sieve_respond(struct front *front, struct slice line, struct buf *out)
{
	struct buf text = buf_bounded(
	    front->settings->line_size + front->settings->literal_size);
	enum front_action action;

	front->in_sasl = false;
	if (sieve_take_string(&line, &text) && imap_take_end(&line))
		action = front_sasl_respond(front, buf_slice(&text), out);
	else
		action = front_complain(front, out, FRONT_FAULT_RESPONSE,
		    "A response is one string.");
	buf_wipe(&text);
	return action;
}

static const struct front_command commands[] = {
	{ "CAPABILITY", FRONT_BARE, run_capability },
	{ "NOOP", 0, run_noop },
	{ "LOGOUT", FRONT_BARE, run_logout },
	{ "STARTTLS", FRONT_BARE | FRONT_BEFORE_TLS, run_starttls },
	{ "AUTHENTICATE", FRONT_CREDENTIALS, run_authenticate },
};

static enum front_action
sieve_run(struct front *front, struct slice text, struct buf *out)
{
	struct slice name, rest;

	imap_take_atom(&text, &name);
	rest = text;
	return front_run(front, name, text, imap_take_end(&rest), out);
}

static enum front_unit
sieve_take(struct front *front, struct slice *input, struct slice *text,
    struct buf *out, const char **why)
{
	struct sieve_state *state = front->state;
	enum front_unit unit =
	    front_unit_scan(&state->scanner, input, text, why);

	(void)out;
	if (unit != FRONT_UNIT_CONTINUE)
		return unit;
	/* RFC 5804 section 4: nobody would tell the client to go on. */
	*why = "A client's literal is {N+}.";
	return FRONT_UNIT_FLOOD;
}

static void
sieve_open(struct front *front)
{
	struct sieve_state *state = front->state;

	state->scanner.line_max = front->settings->line_size;
	state->scanner.literal_max = front->settings->literal_size;
}

static void
sieve_greet(struct front *front, struct buf *out)
{
	add_capabilities(front, out);
	buf_printf(out, "OK \"%s ready.\"" CRLF, front->settings->host_name);
}

static void
sieve_secured(struct front *front, struct buf *out)
{
	add_capabilities(front, out);
	buf_add_string(out, "OK \"TLS is on.\"" CRLF);
}

static void
sieve_add_challenge(struct buf *out, struct slice base64)
{
	sieve_add_string(out, base64, false);
	buf_add_string(out, CRLF);
}

/* As part of a quoted string, RFC 5804 section 4. */
static void
sieve_add_text(struct buf *out, struct slice text)
{
	struct buf line = buf_bounded(text.size);

	line_add_text(&line, text);
	for (size_t i = 0; i < line.size; i++) {
		char c = buf_slice(&line).data[i];

		if (c == '"' || c == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, c);
	}
	buf_free(&line);
}

static void
sieve_accept(struct front *front, struct slice reply, struct slice untagged,
    struct buf *out)
{
	(void)front;
	(void)untagged;
	buf_add_slice(out, reply);
	buf_add_string(out, CRLF);
}

const struct front_protocol sieve_front = {
	.commands = commands,
	.command_count = ARRAY_SIZE(commands),
	.state_size = sizeof(struct sieve_state),
	.starttls = "STARTTLS",
	.fault = "NO \"",
	.faults = {
		[FRONT_FAULT_PRIVACY] = "NO (ENCRYPT-NEEDED) \"",
	},
	.bye = "BYE \"",
	.goodbye = "BYE (TRYLATER) \"",
	.refusals = {
		[REFUSAL_CREDENTIALS] = "NO \"Authentication failed.",
		[REFUSAL_NOLOGIN] = "NO \"This account may not log in now. ",
		[REFUSAL_UNAVAILABLE] = "NO (TRYLATER) \"",
		[REFUSAL_LIMIT] = "NO (TRYLATER) \"",
	},
	.line_end = "\"" CRLF,
	.open = sieve_open,
	.greet = sieve_greet,
	.secured = sieve_secured,
	.take = sieve_take,
	.run = sieve_run,
	.respond = sieve_respond,
	.add_challenge = sieve_add_challenge,
	.add_text = sieve_add_text,
	.accept = sieve_accept,
};
