/*
 * sink: the back end of the bench. It speaks as much IMAP, POP3, SMTP and LMTP
 * as proxies need, lets everybody in, and does so at the least cost, so that
 * what is measured is the proxy before it.
 *
 *     sink PROTOCOL ADDRESS PORT [PROTOCOL ADDRESS PORT ...]
 *
 * After login "TAG XSOURCE N" is answered with N octets, and after
 * "TAG XSINK N" N octets are swallowed; both then with an OK.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MAX_SIZE 2048 /* octets of input kept for a connection */
#define ANSWERS_SIZE  2048 /* those of a full input are shorter */
#define BULK_SIZE     262144
#define EVENTS        256
#define TAG_SIZE      64
#define DESCRIPTORS   65536

enum protocol {
	PROTOCOL_IMAP,
	PROTOCOL_POP3,
	PROTOCOL_SUBMISSION,
	PROTOCOL_LMTP,
	PROTOCOL_COUNT
};

struct peer {
	int fd;
	enum protocol protocol;
	bool listening;
	bool writing;        /* epoll waits for room, too */
	bool in_data;        /* LMTP: a message comes */
	unsigned data_match; /* how much of CR LF . CR LF was seen */
	unsigned recipients;
	uint64_t source_left; /* octets to send */
	uint64_t sink_left;   /* octets to swallow */
	uint64_t literal_left;
	char tag[TAG_SIZE]; /* of the command that is not answered yet */
	size_t used, to_say;
	char answers[ANSWERS_SIZE]; /* to what was read last */
	char input[LINE_MAX_SIZE];
};

static const char *const protocol_names[] = { "imap", "pop3", "submission",
	"lmtp" };
static const char *const greetings[] = {
	("* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID IDLE AUTH=PLAIN] "
	 "ready\r\n"),
	"+OK ready\r\n",
	"220 sink ESMTP\r\n",
	"220 sink LMTP\r\n",
};
static char bulk[BULK_SIZE];

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

/* Answers are short and the socket's buffer is empty: all of it goes. */
static void
send_answers(struct peer *peer)
{
	if (peer->to_say > 0)
		(void)!send(
		    peer->fd, peer->answers, peer->to_say, MSG_NOSIGNAL);
	peer->to_say = 0;
}

/* Kept until all that was read is answered, as servers do. */
static void
say(struct peer *peer, const char *text)
{
	size_t size = strlen(text);

	if (size > ANSWERS_SIZE - peer->to_say)
		send_answers(peer);
	memcpy(peer->answers + peer->to_say, text, size);
	peer->to_say += size;
}

static void
say_tagged(struct peer *peer, const char *text)
{
	char line[TAG_SIZE + 256];

	(void)snprintf(line, sizeof(line), "%s%s", peer->tag, text);
	say(peer, line);
}

static void
say_done(struct peer *peer)
{
	if (peer->protocol == PROTOCOL_IMAP)
		say_tagged(peer, " OK done\r\n");
	else
		say(peer, "+OK done\r\n");
}

/* Common to IMAP and POP3, which differ in the tag. */
static bool
bulk_command(struct peer *peer, const char *command)
{
	if (strncasecmp(command, "XSOURCE ", 8) == 0)
		peer->source_left = strtoull(command + 8, NULL, 10);
	else if (strncasecmp(command, "XSINK ", 6) == 0)
		peer->sink_left = strtoull(command + 6, NULL, 10);
	else
		return false;
	return true;
}

/* The literal that a line ends with, if any; synchronising ones are invited. */
static bool
takes_literal(struct peer *peer, const char *line, size_t size)
{
	const char *brace;

	if (size == 0 || line[size - 1] != '}')
		return false;
	brace = strrchr(line, '{');
	if (!brace)
		return false;
	peer->literal_left = strtoull(brace + 1, NULL, 10);
	if (line[size - 2] != '+')
		say(peer, "+ go on\r\n");
	return true;
}

static void
imap_line(struct peer *peer, char *line, size_t size)
{
	char *command = line;

	if (!peer->tag[0]) {
		command = strchr(line, ' ');
		command = command ? command + 1 : line + size;
		(void)snprintf(peer->tag, sizeof(peer->tag), "%.*s",
		    (int)(command > line ? command - line - 1 : 0), line);
	}
	if (takes_literal(peer, line, size))
		return;
	if (strcasecmp(command, "AUTHENTICATE PLAIN") == 0) {
		say(peer, "+ \r\n");
		return;
	}
	if (strcasecmp(command, "CAPABILITY") == 0)
		say(peer, "* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID IDLE"
			  " AUTH=PLAIN\r\n");
	if (strncasecmp(command, "ID ", 3) == 0)
		say(peer, "* ID NIL\r\n");
	if (bulk_command(peer, command))
		return;
	say_done(peer);
	peer->tag[0] = '\0';
}

static void
pop3_line(struct peer *peer, char *line, size_t size)
{
	(void)size;
	if (strcasecmp(line, "CAPA") == 0)
		say(peer, "+OK\r\nUSER\r\nSASL PLAIN\r\nPIPELINING\r\n"
			  "RESP-CODES\r\n.\r\n");
	else if (strcasecmp(line, "AUTH PLAIN") == 0)
		say(peer, "+ \r\n");
	else if (!bulk_command(peer, line))
		say(peer, "+OK\r\n");
}

static void
submission_line(struct peer *peer, char *line, size_t size)
{
	(void)size;
	if (strncasecmp(line, "EHLO", 4) == 0)
		say(peer, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
			  "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"
			  "250 AUTH PLAIN\r\n");
	else if (strncasecmp(line, "XCLIENT", 7) == 0)
		say(peer, "220 sink ESMTP\r\n");
	else if (strncasecmp(line, "AUTH PLAIN", 10) == 0)
		say(peer, "235 2.7.0 OK\r\n");
	else if (strcasecmp(line, "QUIT") == 0)
		say(peer, "221 2.0.0 bye\r\n");
	else
		say(peer, "250 2.0.0 OK\r\n");
}

static void
lmtp_line(struct peer *peer, char *line, size_t size)
{
	(void)size;
	if (strncasecmp(line, "LHLO", 4) == 0) {
		say(peer, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
			  "250-ENHANCEDSTATUSCODES\r\n250 SIZE\r\n");
	} else if (strcasecmp(line, "DATA") == 0) {
		peer->in_data = true;
		peer->data_match = 2;
		say(peer, "354 go on\r\n");
	} else if (strncasecmp(line, "RCPT", 4) == 0) {
		peer->recipients++;
		say(peer, "250 2.1.5 OK\r\n");
	} else if (strncasecmp(line, "QUIT", 4) == 0) {
		say(peer, "221 2.0.0 bye\r\n");
	} else {
		say(peer, "250 2.0.0 OK\r\n");
	}
}

/* How much of a message's text belongs to it, its end included. */
static size_t
data_size(struct peer *peer, const char *text, size_t size)
{
	static const char end[] = "\r\n.\r\n";
	size_t i;

	for (i = 0; i < size && peer->data_match < 5; i++) {
		if (text[i] == end[peer->data_match])
			peer->data_match++;
		else
			peer->data_match = text[i] == '\r';
	}
	return i;
}

static void
take_data(struct peer *peer)
{
	size_t taken = data_size(peer, peer->input, peer->used);

	memmove(peer->input, peer->input + taken, peer->used - taken);
	peer->used -= taken;
	if (peer->data_match < 5)
		return;
	peer->in_data = false;
	for (; peer->recipients > 0; peer->recipients--)
		say(peer, "250 2.0.0 kept\r\n");
}

static size_t
skip(uint64_t *left, size_t size)
{
	size_t skipped = *left < size ? (size_t)*left : size;

	*left -= skipped;
	return skipped;
}

/* Takes whole lines off the input; false for one that is too long. */
static bool
take_lines(struct peer *peer)
{
	static void (*const takers[])(struct peer *, char *,
	    size_t) = { imap_line, pop3_line, submission_line, lmtp_line };

	while (peer->used > 0) {
		size_t taken = skip(&peer->literal_left, peer->used);
		char *line = peer->input + taken, *end;

		end = memchr(line, '\n', peer->used - taken);
		if (!end && taken == 0)
			return peer->used < LINE_MAX_SIZE;
		if (end) {
			taken = (size_t)(end + 1 - peer->input);
			end -= end > line && end[-1] == '\r';
			*end = '\0';
			takers[peer->protocol](
			    peer, line, (size_t)(end - line));
		}
		memmove(peer->input, peer->input + taken, peer->used - taken);
		peer->used -= taken;
		if (peer->in_data)
			take_data(peer);
		if (peer->sink_left > 0) {
			/* What came behind the command counts already. */
			skip(&peer->sink_left, peer->used);
			peer->used = 0;
		}
		if (peer->source_left > 0)
			break;
	}
	return true;
}

static bool
send_bulk(struct peer *peer)
{
	while (peer->source_left > 0) {
		size_t size = peer->source_left < BULK_SIZE
				  ? (size_t)peer->source_left
				  : BULK_SIZE;
		ssize_t sent = send(peer->fd, bulk, size, MSG_NOSIGNAL);

		if (sent < 0)
			return errno == EAGAIN;
		peer->source_left -= (uint64_t)sent;
	}
	say_done(peer);
	peer->tag[0] = '\0';
	return true;
}

static bool
swallow(struct peer *peer)
{
	ssize_t got = recv(peer->fd, bulk,
	    peer->sink_left < BULK_SIZE ? (size_t)peer->sink_left : BULK_SIZE,
	    0);

	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	peer->sink_left -= (uint64_t)got;
	if (peer->sink_left == 0) {
		say_done(peer);
		peer->tag[0] = '\0';
	}
	return true;
}

static bool
read_input(struct peer *peer)
{
	ssize_t got = recv(
	    peer->fd, peer->input + peer->used, LINE_MAX_SIZE - peer->used, 0);

	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	peer->used += (size_t)got;
	if (peer->in_data)
		take_data(peer);
	return take_lines(peer);
}

static struct peer *peers[DESCRIPTORS]; /* owned; by descriptor */

static void
watch(int epoll, int operation, struct peer *peer)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = peer->fd };

	if (peer->writing)
		event.events |= EPOLLOUT;
	if (peer->fd >= DESCRIPTORS)
		die("descriptors");
	peers[peer->fd] = peer;
	if (epoll_ctl(epoll, operation, peer->fd, &event) < 0)
		die("epoll_ctl");
}

static void
serve(int epoll, struct peer *peer)
{
	bool alive = true, writing;

	if (peer->sink_left > 0)
		alive = swallow(peer);
	else if (peer->source_left == 0)
		alive = read_input(peer);
	/* Before bulk goes out nothing may be left unsaid. */
	send_answers(peer);
	if (alive && peer->source_left > 0)
		alive = send_bulk(peer);
	send_answers(peer);
	if (!alive) {
		peers[peer->fd] = NULL;
		close(peer->fd);
		free(peer);
		return;
	}
	writing = peer->source_left > 0;
	if (writing != peer->writing) {
		peer->writing = writing;
		watch(epoll, EPOLL_CTL_MOD, peer);
	}
}

static void
take_in(int epoll, const struct peer *listener)
{
	struct peer *peer;
	int fd =
	    accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	peer = malloc(sizeof(*peer));
	if (!peer)
		die("malloc");
	memset(peer, 0, offsetof(struct peer, answers));
	peer->fd = fd;
	peer->protocol = listener->protocol;
	watch(epoll, EPOLL_CTL_ADD, peer);
	say(peer, greetings[peer->protocol]);
	send_answers(peer);
}

static void
listen_at(int epoll, const char *protocol, const char *host, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10)) };
	struct peer *peer = calloc(1, sizeof(*peer));
	int one = 1, found = 0;

	while (found < PROTOCOL_COUNT &&
	       strcmp(protocol, protocol_names[found]) != 0)
		found++;
	if (!peer || found == PROTOCOL_COUNT ||
	    inet_pton(AF_INET, host, &address.sin_addr) != 1)
		die(protocol);
	peer->protocol = (enum protocol)found;
	peer->listening = true;
	peer->fd =
	    socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(peer->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* Those that are accepted inherit it. */
	setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(peer->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(peer->fd, 4096) < 0)
		die(port);
	watch(epoll, EPOLL_CTL_ADD, peer);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (argc < 4 || (argc - 1) % 3 != 0) {
		(void)fputs("usage: sink PROTOCOL ADDRESS PORT ...\n", stderr);
		return 64;
	}
	memset(bulk, 'x', sizeof(bulk));
	for (int i = 1; i < argc; i += 3)
		listen_at(epoll, argv[i], argv[i + 1], argv[i + 2]);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		if (count < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < count; i++) {
			struct peer *peer = peers[events[i].data.fd];

			if (peer->listening)
				take_in(epoll, peer);
			else
				serve(epoll, peer);
		}
	}
}
