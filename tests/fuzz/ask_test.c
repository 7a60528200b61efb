/*
 * What servers answer those who only ask: a probe, and a relay that learns what
 * they offer.
 */
#include <string.h>

#include "lib/query.h"
#include "proxy/learn.h"
#include "proxy/probe.h"

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/login_server.h"
#include "tests/fuzz/script.h"

#define LINES_MAX 100 /* of one play */

const char fuzz_name[] = "ask";

struct play {
	struct stage stage;
	struct login_server servers[STAGE_PEERS_MAX];
	size_t server_count;
	enum service_kind kind;
	bool wayward;
	struct probe *probe;
	struct credentials credentials;
	struct address_list addresses;
	unsigned done; /* how often the probe has told */
};

static struct play play;

static void
on_done(void *context, enum probe_result result, const char *why)
{
	(void)context;
	play.done++;
	fuzz_require(why, "a probe tells why");
	fuzz_require(result != PROBE_GOOD || play.stage.server_count > 0,
	    "nothing is good that nobody has said");
	probe_free(&play.probe);
}

static void
begin_probe(unsigned setup)
{
	union address *address = &play.addresses.addresses[0];
	struct probe_request request = { .kind = play.kind,
		.tls = (enum service_tls)(setup >> 4 & 3) % 3,
		.port = 1,
		.name = "mail.example.org",
		.host = "127.0.0.1",
		.addresses = &play.addresses,
		.depth = (enum probe_depth)((setup >> 6) % 3),
		.context = play.stage.settings.back_context,
		.credentials = &play.credentials,
		.timeout_ms = 1000 };

	address->in.sin_family = AF_INET;
	address->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	play.addresses.count = 1;
	play.stage.secured = request.tls == SERVICE_TLS_IMPLICIT;
	if (request.depth == PROBE_LOGIN && !probe_can_log_in(play.kind))
		request.depth = PROBE_TLS;
	play.probe = probe_new(play.stage.relay.base, &request, on_done, NULL);
	fuzz_require(play.probe, "memory");
}

static void
turn(void)
{
	bool more = true;

	while (more) {
		stage_turn(&play.stage);
		while (play.server_count < play.stage.server_count) {
			size_t number = play.server_count++;

			login_server_open(&play.servers[number],
			    &play.stage.servers[number], play.kind);
			play.servers[number].obeys = !play.wayward;
		}
		more = false;
		for (size_t i = 0; i < play.server_count; i++)
			if (login_server_turn(&play.servers[i]))
				more = true;
	}
}

static void
run(const struct script_line *line)
{
	if (script_run(&play.stage, line))
		;
	else if (line->what == '~' && line->who == '*')
		play.wayward = !play.wayward;
	else if (line->what == '~' && line->who >= '0' &&
		 line->who < '0' + (int)play.server_count)
		play.servers[line->who - '0'].obeys ^= true;
	if (line->alone)
		turn();
}

/* What fronts would say of it. */
static void
check_offers(void)
{
	const struct offers *offers = &play.stage.relay.offers;

	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		struct slice lines = buf_slice(&offers->lines[i]);
		struct slice keyword, words;

		fuzz_require(lines.size <= OFFER_SIZE_MAX, "a bounded offer");
		while (offer_next(&lines, &keyword, &words))
			fuzz_require(slice_is_printable(keyword) &&
					 slice_is_printable(words),
			    "what is offered is text");
	}
}

static void
set_up(unsigned setup)
{
	play.kind = (enum service_kind)((setup & 15) % SERVICE_KIND_COUNT);
	stage_open(&play.stage, SERVICE_IMAP);
	credentials_init(&play.credentials);
	buf_add_string(&play.credentials.user, "probe");
	buf_add_string(&play.credentials.password, "secret");
	play.wayward = !offer_is_used(play.kind) && play.kind != SERVICE_IMAP;
	if (probe_can(play.kind) && (setup >> 6) != 3) {
		begin_probe(setup);
	} else {
		play.stage.secured = 1U << 2;
		play.stage.relay.learner = learner_new(&play.stage.relay);
	}
	turn();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_from_offset(slice_of(data, size), 1);
	struct script_line line;
	bool probing;

	if (size == 0)
		return 0;
	(void)query_check(data[0] & 1   ? SERVICE_DNS
			  : data[0] & 2 ? SERVICE_LDAP
					: SERVICE_KERBEROS,
	    rest);
	memset(&play, 0, sizeof(play));
	set_up(data[0]);
	probing = !play.stage.relay.learner;
	/* The rest of the first line is a comment. */
	(void)script_next(&play.stage, &rest, &line);
	for (int i = 0; i < LINES_MAX && script_next(&play.stage, &rest, &line);
	     i++)
		run(&line);
	stage_advance(&play.stage, 61000);
	turn();
	fuzz_require(!probing || play.done == 1, "a probe tells once");
	fuzz_require(probing || !learner_is_asking(play.stage.relay.learner),
	    "whoever asks comes to an end");
	check_offers();
	learner_free(&play.stage.relay.learner);
	credentials_wipe(&play.credentials);
	stage_close(&play.stage);
	return 0;
}
