#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/back.h"
#include "proxy/front.h"
#include "proxy/offer.h"
#include "tests/fuzz/fuzz.h"

#define LINE_SIZE    256
#define LITERAL_SIZE 64
#define OUT_SIZE     (1 << 24)

void
fuzz_require(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

void
fuzz_remove_folder(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;

	fuzz_require(folder, "there is a folder");
	while ((entry = readdir(folder)) != NULL)
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(folder), entry->d_name, 0);
	(void)closedir(folder);
	(void)rmdir(path);
}

/* Every line ends in CRLF, and nothing else looks like an end. */
static bool
is_lines(struct slice text)
{
	for (size_t i = 0; i < text.size; i++) {
		bool follows = i > 0 && text.data[i - 1] == '\r';

		if (text.data[i] == '\0' || (text.data[i] == '\n') != follows)
			return false;
	}
	return text.size == 0 || text.data[text.size - 1] == '\n';
}

/* ---- front ---- */

/* How many octets are shown at once, and what came of it. */
struct play {
	size_t step;
	unsigned setup;
	struct buf out, events;
};

static struct offers offers;

static void
set_up_front(struct front *front, enum service_kind service, unsigned setup)
{
	static const struct front_settings settings = {
		.host_name = "mail.example.org",
		.line_size = LINE_SIZE,
		.literal_size = LITERAL_SIZE,
		.bad_commands = 3,
		.offers = &offers,
	};

	offers_init(&offers);
	fuzz_require(
	    front_open(front, front_protocol(service), &settings) == 0, "open");
	front->tls = setup & 1;
	front->tls_offered = setup & 2;
	front->plaintext = setup & 4;
	if (setup & 16)
		front->mechanisms = (1U << SASL_MECHANISM_COUNT) - 1;
	if (setup & 32)
		offer_join(service, &offers.lines[service],
		    slice_from("UTF8 USER\nTOP\nSIZE 10\nCHUNKING\n"
			       "SIEVE fileinto vacation\n"),
		    true);
}

static void
note_login(struct play *play, const struct front *front)
{
	const struct credentials *credentials = &front->credentials;

	fuzz_require(front_may_login(front), "a login only where it may be");
	fuzz_require(credentials->user.size > 0 ||
			 credentials->mechanism == SASL_EXTERNAL ||
			 credentials->mechanism == SASL_GSSAPI,
	    "a login has a user");
	buf_add_string(&play->events, "[LOGIN ");
	buf_add_quoted(&play->events, buf_slice(&credentials->authorise));
	buf_add_quoted(&play->events, buf_slice(&credentials->user));
	buf_add_quoted(&play->events, buf_slice(&credentials->password));
	buf_add_quoted(&play->events, buf_slice(&credentials->message));
}

/* Does what a session does; false at the end. */
static bool
act_front(struct play *play, struct front *front, enum front_action action)
{
	struct refusal refusal = { REFUSAL_UNAVAILABLE, slice_from("later") };

	switch (action) {
	case FRONT_MORE:
		return true;
	case FRONT_STARTTLS:
		fuzz_require(!front->tls && front->tls_offered, "TLS once");
		buf_add_string(&play->events, "[TLS]");
		front->tls = true;
		front_secured(front, &play->out);
		return true;
	case FRONT_CLOSE:
		fuzz_require(front->closed_why, "a reason for the log");
		buf_add_string(&play->events, "[CLOSE]");
		return false;
	case FRONT_RESPONSE:
		fuzz_require(!front->in_sasl, "one response a challenge");
		buf_add_string(&play->events, "[RESPONSE ");
		buf_add_quoted(
		    &play->events, buf_slice(&front->credentials.message));
		front_challenge(front, slice_from("c"), &play->out);
		return true;
	case FRONT_LOGIN:
		break;
	}
	note_login(play, front);
	if (sasl_is_relayed(front->credentials.mechanism)) {
		front_challenge(front, slice_from("c"), &play->out);
		return true;
	}
	if (play->setup & 8) {
		front_accept(
		    front, slice_from("OK"), slice_from(""), &play->out);
		return false;
	}
	front_refuse(front, &refusal, &play->out);
	credentials_wipe(&front->credentials);
	return true;
}

static void
play_front(struct play *play, enum service_kind service, struct slice input)
{
	struct front front;
	size_t start = 0, seen = 0;
	bool open = true;

	play->out = buf_bounded(OUT_SIZE);
	play->events = buf_bounded(OUT_SIZE);
	set_up_front(&front, service, play->setup);
	front_greet(&front, &play->out);
	while (open && seen < input.size) {
		enum front_action action;
		struct slice rest;

		seen = play->step < input.size - seen ? seen + play->step
						      : input.size;
		do {
			rest =
			    slice_from_offset(slice_first(input, seen), start);
			action = front_input(&front, &rest, &play->out);
			start = seen - rest.size;
			open = act_front(play, &front, action);
		} while (open && action != FRONT_MORE);
		fuzz_require(!open || seen - start <=
					  LINE_SIZE + LITERAL_SIZE + play->step,
		    "what is not understood yet is bounded");
	}
	front_close(&front);
	offers_free(&offers);
}

static void
compare(struct play *whole, struct play *pieces)
{
	fuzz_require(
	    slice_equal(buf_slice(&whole->out), buf_slice(&pieces->out)),
	    "pieces give the same output");
	fuzz_require(
	    slice_equal(buf_slice(&whole->events), buf_slice(&pieces->events)),
	    "pieces give the same events");
	buf_free(&whole->out);
	buf_free(&whole->events);
	buf_free(&pieces->out);
	buf_free(&pieces->events);
}

void
fuzz_front(enum service_kind service, const uint8_t *data, size_t size)
{
	struct slice input = slice_from_offset(slice_of(data, size), 1);
	struct play whole = { .step = SIZE_MAX / 2 };
	struct play pieces = { .step = 1 };

	if (size == 0)
		return;
	whole.setup = pieces.setup = data[0];
	play_front(&whole, service, input);
	play_front(&pieces, service, input);
	fuzz_require(!whole.out.failed, "the output is bounded");
	/* ManageSieve says strings of the client again, as literals. */
	fuzz_require(
	    service == SERVICE_SIEVE || is_lines(buf_slice(&whole.out)),
	    "output is lines");
	compare(&whole, &pieces);
}

/* ---- back ---- */

/* False at the end. */
static bool
act_back(struct play *play, struct back *back, enum back_action action)
{
	switch (action) {
	case BACK_MORE:
		return true;
	case BACK_STARTTLS:
		fuzz_require(
		    back->tls == SERVICE_TLS_STARTTLS && !back->secured,
		    "TLS once, where it is wanted");
		buf_add_string(&play->events, "[TLS]");
		return act_back(
		    play, back, back->protocol->secured(back, &play->out));
	case BACK_CHALLENGE:
		fuzz_require(sasl_is_relayed(back->credentials->mechanism),
		    "challenges only where they are passed on");
		buf_add_string(&play->events, "[CHALLENGE ");
		buf_add_quoted(&play->events, buf_slice(&back->challenge));
		back->protocol->respond(back, slice_from("r"), &play->out);
		return true;
	case BACK_ACCEPTED:
		fuzz_require(back->tls == SERVICE_TLS_NONE || back->secured,
		    "no login without the TLS that is wanted");
		buf_add_string(&play->events, "[ACCEPTED ");
		break;
	case BACK_REFUSED:
		buf_add_string(&play->events, "[REFUSED ");
		break;
	case BACK_UNAVAILABLE:
	case BACK_BROKEN:
		fuzz_require(back->why, "a reason for the log");
		buf_add_string(&play->events, back->why);
		return false;
	}
	fuzz_require(
	    is_lines(buf_slice(&back->untagged)), "untagged lines are lines");
	for (size_t i = 0; i < back->reply.size; i++)
		fuzz_require(back->reply.data[i] != '\0', "a reply has no NUL");
	buf_add_slice(&play->events, buf_slice(&back->untagged));
	buf_add_slice(&play->events, buf_slice(&back->reply));
	return false;
}

static void
play_back(struct play *play, enum service_kind service, struct slice input)
{
	static const char *const passwords[] = { "secret", "q\"\\",
		"\xc3\xa4" };
	struct back_client client = { "192.0.2.1", 4000, "192.0.2.2", 143, "s1",
		"mail.example.org", "client.example.org", play->setup & 32 };
	struct credentials credentials;
	size_t start = 0, seen = 0;
	bool open = true;
	struct buf offer = buf_bounded(OFFER_SIZE_MAX);
	struct back back;

	play->out = buf_bounded(OUT_SIZE);
	play->events = buf_bounded(OUT_SIZE);
	credentials_init(&credentials);
	if (play->setup & 64) {
		credentials.mechanism = SASL_SCRAM_SHA_1;
		buf_add_string(&credentials.message, "n,,n=bob,r=x");
	}
	buf_add_string(&credentials.authorise, play->setup & 16 ? "alice" : "");
	buf_add_string(&credentials.user, "bob");
	buf_add_string(&credentials.password, passwords[play->setup / 4 % 3]);
	back_open(&back, back_protocol(service), &client, &credentials,
	    credentials_owner(&credentials),
	    (enum service_tls)(play->setup % 3), LINE_SIZE);
	if (play->setup & 128 && offer_is_used(service))
		back.offer = &offer;
	while (open && seen < input.size) {
		enum back_action action;
		struct slice rest;

		seen = play->step < input.size - seen ? seen + play->step
						      : input.size;
		do {
			rest =
			    slice_from_offset(slice_first(input, seen), start);
			action = back.protocol->input(&back, &rest, &play->out);
			start = seen - rest.size;
			open = act_back(play, &back, action);
		} while (open && action != BACK_MORE);
	}
	buf_add_slice(&play->events, buf_slice(&offer));
	back_close(&back);
	credentials_wipe(&credentials);
	buf_free(&offer);
}

void
fuzz_back(enum service_kind service, const uint8_t *data, size_t size)
{
	struct slice input = slice_from_offset(slice_of(data, size), 1);
	struct play whole = { .step = SIZE_MAX / 2 };
	struct play pieces = { .step = 1 };

	if (size == 0)
		return;
	whole.setup = pieces.setup = data[0];
	play_back(&whole, service, input);
	play_back(&pieces, service, input);
	fuzz_require(!whole.out.failed, "the output is bounded");
	compare(&whole, &pieces);
}
