#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OUTPUT_SIZE 65536

/* ---- fronts ---- */

static struct offers offers;
static const struct front_settings settings = {
	.host_name = "mail.example.org",
	.line_size = MACHINE_LINE_SIZE,
	.literal_size = MACHINE_LITERAL_SIZE,
	.bad_commands = 3,
	.offers = &offers,
};

static void
set_up_front(struct front *front, const struct front_play *play, unsigned setup)
{
	offers_init(&offers);
	if (setup & LEARNED)
		assert_int_equal(
		    offer_join(play->service, &offers.lines[play->service],
			slice_from(play->learned), true),
		    0);
	assert_int_equal(
	    front_open(front, front_protocol(play->service), &settings), 0);
	front->tls = (setup & 7) == TLS;
	front->tls_offered = (setup & 7) == STARTTLS || (setup & 7) == EITHER;
	front->plaintext = (setup & 7) == PLAIN || (setup & 7) == EITHER;
	if (setup & RELAYS)
		front->mechanisms = ((1U << SASL_MECHANISM_COUNT) - 1) &
				    ~(1U << SASL_EXTERNAL | 1U << SASL_GSSAPI);
	if (setup & TOKENS)
		front->mechanisms = 1U << SASL_XOAUTH2;
}

static void
tear_down_front(struct front *front)
{
	front_close(front);
	offers_free(&offers);
}

/* Does what the session would do; false when the dialogue is over. */
static bool
act_front(struct front *front, const struct front_play *play, unsigned setup,
    enum front_action action, struct slice rest, struct buf *out)
{
	const struct credentials *credentials = &front->credentials;
	struct refusal refusal = { REFUSAL_BACK, slice_from(play->refusal) };

	switch (action) {
	case FRONT_MORE:
		return true;
	case FRONT_STARTTLS:
		buf_add_string(out, "[STARTTLS]");
		return false;
	case FRONT_CLOSE:
		assert_non_null(front->closed_why);
		buf_add_string(out, "[CLOSE]");
		return false;
	case FRONT_RESPONSE:
		assert_false(front->in_sasl);
		buf_printf(
		    out, "[RESPONSE %s]", buf_string(&credentials->message));
		front_challenge(front, slice_from("c"), out);
		return true;
	case FRONT_LOGIN:
		break;
	}
	assert_false(front->in_sasl);
	if (sasl_is_relayed(credentials->mechanism)) {
		buf_printf(out, "[LOGIN %s|%s|%s %s]",
		    buf_string(&credentials->authorise),
		    buf_string(&credentials->user),
		    sasl_mechanism_text(credentials->mechanism),
		    buf_string(&credentials->message));
		front_challenge(front, slice_from("c"), out);
		return true;
	}
	buf_printf(out, "[LOGIN %s|%s|%s%s]",
	    buf_string(&credentials->authorise), buf_string(&credentials->user),
	    buf_string(&credentials->password), front->utf8 ? "|UTF8" : "");
	if (!(setup & ACCEPTS)) {
		front_refuse(front, &refusal, out);
		credentials_wipe(&front->credentials);
		return true;
	}
	front_accept(
	    front, slice_from(play->reply), slice_from(play->untagged), out);
	buf_add_string(out, "[RELAY ");
	buf_add_slice(out, rest);
	buf_add_string(out, "]");
	return false;
}

static void
play_front(const struct front_play *play, unsigned setup, struct slice input,
    size_t step, struct buf *out)
{
	struct front front;
	size_t start = 0, seen = 0;
	bool open = true;

	set_up_front(&front, play, setup);
	while (open && seen < input.size) {
		enum front_action action;
		struct slice rest;

		seen = step < input.size - seen ? seen + step : input.size;
		do {
			rest =
			    slice_from_offset(slice_first(input, seen), start);
			action = front_input(&front, &rest, out);
			start = seen - rest.size;
			open = act_front(&front, play, setup, action,
			    slice_from_offset(input, start), out);
		} while (open && action != FRONT_MORE);
	}
	tear_down_front(&front);
}

void
machine_play_fronts(
    const struct front_play *play, const struct front_row *rows, size_t count)
{
	struct buf out = buf_bounded(OUTPUT_SIZE);

	for (size_t i = 0; i < count; i++) {
		for (size_t step = 4096; step > 0; step /= 8) {
			buf_clear(&out);
			play_front(
			    play, rows[i].setup, rows[i].input, step, &out);
			if (!slice_is(buf_slice(&out), rows[i].output))
				fail_msg("row %zu, %zu octets a time: \"%s\", "
					 "not \"%s\"",
				    i, step, buf_string(&out), rows[i].output);
		}
	}
	buf_free(&out);
}

void
machine_flood_front(const struct front_play *play,
    const char *const *beginnings, size_t count, size_t bound)
{
	struct buf out = buf_bounded(OUTPUT_SIZE);

	for (size_t i = 0; i < count; i++) {
		struct buf in = buf_bounded(1 << 20);
		enum front_action action = FRONT_MORE;
		struct front front;
		struct slice rest;

		set_up_front(&front, play, TLS | LEARNED);
		buf_add_string(&in, beginnings[i]);
		while (action == FRONT_MORE) {
			rest = buf_slice(&in);
			buf_clear(&out);
			action = front_input(&front, &rest, &out);
			buf_consume(&in, in.size - rest.size);
			assert_in_range(in.size, 0, bound);
			buf_add_char(&in, 'x');
		}
		assert_int_equal(action, FRONT_CLOSE);
		assert_non_null(front.closed_why);
		buf_free(&in);
		tear_down_front(&front);
	}
	buf_free(&out);
}

void
machine_check_greeting(
    const struct front_play *play, unsigned setup, const char *output)
{
	struct buf out = buf_bounded(OUTPUT_SIZE);
	struct front front;

	set_up_front(&front, play, setup);
	front_greet(&front, &out);
	assert_string_equal(buf_string(&out), output);
	tear_down_front(&front);
	buf_free(&out);
}

void
machine_check_refusal(const struct front_play *play, enum refusal_kind kind,
    const char *text, const char *output)
{
	struct refusal refusal = { kind, slice_from(text) };
	struct buf out = buf_bounded(OUTPUT_SIZE);
	struct front front;

	set_up_front(&front, play, TLS);
	front_refuse(&front, &refusal, &out);
	assert_string_equal(buf_string(&out), output);
	tear_down_front(&front);
	buf_free(&out);
}

void
machine_check_goodbye(const struct front_play *play, const char *output)
{
	struct buf out = buf_bounded(OUTPUT_SIZE);
	struct front front;

	set_up_front(&front, play, TLS);
	front_goodbye(&front, "Too slow.", &out);
	assert_string_equal(buf_string(&out), output);
	tear_down_front(&front);
	buf_free(&out);
}

/* ---- backs ---- */

struct talk {
	struct back back;
	struct back_client client;
	struct credentials credentials;
	struct buf offer;
};

static void
set_up_back(struct talk *talk, enum service_kind service,
    const struct back_login *login)
{
	struct credentials *credentials = &talk->credentials;

	credentials_init(credentials);
	buf_add_string(&credentials->authorise, login->authorise);
	buf_add_string(&credentials->user, login->user);
	buf_add_string(&credentials->password, login->password);
	credentials->mechanism = login->mechanism;
	if (login->message)
		buf_add_string(&credentials->message, login->message);
	talk->offer = buf_bounded(OFFER_SIZE_MAX);
	talk->client = (struct back_client){
		.address = "192.0.2.1",
		.port = 4000,
		.local_address = "192.0.2.2",
		.local_port = 143,
		.session = "s1",
		.host_name = "proxy.example.org",
		.hello = login->hello ? login->hello : "",
		.utf8 = login->utf8,
	};
	back_open(&talk->back, back_protocol(service), &talk->client,
	    credentials, credentials_owner(credentials), login->tls,
	    MACHINE_LINE_SIZE);
	if (login->learns)
		talk->back.offer = &talk->offer;
}

static void
tear_down_back(struct talk *talk)
{
	back_close(&talk->back);
	credentials_wipe(&talk->credentials);
	buf_free(&talk->offer);
}

/* Notes what the session is told; false when the dialogue is over. */
static bool
act_back(struct talk *talk, enum back_action action, struct buf *out)
{
	struct back *back = &talk->back;

	switch (action) {
	case BACK_MORE:
		return true;
	case BACK_STARTTLS:
		buf_add_string(out, "[TLS]");
		assert_int_equal(back->protocol->secured(back, out), BACK_MORE);
		return true;
	case BACK_ACCEPTED:
		if (back->offer)
			buf_printf(
			    out, "[LEARNED %s]", buf_string(back->offer));
		else
			buf_printf(out, "[ACCEPTED %s|%s]",
			    buf_string(&back->untagged),
			    buf_string(&back->reply));
		return false;
	case BACK_CHALLENGE:
		buf_printf(out, "[CHALLENGE %s]", buf_string(&back->challenge));
		back->protocol->respond(back, slice_from("answer"), out);
		return true;
	case BACK_REFUSED:
		buf_printf(out, "[REFUSED %s]", buf_string(&back->reply));
		return false;
	case BACK_UNAVAILABLE:
		buf_printf(out, "[DOWN %s]", back->why);
		return false;
	case BACK_BROKEN:
		buf_printf(out, "[BROKEN %s]", back->why);
		return false;
	}
	return false;
}

static void
play_back(enum service_kind service, const struct back_login *login,
    struct slice input, size_t step, struct buf *out)
{
	struct talk talk;
	size_t start = 0, seen = 0;
	bool open = true;

	set_up_back(&talk, service, login);
	while (open && seen < input.size) {
		enum back_action action;
		struct slice rest;

		seen = step < input.size - seen ? seen + step : input.size;
		do {
			rest =
			    slice_from_offset(slice_first(input, seen), start);
			action =
			    talk.back.protocol->input(&talk.back, &rest, out);
			start = seen - rest.size;
			open = act_back(&talk, action, out);
		} while (open && action != BACK_MORE);
	}
	tear_down_back(&talk);
}

void
machine_play_backs(enum service_kind service, const struct back_login *logins,
    const struct back_row *rows, size_t count)
{
	struct buf out = buf_bounded(OUTPUT_SIZE);

	for (size_t i = 0; i < count; i++) {
		for (size_t step = 4096; step > 0; step /= 8) {
			buf_clear(&out);
			play_back(service, &logins[rows[i].login],
			    rows[i].input, step, &out);
			if (!slice_is(buf_slice(&out), rows[i].output))
				fail_msg("row %zu, %zu octets a time: \"%s\", "
					 "not \"%s\"",
				    i, step, buf_string(&out), rows[i].output);
		}
	}
	buf_free(&out);
}

void
machine_flood_back(enum service_kind service, const struct back_login *logins,
    const char *const *beginnings, size_t count)
{
	struct buf out = buf_bounded(OUTPUT_SIZE);

	for (size_t i = 0; i < count; i++) {
		struct buf in = buf_bounded(OUTPUT_SIZE);
		enum back_action action = BACK_MORE;
		struct slice rest;
		struct talk talk;

		set_up_back(&talk, service, &logins[0]);
		buf_add_string(&in, beginnings[i]);
		while (action == BACK_MORE) {
			rest = buf_slice(&in);
			action =
			    talk.back.protocol->input(&talk.back, &rest, &out);
			buf_consume(&in, in.size - rest.size);
			assert_in_range(in.size, 0, MACHINE_LINE_SIZE + 1);
			buf_add_char(&in, 'x');
		}
		assert_int_equal(action, BACK_BROKEN);
		assert_non_null(talk.back.why);
		buf_free(&in);
		tear_down_back(&talk);
	}
	buf_free(&out);
}
