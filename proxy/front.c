#include "proxy/front.h"

#include <stdlib.h>

#include "lib/base64.h"
#include "proxy/front_sasl.h"
#include "proxy/imap_front.h"
#include "proxy/line.h"
#include "proxy/pop3_front.h"
#include "proxy/sieve_front.h"
#include "proxy/smtp_front.h"

const struct front_protocol *
front_protocol(enum service_kind service)
{
	static const struct front_protocol
	    *const protocols[SERVICE_KIND_COUNT] = {
		    [SERVICE_IMAP] = &imap_front,
		    [SERVICE_POP3] = &pop3_front,
		    [SERVICE_SIEVE] = &sieve_front,
		    [SERVICE_SUBMISSION] = &smtp_front,
	    };

	return protocols[service];
}

int
front_open(struct front *front, const struct front_protocol *protocol,
    const struct front_settings *settings)
{
	*front = (struct front){ .protocol = protocol,
		.settings = settings,
		.mechanisms = 1U << SASL_PLAIN | 1U << SASL_LOGIN };
	credentials_init(&front->credentials);
	front->state = calloc(1, protocol->state_size);
	if (!front->state)
		return -1;
	if (protocol->open)
		protocol->open(front);
	return 0;
}

void
front_close(struct front *front)
{
	if (!front->protocol)
		return;
	if (front->state && front->protocol->close)
		front->protocol->close(front);
	free(front->state);
	front->state = NULL;
	credentials_wipe(&front->credentials);
	front->protocol = NULL;
}

bool
front_may_login(const struct front *front)
{
	return front->tls || front->plaintext;
}

bool
front_takes_passwords(const struct front *front)
{
	return front_may_login(front) && front->mechanisms & 1U << SASL_PLAIN;
}

/* ---- what the client said ---- */

enum front_action
front_close_with(struct front *front, struct buf *out, const char *text)
{
	const struct front_protocol *protocol = front->protocol;

	buf_printf(out, "%s%s%s", protocol->bye, text, protocol->line_end);
	front->closed_why = text;
	return FRONT_CLOSE;
}

enum front_action
front_complain(struct front *front, struct buf *out, enum front_fault fault,
    const char *text)
{
	const struct front_protocol *protocol = front->protocol;
	const char *words = protocol->faults[fault];

	if (protocol->add_tag)
		protocol->add_tag(front, out);
	buf_printf(out, "%s%s%s", words ? words : protocol->fault, text,
	    protocol->line_end);
	if (fault >= FRONT_FAULT_UNCOUNTED)
		return FRONT_MORE;
	if (++front->bad_commands >= front->settings->bad_commands)
		return front_close_with(front, out, "Too many bad commands.");
	return FRONT_MORE;
}

static const struct front_command *
find_command(const struct front_protocol *protocol, struct slice name)
{
	for (size_t i = 0; i < protocol->command_count; i++)
		if (slice_is_nocase(name, protocol->commands[i].name))
			return &protocol->commands[i];
	return NULL;
}

static enum front_action
ask_for_tls(struct front *front, struct buf *out)
{
	struct buf text = buf_bounded(64);
	enum front_action action;

	buf_printf(
	    &text, "Credentials only after %s.", front->protocol->starttls);
	action =
	    front_complain(front, out, FRONT_FAULT_PRIVACY, buf_string(&text));
	buf_free(&text);
	return action;
}

enum front_action
front_run(struct front *front, struct slice name, struct slice arguments,
    bool bare, struct buf *out)
{
	const struct front_command *command =
	    find_command(front->protocol, name);

	if (!command)
		return front_complain(front, out, FRONT_FAULT_COMMAND,
		    "Unknown command, or not before login.");
	if ((command->flags & FRONT_BARE) && !bare)
		return front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "This command takes no argument.");
	if ((command->flags & FRONT_BEFORE_TLS) && front->tls)
		return front_complain(
		    front, out, FRONT_FAULT_ORDER, "TLS is on already.");
	if ((command->flags & FRONT_BEFORE_TLS) && !front->tls_offered)
		return front_complain(
		    front, out, FRONT_FAULT_ABSENT, "TLS is not offered here.");
	if ((command->flags & FRONT_CREDENTIALS) && !front_may_login(front))
		return ask_for_tls(front, out);
	if ((command->flags & FRONT_PASSWORD) && !front_takes_passwords(front))
		return front_complain(front, out, FRONT_FAULT_PASSWORD,
		    "Passwords are not taken here.");
	return command->run(front, arguments, out);
}

/* One command or response; MORE when there is none. */
static enum front_action
take_unit(struct front *front, struct slice *input, struct buf *out, bool *more)
{
	const char *why = "";
	struct slice text;

	switch (front->protocol->take(front, input, &text, out, &why)) {
	case FRONT_UNIT_MORE:
	case FRONT_UNIT_CONTINUE:
		*more = true;
		return FRONT_MORE;
	case FRONT_UNIT_DONE:
		break;
	case FRONT_UNIT_FAULTY:
		/* In place of a response it ends the exchange. */
		front->in_sasl = false;
		return front_complain(front, out, FRONT_FAULT_LINE, why);
	case FRONT_UNIT_TOO_LARGE:
		front->in_sasl = false;
		return front_complain(front, out, FRONT_FAULT_SIZE, why);
	case FRONT_UNIT_FLOOD:
		front->in_sasl = false;
		return front_close_with(front, out, why);
	}
	return front->in_sasl ? front->protocol->respond(front, text, out)
			      : front->protocol->run(front, text, out);
}

enum front_action
front_input(struct front *front, struct slice *input, struct buf *out)
{
	enum front_action action = FRONT_MORE;
	bool more = false;

	while (action == FRONT_MORE && !more)
		action = take_unit(front, input, out, &more);
	return action;
}

/* ---- what the client is told ---- */

void
front_greet(struct front *front, struct buf *out)
{
	front->protocol->greet(front, out);
}

void
front_secured(struct front *front, struct buf *out)
{
	if (front->protocol->secured)
		front->protocol->secured(front, out);
}

void
front_challenge(struct front *front, struct slice challenge, struct buf *out)
{
	struct buf base64 = buf_bounded(FRONT_SASL_CHALLENGE_SIZE_MAX);

	front->in_sasl = true;
	base64_encode(&base64, challenge);
	front->protocol->add_challenge(out, buf_slice(&base64));
	buf_free(&base64);
}

void
front_accept(struct front *front, struct slice reply, struct slice untagged,
    struct buf *out)
{
	front->protocol->accept(front, reply, untagged, out);
}

void
front_refuse(
    struct front *front, const struct refusal *refusal, struct buf *out)
{
	const struct front_protocol *protocol = front->protocol;
	static const struct refusal wrong = { .kind = REFUSAL_CREDENTIALS };

	if (refusal->kind == REFUSAL_BACK &&
	    !(protocol->wrong &&
		slice_starts_nocase(refusal->text, protocol->wrong))) {
		protocol->accept(front, refusal->text, slice_from(""), out);
		return;
	}
	if (refusal->kind == REFUSAL_BACK)
		refusal = &wrong;
	if (protocol->add_tag)
		protocol->add_tag(front, out);
	buf_add_string(out, protocol->refusals[refusal->kind]);
	if (protocol->add_text)
		protocol->add_text(out, refusal->text);
	else
		line_add_text(out, refusal->text);
	buf_add_string(out, protocol->line_end);
}

void
front_goodbye(struct front *front, const char *text, struct buf *out)
{
	const struct front_protocol *protocol = front->protocol;

	buf_printf(out, "%s%s%s", protocol->goodbye, text, protocol->line_end);
}
