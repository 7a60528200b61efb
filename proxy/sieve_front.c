#include "proxy/sieve_front.h"

#include <stdlib.h>

#include "proxy/front_sasl.h"
#include "proxy/imap_scan.h"
#include "proxy/line.h"
#include "proxy/sieve_string.h"

#define CRLF "\r\n"

struct sieve_state {
	struct imap_scanner scanner;
};

/* Where a command is legal, and what it needs. */
enum command_flag {
	COMMAND_BEFORE_TLS = 1, /* only while TLS is offered and not on */
	COMMAND_LOGIN = 2,      /* only where credentials may be said */
	COMMAND_BARE = 4        /* takes no argument */
};

struct command {
	const char *name;
	unsigned flags;
	enum front_action (*run)(
	    struct front *front, struct slice arguments, struct buf *out);
};

static enum front_action
close_with(struct front *front, struct buf *out, const char *text)
{
	buf_printf(out, "BYE \"%s\"" CRLF, text);
	front->closed_why = text;
	return FRONT_CLOSE;
}

/* A command that cannot be run; it is counted. */
static enum front_action
refuse_command(struct front *front, struct buf *out, const char *text)
{
	buf_printf(out, "NO \"%s\"" CRLF, text);
	if (++front->bad_commands >= front->settings->bad_commands)
		return close_with(front, out, "Too many bad commands.");
	return FRONT_MORE;
}

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
		action = refuse_command(
		    front, out, "NOOP takes at most one string.");
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

static enum front_action
take_sasl(struct front *front, enum front_sasl result,
    const struct buf *challenge, const char *why, struct buf *out)
{
	switch (result) {
	case FRONT_SASL_CHALLENGE:
		sieve_add_string(out, buf_slice(challenge), false);
		buf_add_string(out, CRLF);
		return FRONT_MORE;
	case FRONT_SASL_LOGIN:
		return FRONT_LOGIN;
	case FRONT_SASL_RESPONSE:
		return FRONT_RESPONSE;
	case FRONT_SASL_CANCELLED:
		return refuse_command(front, out, "Authentication cancelled.");
	case FRONT_SASL_NOT_BASE64:
		return refuse_command(front, out, "Response is not base64.");
	case FRONT_SASL_FAILED:
		break;
	}
	buf_printf(out, "NO \"%s.\"" CRLF, why);
	return FRONT_MORE;
}

static enum front_action
begin_sasl(struct front *front, struct slice name, const struct slice *initial,
    struct buf *out)
{
	struct buf challenge = buf_bounded(front->settings->line_size);
	enum sasl_mechanism mechanism;
	enum front_action action;
	enum front_sasl result;
	const char *why = "";

	if (front_sasl_find(front, name, &mechanism) < 0) {
		action = refuse_command(
		    front, out, "This mechanism is not spoken here.");
	} else {
		result = front_sasl_begin(
		    front, mechanism, initial, &challenge, &why);
		action = take_sasl(front, result, &challenge, why, out);
	}
	buf_free(&challenge);
	return action;
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
		action = begin_sasl(front, buf_slice(&name),
		    has_initial ? &initial : NULL, out);
	else
		action = refuse_command(front, out,
		    "AUTHENTICATE takes a mechanism and at most one response.");
	buf_free(&name);
	buf_wipe(&text);
	return action;
}

static enum front_action
take_response(struct front *front, struct slice line, struct buf *out)
{
	struct buf challenge = buf_bounded(front->settings->line_size);
	struct buf text = buf_bounded(
	    front->settings->line_size + front->settings->literal_size);
	enum front_action action;
	enum front_sasl result;
	const char *why = "";

	front->in_sasl = false;
	if (!sieve_take_string(&line, &text) || !imap_take_end(&line)) {
		action =
		    refuse_command(front, out, "A response is one string.");
	} else {
		result = front_sasl_respond(
		    front, buf_slice(&text), &challenge, &why);
		action = take_sasl(front, result, &challenge, why, out);
	}
	buf_free(&challenge);
	buf_wipe(&text);
	return action;
}

static const struct command commands[] = {
	{ "CAPABILITY", COMMAND_BARE, run_capability },
	{ "NOOP", 0, run_noop },
	{ "LOGOUT", COMMAND_BARE, run_logout },
	{ "STARTTLS", COMMAND_BARE | COMMAND_BEFORE_TLS, run_starttls },
	{ "AUTHENTICATE", COMMAND_LOGIN, run_authenticate },
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
run_command(struct front *front, struct slice text, struct buf *out)
{
	const struct command *command;
	struct slice name;

	imap_take_atom(&text, &name);
	command = find_command(name);
	if (!command)
		return refuse_command(
		    front, out, "Unknown command, or not before login.");
	if ((command->flags & COMMAND_BARE) && !imap_take_end(&text))
		return refuse_command(
		    front, out, "This command takes no argument.");
	if ((command->flags & COMMAND_BEFORE_TLS) && front->tls)
		return refuse_command(front, out, "TLS is on already.");
	if ((command->flags & COMMAND_BEFORE_TLS) && !front->tls_offered)
		return refuse_command(front, out, "TLS is not offered here.");
	if ((command->flags & COMMAND_LOGIN) && !front_may_login(front)) {
		buf_add_string(out,
		    "NO (ENCRYPT-NEEDED) \"Credentials only after STARTTLS.\"" CRLF);
		return FRONT_MORE;
	}
	return command->run(front, text, out);
}

/* What the scanner found wrong. It ends an exchange of SASL. */
static enum front_action
refuse_scan(struct front *front, enum imap_scan result, struct buf *out)
{
	front->in_sasl = false;
	switch (result) {
	case IMAP_SCAN_FLOOD:
		return close_with(front, out, "Line or literal too long.");
	case IMAP_SCAN_CONTINUE:
		/* RFC 5804 section 4: nobody would tell the client to go on. */
		return close_with(front, out, "A client's literal is {N+}.");
	case IMAP_SCAN_LINE_ENDING:
		return refuse_command(front, out, "Lines end in CRLF.");
	case IMAP_SCAN_LITERAL_TOO_LARGE:
		return refuse_command(
		    front, out, "Literal too large before login.");
	case IMAP_SCAN_OCTET:
	case IMAP_SCAN_COMMAND:
	case IMAP_SCAN_MORE:
		break;
	}
	return refuse_command(
	    front, out, "Commands have no NUL and no CR by itself.");
}

static enum front_action
sieve_input(struct front *front, struct slice *input, struct buf *out)
{
	struct sieve_state *state = front->state;
	enum front_action action = FRONT_MORE;
	size_t size = 0;

	while (action == FRONT_MORE && input->size > 0) {
		enum imap_scan result =
		    imap_scan(&state->scanner, *input, &size);
		struct slice text = slice_first(*input, size);

		if (result == IMAP_SCAN_MORE)
			return FRONT_MORE;
		if (result == IMAP_SCAN_FLOOD || result == IMAP_SCAN_CONTINUE)
			return refuse_scan(front, result, out);
		*input = slice_from_offset(*input, size);
		imap_scanner_reset(&state->scanner);
		if (result != IMAP_SCAN_COMMAND)
			action = refuse_scan(front, result, out);
		else if (front->in_sasl)
			action = take_response(front, text, out);
		else
			action = run_command(front, text, out);
	}
	return action;
}

static int
sieve_open(struct front *front)
{
	struct sieve_state *state = calloc(1, sizeof(*state));

	if (!state)
		return -1;
	state->scanner.line_max = front->settings->line_size;
	state->scanner.literal_max = front->settings->literal_size;
	front->state = state;
	return 0;
}

static void
sieve_close(struct front *front)
{
	free(front->state);
	front->state = NULL;
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
sieve_challenge(struct front *front, struct slice challenge, struct buf *out)
{
	struct buf text = buf_bounded(FRONT_SASL_CHALLENGE_SIZE_MAX);

	front_sasl_challenge(front, challenge, &text);
	sieve_add_string(out, buf_slice(&text), false);
	buf_add_string(out, CRLF);
	buf_free(&text);
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

static void
sieve_refuse(
    struct front *front, const struct refusal *refusal, struct buf *out)
{
	struct buf text = buf_bounded(front->settings->line_size);

	switch (refusal->kind) {
	case REFUSAL_BACK:
		buf_add_slice(out, refusal->text);
		break;
	case REFUSAL_CREDENTIALS:
		buf_add_string(out, "NO \"Authentication failed.\"");
		break;
	case REFUSAL_NOLOGIN:
		buf_add_string(&text, "This account may not log in now. ");
		line_add_text(&text, refusal->text);
		buf_add_string(out, "NO ");
		sieve_add_string(out, buf_slice(&text), false);
		break;
	case REFUSAL_UNAVAILABLE:
		buf_add_string(out, "NO (TRYLATER) ");
		sieve_add_string(out, refusal->text, false);
		break;
	}
	buf_add_string(out, CRLF);
	buf_free(&text);
}

static void
sieve_goodbye(struct front *front, const char *text, struct buf *out)
{
	(void)front;
	buf_printf(out, "BYE (TRYLATER) \"%s\"" CRLF, text);
}

const struct front_protocol sieve_front = {
	.service = SERVICE_SIEVE,
	.open = sieve_open,
	.close = sieve_close,
	.greet = sieve_greet,
	.secured = sieve_secured,
	.input = sieve_input,
	.challenge = sieve_challenge,
	.accept = sieve_accept,
	.refuse = sieve_refuse,
	.goodbye = sieve_goodbye,
};
