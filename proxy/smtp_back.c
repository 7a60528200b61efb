#include "proxy/smtp_back.h"

#include <stdio.h>
#include <string.h>

#include "lib/base64.h"
#include "proxy/line.h"

#define CRLF "\r\n"

#define COMMAND_SIZE_MAX                                                       \
	512 /* octets with CRLF, RFC 5321 section 4.5.3.1.4                    \
	     */

enum smtp_step {
	STEP_GREETING,
	STEP_EHLO,
	STEP_STARTTLS,
	STEP_XCLIENT,
	STEP_INITIAL, /* AUTH is said, what belongs to it is not */
	STEP_AUTH
};

/* Of back->capabilities; the attributes of XCLIENT are told in this order. */
enum smtp_bit {
	BIT_STARTTLS = 1,
	BIT_MECHANISM = 2, /* the one that is needed */
	BIT_KNOWN = 4,     /* XCLIENT is done with, or not to be had */
	ATTRIBUTE_NAME = 16,
	ATTRIBUTE_ADDR = 32,
	ATTRIBUTE_PORT = 64,
	ATTRIBUTE_PROTO = 128,
	ATTRIBUTE_HELO = 256,
	ATTRIBUTE_SESSION = 512,
	ATTRIBUTE_TTL = 1024
};

static const struct {
	const char *name;
	unsigned bit;
} attributes[] = {
	{ "NAME", ATTRIBUTE_NAME },
	{ "ADDR", ATTRIBUTE_ADDR },
	{ "PORT", ATTRIBUTE_PORT },
	{ "PROTO", ATTRIBUTE_PROTO },
	{ "HELO", ATTRIBUTE_HELO },
	{ "SESSION", ATTRIBUTE_SESSION },
	{ "TTL", ATTRIBUTE_TTL },
};

static enum back_action
broken(struct back *back, const char *why)
{
	back->why = why;
	return BACK_BROKEN;
}

/* ---- XCLIENT ---- */

/* xtext, RFC 3461 section 4 */
static void
add_xtext(struct buf *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c <= 0x20 || c >= 0x7f || c == '+' || c == '=')
			buf_printf(out, "+%02X", c);
		else
			buf_add_char(out, *text);
	}
}

static void
add_attribute(
    const struct back *back, unsigned bit, const char *name, struct buf *out)
{
	const struct back_client *client = back->client;
	char port[16];

	buf_printf(out, " %s=", name);
	if (bit == ATTRIBUTE_NAME) {
		buf_add_string(out, "[UNAVAILABLE]");
	} else if (bit == ATTRIBUTE_ADDR) {
		if (strchr(client->address, ':'))
			buf_add_string(out, "IPV6:");
		add_xtext(out, client->address);
	} else if (bit == ATTRIBUTE_PORT) {
		(void)snprintf(port, sizeof(port), "%u", client->port);
		add_xtext(out, port);
	} else if (bit == ATTRIBUTE_PROTO) {
		buf_add_string(out, "ESMTP");
	} else if (bit == ATTRIBUTE_HELO) {
		add_xtext(
		    out, client->hello[0] ? client->hello : "[UNAVAILABLE]");
	} else if (bit == ATTRIBUTE_SESSION) {
		add_xtext(out, client->session);
	} else {
		buf_add_char(out, '4');
	}
}

/*
 * One command with as many attributes as fit, which are then told. What would
 * not fit even by itself is left out. False when there is nothing to tell.
 */
static bool
add_xclient(struct back *back, struct buf *out)
{
	struct buf line = buf_bounded(COMMAND_SIZE_MAX);
	bool any = false;

	buf_add_string(&line, "XCLIENT");
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		struct buf word = buf_bounded((size_t)2 * COMMAND_SIZE_MAX);
		unsigned bit = attributes[i].bit;
		size_t alone;

		if (!(back->capabilities & bit))
			continue;
		add_attribute(back, bit, attributes[i].name, &word);
		alone = sizeof("XCLIENT" CRLF) - 1 + word.size;
		if (line.size + word.size + 2 <= COMMAND_SIZE_MAX) {
			buf_add_slice(&line, buf_slice(&word));
			back->capabilities &= ~bit;
			any = true;
		} else if (alone > COMMAND_SIZE_MAX) {
			back->capabilities &= ~bit;
		}
		buf_free(&word);
	}
	if (any) {
		buf_add_slice(out, buf_slice(&line));
		buf_add_string(out, CRLF);
	}
	buf_free(&line);
	return any;
}

/* ---- commands ---- */

static enum back_action
say_ehlo(struct back *back, const char *name, struct buf *out)
{
	buf_printf(out, "EHLO %s" CRLF, name);
	back->capabilities &= BIT_KNOWN;
	back->step = STEP_EHLO;
	if (back->offer)
		buf_clear(back->offer);
	return BACK_MORE;
}

static enum back_action
log_in(struct back *back, struct buf *out)
{
	struct buf initial = buf_bounded(out->size_max);
	size_t size = sizeof("AUTH SCRAM-SHA-256 ") - 1;

	if (!(back->capabilities & BIT_MECHANISM))
		return broken(back, "back end does not offer the mechanism");
	sasl_add_initial(&initial, back->credentials, back->user);
	buf_printf(out, "AUTH %s", back_mechanism(back));
	back->step = STEP_INITIAL;
	if (size + initial.size + sizeof(CRLF) - 1 <= COMMAND_SIZE_MAX) {
		buf_add_char(out, ' ');
		buf_add_slice(out, buf_slice(&initial));
		back->step = STEP_AUTH;
	}
	buf_add_string(out, CRLF);
	buf_wipe(&initial);
	return BACK_MORE;
}

/* The server told what it can: TLS first, then who the client is. */
static enum back_action
proceed(struct back *back, struct buf *out)
{
	if (back->tls == SERVICE_TLS_STARTTLS && !back->secured) {
		if (!(back->capabilities & BIT_STARTTLS))
			return broken(back, "back end does not offer STARTTLS");
		buf_add_string(out, "STARTTLS" CRLF);
		back->step = STEP_STARTTLS;
		return BACK_MORE;
	}
	if (back->offer) {
		buf_add_string(out, "QUIT" CRLF);
		return BACK_ACCEPTED;
	}
	if (!(back->capabilities & BIT_KNOWN) && add_xclient(back, out)) {
		back->step = STEP_XCLIENT;
		return BACK_MORE;
	}
	return log_in(back, out);
}

/* ---- replies ---- */

/* One line of the reply to EHLO: a keyword and its parameters. */
static enum back_action
read_extension(struct back *back, struct slice line)
{
	struct slice rest = line;
	struct slice keyword, word;

	if (!slice_next_word(&rest, ' ', &keyword))
		return BACK_MORE;
	if (slice_is_nocase(keyword, "STARTTLS"))
		back->capabilities |= BIT_STARTTLS;
	if (back->offer) {
		buf_add_slice(back->offer, line);
		return buf_add_char(back->offer, '\n') == 0
			   ? BACK_MORE
			   : broken(back, "back end has too many capabilities");
	}
	while (slice_is_nocase(keyword, "AUTH") &&
	       slice_next_word(&rest, ' ', &word))
		if (slice_is_nocase(word, back_mechanism(back)))
			back->capabilities |= BIT_MECHANISM;
	while (slice_is_nocase(keyword, "XCLIENT") &&
	       slice_next_word(&rest, ' ', &word))
		for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
			if (slice_is_nocase(word, attributes[i].name))
				back->capabilities |= attributes[i].bit;
	return BACK_MORE;
}

/* Keeps the reply to AUTH, which the client will see. */
static enum back_action
keep(struct back *back, struct slice line)
{
	if (back->reply.size > 0)
		buf_add_string(&back->reply, CRLF);
	line_add_text(&back->reply, line);
	return back->reply.failed ? broken(back, "back end's reply is too long")
				  : BACK_MORE;
}

/* RFC 4954 section 4: what made the command too long follows it. */
static enum back_action
take_initial(struct back *back, unsigned code, struct buf *out)
{
	if (code >= 400 && code <= 599)
		return BACK_REFUSED;
	if (code != 334)
		return broken(
		    back, "back end accepts before it has the password");
	buf_clear(&back->reply);
	sasl_add_initial(out, back->credentials, back->user);
	buf_add_string(out, CRLF);
	back->step = STEP_AUTH;
	return BACK_MORE;
}

static enum back_action
take_auth(struct back *back, unsigned code, struct slice text)
{
	if (code == 235)
		return BACK_ACCEPTED;
	if (code >= 400 && code <= 599)
		return BACK_REFUSED;
	if (code != 334)
		return broken(
		    back, "back end answers AUTH with what is no answer");
	buf_clear(&back->reply);
	return back_take_challenge(back, slice_trim(text));
}

static enum back_action
take_xclient(struct back *back, unsigned code, struct buf *out)
{
	/* A refusal means that its log lacks the client's address; nothing was
	 * reset then. */
	back->capabilities |= BIT_KNOWN;
	if (code >= 500)
		return log_in(back, out);
	if (code != 220)
		return broken(back, "back end's reply to XCLIENT is not 220");
	if (add_xclient(back, out))
		return BACK_MORE;
	/* From here on the server takes what it hears for the client's. */
	return say_ehlo(back,
	    back->client->hello[0] ? back->client->hello
				   : back->client->host_name,
	    out);
}

/* The last line of a reply. */
static enum back_action
take_reply(struct back *back, unsigned code, struct slice text, struct buf *out)
{
	if (code == 421) {
		back->why = "back end said 421 before login";
		return BACK_UNAVAILABLE;
	}
	switch ((enum smtp_step)back->step) {
	case STEP_GREETING:
		if (code == 220)
			return say_ehlo(back, back->client->host_name, out);
		back->why = "back end does not greet with 220";
		return code >= 400 ? BACK_UNAVAILABLE : BACK_BROKEN;
	case STEP_EHLO:
		return code == 250 ? proceed(back, out)
				   : broken(back, "back end refuses EHLO");
	case STEP_STARTTLS:
		return code == 220 ? BACK_STARTTLS
				   : broken(back, "back end refuses STARTTLS");
	case STEP_XCLIENT:
		return take_xclient(back, code, out);
	case STEP_INITIAL:
		return take_initial(back, code, out);
	case STEP_AUTH:
		break;
	}
	return take_auth(back, code, text);
}

/* "250-text" or "250 text" or "250", RFC 5321 section 4.2 */
static enum back_action
take_line(struct back *back, struct slice line, struct buf *out)
{
	bool last = line.size == 3 || (line.size > 3 && line.data[3] == ' ');
	enum back_action action = BACK_MORE;
	uint64_t code;

	if (slice_to_uint(slice_first(line, 3), 599, &code) < 0 || code < 200 ||
	    (!last && (line.size < 4 || line.data[3] != '-')))
		return broken(back, "back end does not answer as SMTP");
	if (back->step >= STEP_INITIAL)
		action = keep(back, line);
	/* The first line has a bit of its own, with the name of the server. */
	else if (back->step == STEP_EHLO && back->greeted)
		action = read_extension(back, slice_from_offset(line, 4));
	back->greeted = back->step == STEP_EHLO && !last;
	if (action != BACK_MORE || !last)
		return action;
	return take_reply(
	    back, (unsigned)code, slice_from_offset(line, 4), out);
}

static enum back_action
smtp_input(struct back *back, struct slice *input, struct buf *out)
{
	enum back_action action = BACK_MORE;

	while (action == BACK_MORE) {
		struct slice line;
		enum line_result result =
		    line_take(input, back->line_size, &line);

		if (result == LINE_MORE)
			return BACK_MORE;
		if (result != LINE_DONE)
			return broken(back, line_fault_text(result));
		if (!back_hear(back, line))
			return broken(back, BACK_HEARD_WHY);
		action = take_line(back, line, out);
	}
	return action;
}

/* What was said before TLS counts no more. */
static enum back_action
smtp_secured(struct back *back, struct buf *out)
{
	back->secured = true;
	return say_ehlo(back, back->client->host_name, out);
}

static void
smtp_respond(struct back *back, struct slice response, struct buf *out)
{
	(void)back;
	base64_encode(out, response);
	buf_add_string(out, CRLF);
}

const struct back_protocol smtp_back = {
	.service = SERVICE_SUBMISSION,
	.input = smtp_input,
	.secured = smtp_secured,
	.respond = smtp_respond,
};
