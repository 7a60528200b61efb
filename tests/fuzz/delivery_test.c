/*
 * A delivery with its hub and its servers, each of whom may say anything at any
 * moment, in any pieces.
 */
#include <string.h>

#include "proxy/delivery_state.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mail.h"
#include "tests/fuzz/script.h"

#define LINES_MAX   200                 /* of one play */
#define WAITING_MAX ((size_t)4 * 65536) /* octets for one server */

const char fuzz_name[] = "delivery";

struct play {
	struct stage stage;
	struct mail_server servers[STAGE_PEERS_MAX];
	size_t server_count;
	struct mail_copies copies;
	bool smtp, chunking;
	bool wayward; /* servers to come do not obey */
};

static void
check_memory(const struct play *play)
{
	const struct delivery *delivery =
	    LIST_FIRST(&play->stage.relay.deliveries);

	if (!delivery)
		return;
	fuzz_require(!delivery->mail.failed && !delivery->path.failed &&
			 delivery->in.size <= delivery->in.size_max,
	    "what a hub says is bounded");
	for (size_t i = 0; i < delivery->back_count; i++)
		fuzz_require(
		    lmtp_back_waiting(delivery->backs[i]) <= WAITING_MAX,
		    "what a server gets is bounded");
}

static void
turn(struct play *play)
{
	bool more = true;

	while (more) {
		stage_turn(&play->stage);
		while (play->server_count < play->stage.server_count) {
			struct stage_peer *peer =
			    &play->stage.servers[play->server_count];
			struct mail_server *server =
			    &play->servers[play->server_count++];

			mail_server_open(server, peer, &play->copies,
			    peer->server == 2,
			    play->chunking && peer->server != 1);
			server->obeys = !play->wayward;
		}
		more = false;
		for (size_t i = 0; i < play->server_count; i++)
			if (mail_server_turn(&play->servers[i]))
				more = true;
	}
	check_memory(play);
}

/* Only as it was told to; what came before is another phase. */
static void
begin_tls(struct play *play)
{
	static const char told[] = "220 2.0.0 Begin TLS now.\r\n";
	struct stage_peer *hub = &play->stage.client;
	struct slice heard = buf_slice(&hub->heard);

	if (heard.size < sizeof(told) ||
	    !slice_is(slice_from_offset(heard, heard.size - (sizeof(told) - 1)),
		told))
		return;
	mail_hub_check(hub, &play->copies, play->smtp, false);
	mail_copies_check(hub, &play->copies, play->smtp);
	stage_begin_tls(hub, true);
}

static void
run(struct play *play, const struct script_line *line)
{
	if (line->peer == &play->stage.client && line->what == '!')
		begin_tls(play);
	else if (script_run(&play->stage, line))
		;
	else if (line->what == '~' && line->who == '*')
		play->wayward = !play->wayward;
	else if (line->what == '~' && line->who >= '0' &&
		 line->who < '0' + (int)play->server_count)
		play->servers[line->who - '0'].obeys ^= true;
	if (line->alone)
		turn(play);
}

/* From now on all do as they should, and in the end give up. */
static void
settle(struct play *play)
{
	play->wayward = false;
	play->stage.refused = 0;
	play->stage.client.paused = false;
	for (size_t i = 0; i < play->server_count; i++) {
		play->servers[i].obeys = true;
		play->servers[i].peer->paused = false;
	}
	turn(play);
	for (int i = 0; i < 3; i++) {
		stage_advance(&play->stage, 601000);
		turn(play);
	}
}

static void
set_up(struct play *play, unsigned setup)
{
	play->smtp = setup & 1;
	play->chunking = setup & 8;
	stage_open(&play->stage, play->smtp ? SERVICE_SMTP : SERVICE_LMTP);
	play->stage.config->delivery.bare_lf = setup & 2;
	play->stage.config->delivery.message_size = setup & 4 ? 2000 : 0;
	play->stage.config->delivery.smtp_recipients = (int)(setup >> 4) % 3;
	play->stage.config->delivery.recipients = setup & 128 ? 2 : 100;
	play->stage.room = setup & 64 ? 1 : 0;
	stage_connect(&play->stage);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct play play;
	struct slice rest = slice_from_offset(slice_of(data, size), 1);
	struct script_line line;

	if (size == 0)
		return 0;
	memset(&play, 0, sizeof(play));
	set_up(&play, data[0]);
	/* The rest of the first line is a comment. */
	(void)script_next(&play.stage, &rest, &line);
	for (int i = 0; i < LINES_MAX && script_next(&play.stage, &rest, &line);
	     i++)
		run(&play, &line);
	settle(&play);
	mail_hub_check(&play.stage.client, &play.copies, play.smtp, true);
	mail_copies_check(&play.stage.client, &play.copies, play.smtp);
	stage_close(&play.stage);
	for (size_t i = 0; i < play.server_count; i++)
		mail_server_close(&play.servers[i]);
	mail_copies_free(&play.copies);
	return 0;
}
