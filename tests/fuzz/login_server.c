#include "tests/fuzz/login_server.h"

#include <string.h>

#include "tests/fuzz/fuzz.h"

/* What a line that begins so is answered with; `%` is its tag. */
struct answer {
	const char *command, *text;
	bool challenges; /* the next line is its continuation */
	bool secures;    /* TLS comes next */
};

#define SIEVE_WORDS                                                              \
	"\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"PLAIN LOGIN SCRAM-SHA-256\"\r\n" \
	"\"SIEVE\" \"fileinto\"\r\n\"STARTTLS\"\r\nOK \"Hello.\"\r\n"

static const struct answer imap[] = {
	{ "",
	    "* OK [CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS AUTH=PLAIN "
	    "AUTH=SCRAM-SHA-256] Hello.\r\n",
	    false, false },
	{ "CAPABILITY",
	    "* CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS AUTH=PLAIN "
	    "AUTH=SCRAM-SHA-256\r\n% OK Done.\r\n",
	    false, false },
	{ "ID", "* ID NIL\r\n% OK Done.\r\n", false, false },
	{ "STARTTLS", "% OK Begin.\r\n", false, true },
	{ "AUTHENTICATE SCRAM", "+ cj14\r\n", true, false },
	{ "AUTHENTICATE", "% OK [CAPABILITY IMAP4rev1 IDLE] In.\r\n", false,
	    false },
	{ "LOGIN", "* CAPABILITY IMAP4rev1\r\n% OK In.\r\n", false, false },
	{ NULL, "* BYE\r\n", false, false },
};

static const struct answer pop3[] = {
	{ "", "+OK Hello.\r\n", false, false },
	{ "CAPA", "+OK\r\nSASL PLAIN SCRAM-SHA-256\r\nSTLS\r\nUTF8\r\n.\r\n",
	    false, false },
	{ "STLS", "+OK Begin.\r\n", false, true },
	{ "AUTH SCRAM", "+ cj14\r\n", true, false },
	{ NULL, "+OK In.\r\n", false, false },
};

static const struct answer submission[] = {
	{ "", "220 x ESMTP\r\n", false, false },
	{ "EHLO",
	    "250-x\r\n250-PIPELINING\r\n250-STARTTLS\r\n"
	    "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"
	    "250 AUTH PLAIN LOGIN SCRAM-SHA-256\r\n",
	    false, false },
	{ "STARTTLS", "220 Begin.\r\n", false, true },
	{ "XCLIENT", "220 x ESMTP\r\n", false, false },
	{ "AUTH SCRAM", "334 cj14\r\n", true, false },
	{ "AUTH", "235 2.7.0 In.\r\n", false, false },
	{ NULL, "250 2.0.0 Done.\r\n", false, false },
};

static const struct answer sieve[] = {
	{ "", SIEVE_WORDS, false, false },
	{ "STARTTLS", "OK\r\n", false, true },
	{ "CAPABILITY", SIEVE_WORDS, false, false },
	{ "AUTHENTICATE \"SCRAM", "\"cj14\"\r\n", true, false },
	{ NULL, "OK \"In.\"\r\n", false, false },
};

void
login_server_open(struct login_server *server, struct stage_peer *peer,
    enum service_kind service)
{
	*server = (struct login_server){
		.peer = peer, .service = service, .obeys = true
	};
	server->secured = peer->secured;
}

static const struct answer *
answers_of(enum service_kind service)
{
	if (service == SERVICE_IMAP)
		return imap;
	if (service == SERVICE_POP3)
		return pop3;
	return service == SERVICE_SIEVE ? sieve : submission;
}

static void
say(struct login_server *server, const struct answer *answer, struct slice tag)
{
	struct slice rest = slice_from(answer->text);
	size_t end;

	while ((end = slice_find(rest, '%')) != SIZE_MAX) {
		stage_say(server->peer, slice_first(rest, end));
		stage_say(server->peer, tag);
		rest = slice_from_offset(rest, end + 1);
	}
	stage_say(server->peer, rest);
	server->challenging = answer->challenges;
	if (!answer->secures || server->peer->secured)
		return;
	while (stage_peer_turn(server->peer))
		continue;
	stage_begin_tls(server->peer, false);
	server->secured = true;
	server->heard = 0;
	if (server->service == SERVICE_SIEVE)
		stage_say(server->peer, slice_from(SIEVE_WORDS));
}

static void
answer_line(struct login_server *server, struct slice line)
{
	const struct answer *answer = answers_of(server->service) + 1;
	struct slice tag = slice_from("");

	if (server->challenging) {
		tag = slice_from("1");
		while (answer->command)
			answer++;
		say(server, answer, tag);
		return;
	}
	if (server->service == SERVICE_IMAP) {
		tag = slice_first(line, slice_find(line, ' '));
		line = slice_from_offset(line, tag.size + 1);
	}
	while (answer->command && !slice_starts_nocase(line, answer->command))
		answer++;
	say(server, answer, tag);
}

bool
login_server_turn(struct login_server *server)
{
	struct stage_peer *peer = server->peer;
	bool answered = false;
	struct slice rest;
	size_t end;

	if (peer->secured && !server->secured) {
		server->secured = true;
		server->heard = 0;
	}
	if (!server->obeys || peer->fd < 0)
		return false;
	if (!server->greeted) {
		server->greeted = answered = true;
		say(server, answers_of(server->service), slice_from(""));
	}
	rest = slice_from_offset(buf_slice(&peer->heard), server->heard);
	while ((end = slice_find(rest, '\n')) != SIZE_MAX) {
		struct slice line = slice_first(rest, end);

		server->heard += end + 1;
		answer_line(server, line);
		answered = true;
		rest =
		    slice_from_offset(buf_slice(&peer->heard), server->heard);
	}
	return answered;
}
