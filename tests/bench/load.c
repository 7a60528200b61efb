/*
 * load: the client of the bench, one thread over epoll. It prints one line of
 * JSON when it is done.
 *
 *     load [-m MODE] [-p imap|pop3|submission|lmtp] [-t
 * none|tls|resumed|starttls]
 *          [-c CONNECTIONS AT ONCE] [-n COUNT] [-b OCTETS] [-k DELIVERIES A
 *          CONNECTION] [-u USERS] ADDRESS PORT
 *
 * MODE login: COUNT logins, each closed as soon as it is answered; hold: COUNT
 * sessions, then "held" and waiting for the end of standard input; source and
 * sink: OCTETS to each of CONNECTIONS and from them; deliver: COUNT messages of
 * OCTETS.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

#define INPUT_SIZE  4096
#define BULK_SIZE   262144
#define EVENTS      256
#define STALL_MS    30000 /* without any event: something is stuck */
#define DESCRIPTORS 65536

enum mode {
	MODE_LOGIN,
	MODE_HOLD,
	MODE_SOURCE,
	MODE_SINK,
	MODE_DELIVER
};

enum protocol {
	PROTOCOL_IMAP,
	PROTOCOL_POP3,
	PROTOCOL_SUBMISSION,
	PROTOCOL_LMTP
};

enum tls {
	TLS_NONE,
	TLS_FULL,
	TLS_RESUMED,
	TLS_STARTTLS
};

static const char *const mode_words[] = { "login", "hold", "source", "sink",
	"deliver", NULL };
static const char *const protocol_words[] = { "imap", "pop3", "submission",
	"lmtp", NULL };
static const char *const tls_words[] = { "none", "tls", "resumed", "starttls",
	NULL };

enum step {
	STEP_GREETING,
	STEP_STARTTLS,  /* asked for */
	STEP_HANDSHAKE, /* also a connection that is not there yet */
	STEP_USER,      /* POP3: USER was sent */
	STEP_HELLO,     /* submission: EHLO was sent */
	STEP_LOGIN,
	STEP_SOURCE,
	STEP_SINK,
	STEP_SINK_END,
	STEP_LHLO,
	STEP_ENVELOPE, /* MAIL, RCPT and DATA were sent together */
	STEP_MESSAGE,
	STEP_IDLE
};

struct client {
	int fd;
	SSL *ssl; /* owned */
	enum step step;
	unsigned number;
	unsigned replies;   /* that are still to come */
	unsigned delivered; /* on this connection */
	bool writing;
	uint64_t left; /* octets of bulk */
	int64_t begun_ns;
	size_t used;
	char input[INPUT_SIZE];
};

static struct {
	int mode, protocol, tls;
	unsigned at_once, count, users, deliveries;
	uint64_t octets;
	struct sockaddr_in address;
	int epoll;
	SSL_CTX *context;
	SSL_SESSION *session; /* owned: the newest ticket */
	unsigned started, done, failed, resumed, open;
	uint64_t moved;
	int64_t *times_ns;
	char *message;
	size_t message_size;
} load = { .at_once = 1, .count = 1, .users = 1, .deliveries = 10 };

static char bulk[BULK_SIZE];

static int64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static struct client *clients[DESCRIPTORS]; /* owned; by descriptor */

static void
watch(struct client *client, int operation)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = client->fd };

	if (client->writing)
		event.events |= EPOLLOUT;
	if (client->fd >= DESCRIPTORS)
		die("descriptors");
	clients[client->fd] = client;
	if (epoll_ctl(load.epoll, operation, client->fd, &event) < 0)
		die("epoll_ctl");
}

static void
want_write(struct client *client, bool wanted)
{
	if (client->writing == wanted)
		return;
	client->writing = wanted;
	watch(client, EPOLL_CTL_MOD);
}

/* ---- octets; all of these: >0, 0 for "later", -1 for the end ---- */

static ssize_t
tls_result(struct client *client, int returned)
{
	int error = SSL_get_error(client->ssl, returned);

	ERR_clear_error();
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return 0;
	return -1;
}

static ssize_t
take(struct client *client, void *data, size_t size)
{
	ssize_t got;

	if (client->ssl) {
		int returned = SSL_read(client->ssl, data, (int)size);

		return returned > 0 ? returned : tls_result(client, returned);
	}
	got = recv(client->fd, data, size, 0);
	if (got < 0 && errno == EAGAIN)
		return 0;
	return got > 0 ? got : -1;
}

static ssize_t
give(struct client *client, const void *data, size_t size)
{
	ssize_t sent;

	if (client->ssl) {
		int returned = SSL_write(client->ssl, data, (int)size);

		return returned > 0 ? returned : tls_result(client, returned);
	}
	sent = send(client->fd, data, size, MSG_NOSIGNAL);
	return sent < 0 && errno == EAGAIN ? 0 : sent;
}

/* ---- life of a connection ---- */

static bool
begin_tls(struct client *client)
{
	client->step = STEP_HANDSHAKE;
	client->ssl = SSL_new(load.context);
	if (!client->ssl || SSL_set_fd(client->ssl, client->fd) != 1)
		return false;
	if (load.tls == TLS_RESUMED && load.session)
		SSL_set_session(client->ssl, load.session);
	SSL_set_connect_state(client->ssl);
	return true;
}

static void
start(void)
{
	struct client *client = malloc(sizeof(*client));
	int one = 1;

	if (!client)
		die("malloc");
	memset(client, 0, offsetof(struct client, input));
	client->number = load.started++;
	client->begun_ns = now_ns();
	client->fd =
	    socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client->fd < 0)
		die("socket");
	setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(client->fd, (struct sockaddr *)&load.address,
		sizeof(load.address)) < 0 &&
	    errno != EINPROGRESS)
		die("connect");
	load.open++;
	if ((load.tls == TLS_FULL || load.tls == TLS_RESUMED) &&
	    !begin_tls(client))
		die("SSL_new");
	client->writing = client->ssl != NULL;
	watch(client, EPOLL_CTL_ADD);
}

/* Without a ticket yet, the first connection goes ahead to fetch one. */
static unsigned
at_once(void)
{
	return load.tls == TLS_RESUMED && !load.session ? 1 : load.at_once;
}

static void
finish(struct client *client, bool good)
{
	if (good)
		load.times_ns[load.done++] = now_ns() - client->begun_ns;
	else
		load.failed++;
	if (client->ssl) {
		load.resumed += (unsigned)SSL_session_reused(client->ssl);
		if (good)
			SSL_shutdown(client->ssl);
		SSL_free(client->ssl);
	}
	ERR_clear_error();
	clients[client->fd] = NULL;
	close(client->fd);
	free(client);
	load.open--;
	while (load.started < load.count && load.open < at_once())
		start();
}

static int
keep_ticket(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(load.session);
	load.session = session;
	return 1;
}

/* ---- what is said ---- */

/* Whether a connection is needed any longer, and how it ended if not. */
enum verdict {
	GO_ON,
	GOOD,
	BAD
};

static enum verdict
say(struct client *client, const char *text)
{
	size_t size = strlen(text);

	/* Commands are short: a socket that does not take one is broken. */
	return give(client, text, size) == (ssize_t)size ? GO_ON : BAD;
}

static enum verdict
say_login(struct client *client)
{
	char line[128];
	unsigned user = client->number % load.users;

	if (load.protocol == PROTOCOL_POP3) {
		(void)snprintf(line, sizeof(line), "USER u%06u\r\n", user);
		client->step = STEP_USER;
	} else {
		(void)snprintf(
		    line, sizeof(line), "a LOGIN u%06u secret\r\n", user);
		client->step = STEP_LOGIN;
	}
	return say(client, line);
}

static enum verdict
say_envelope(struct client *client)
{
	char lines[256];

	client->step = STEP_ENVELOPE;
	client->replies = 3;
	(void)snprintf(lines, sizeof(lines),
	    "MAIL FROM:<bench@example.org>\r\nRCPT TO:<u%06u@example.org>\r\n"
	    "DATA\r\n",
	    client->number++ % load.users);
	return say(client, lines);
}

static enum verdict
push(struct client *client)
{
	while (client->left > 0) {
		size_t size =
		    client->left < BULK_SIZE ? (size_t)client->left : BULK_SIZE;
		ssize_t sent = give(client, bulk, size);

		if (sent < 0)
			return BAD;
		want_write(client, sent == 0);
		if (sent == 0)
			return GO_ON;
		client->left -= (uint64_t)sent;
		load.moved += (uint64_t)sent;
	}
	want_write(client, false);
	client->step = STEP_SINK_END;
	return GO_ON;
}

static enum verdict
pull(struct client *client)
{
	ssize_t got;

	while ((got = take(client, bulk, BULK_SIZE)) > 0) {
		load.moved += (uint64_t)got;
		if ((uint64_t)got >= client->left)
			return GOOD;
		client->left -= (uint64_t)got;
	}
	return got < 0 ? BAD : GO_ON;
}

static enum verdict
logged_in(struct client *client)
{
	char line[64];

	client->left = load.octets;
	switch ((enum mode)load.mode) {
	case MODE_HOLD:
		client->step = STEP_IDLE;
		load.done++;
		if (load.started < load.count)
			start();
		return GO_ON;
	case MODE_SOURCE:
		client->step = STEP_SOURCE;
		(void)snprintf(line, sizeof(line), "a XSOURCE %llu\r\n",
		    (unsigned long long)load.octets);
		return say(client, line);
	case MODE_SINK:
		client->step = STEP_SINK;
		(void)snprintf(line, sizeof(line), "a XSINK %llu\r\n",
		    (unsigned long long)load.octets);
		return say(client, line) == GO_ON ? push(client) : BAD;
	case MODE_LOGIN:
	case MODE_DELIVER:
		break;
	}
	return GOOD;
}

static enum verdict
delivered(struct client *client)
{
	if (++client->delivered == load.deliveries ||
	    load.started == load.count)
		return GOOD;
	load.times_ns[load.done++] = now_ns() - client->begun_ns;
	client->begun_ns = now_ns();
	load.started++;
	return say_envelope(client);
}

static enum verdict
on_lmtp_line(struct client *client, const char *line)
{
	if (line[0] != '2' && line[0] != '3')
		return BAD;
	if (line[3] == '-')
		return GO_ON;
	if (client->step == STEP_GREETING) {
		client->step = STEP_LHLO;
		return say(client, "LHLO bench\r\n");
	}
	if (client->step == STEP_LHLO)
		return say_envelope(client);
	if (client->step == STEP_MESSAGE)
		return delivered(client);
	if (--client->replies > 0)
		return GO_ON;
	client->step = STEP_MESSAGE;
	load.moved += load.message_size;
	return give(client, load.message, load.message_size) ==
		       (ssize_t)load.message_size
		   ? GO_ON
		   : BAD;
}

static bool
says_no(const char *line)
{
	return strncmp(line, "a NO", 4) == 0 ||
	       strncmp(line, "a BAD", 5) == 0 ||
	       strncmp(line, "* BYE", 5) == 0 || strncmp(line, "-ERR", 4) == 0;
}

/* AUTH PLAIN of the user's name and "secret", "u000000" being 7 octets. */
static enum verdict
say_auth(struct client *client)
{
	static const char secret[] = "secret";
	unsigned char message[32], text[64];
	char line[128];
	int size = snprintf((char *)message, sizeof(message), "_u%06u_%s",
	    client->number % load.users, secret);

	message[0] = '\0';
	message[size - (int)sizeof(secret)] = '\0';
	EVP_EncodeBlock(text, message, size);
	(void)snprintf(line, sizeof(line), "AUTH PLAIN %s\r\n", text);
	client->step = STEP_LOGIN;
	return say(client, line);
}

/* One line of submission; of several the last counts. */
static enum verdict
on_submission_line(struct client *client, const char *line)
{
	if (line[0] != '2')
		return BAD;
	if (line[3] == '-')
		return GO_ON;
	if (client->step == STEP_GREETING) {
		client->step = STEP_HELLO;
		return say(client, "EHLO bench\r\n");
	}
	return client->step == STEP_HELLO ? say_auth(client)
					  : logged_in(client);
}

/* One line of IMAP or POP3. */
static enum verdict
on_line(struct client *client, const char *line)
{
	bool is_pop3 = load.protocol == PROTOCOL_POP3;

	if (says_no(line))
		return BAD;
	if (client->step != STEP_GREETING &&
	    strncmp(line, is_pop3 ? "+OK" : "a OK", is_pop3 ? 3 : 4) != 0)
		return GO_ON;
	if (client->step == STEP_GREETING && load.tls != TLS_STARTTLS)
		return say_login(client);
	if (client->step == STEP_GREETING) {
		client->step = STEP_STARTTLS;
		return say(client, is_pop3 ? "STLS\r\n" : "a STARTTLS\r\n");
	}
	if (client->step == STEP_STARTTLS)
		return begin_tls(client) ? GO_ON : BAD;
	if (client->step == STEP_USER) {
		client->step = STEP_LOGIN;
		return say(client, "PASS secret\r\n");
	}
	return client->step == STEP_LOGIN ? logged_in(client) : GOOD;
}

/* ---- events ---- */

static enum verdict
shake_hands(struct client *client)
{
	int returned = SSL_do_handshake(client->ssl);

	want_write(client, false);
	if (returned != 1)
		return tls_result(client, returned) == 0 ? GO_ON : BAD;
	client->step = STEP_GREETING;
	/* After STARTTLS there is no second greeting. */
	return load.tls == TLS_STARTTLS ? say_login(client) : GO_ON;
}

static enum verdict
take_lines(struct client *client)
{
	static enum verdict (*const takers[])(struct client *, const char *) = {
		on_line, on_line, on_submission_line, on_lmtp_line
	};

	char *line = client->input, *end;
	char *last = client->input + client->used;
	enum verdict verdict = GO_ON;

	while (verdict == GO_ON && client->step != STEP_HANDSHAKE &&
	       client->step != STEP_SOURCE &&
	       (end = memchr(line, '\n', (size_t)(last - line)))) {
		*end = '\0';
		verdict = takers[load.protocol](client, line);
		line = end + 1;
	}
	client->used = (size_t)(last - line);
	memmove(client->input, line, client->used);
	return verdict;
}

static enum verdict
on_readable(struct client *client)
{
	for (;;) {
		enum verdict verdict;
		ssize_t got;

		if (client->step == STEP_SOURCE)
			return pull(client);
		if (client->step == STEP_HANDSHAKE)
			return shake_hands(client);
		got = take(client, client->input + client->used,
		    INPUT_SIZE - 1 - client->used);
		if (got <= 0)
			return got < 0 ? BAD : GO_ON;
		client->used += (size_t)got;
		verdict = take_lines(client);
		if (verdict != GO_ON)
			return verdict;
	}
}

static enum verdict
on_event(struct client *client, uint32_t events)
{
	enum verdict verdict = GO_ON;

	if (client->step == STEP_HANDSHAKE)
		verdict = shake_hands(client);
	else if (client->step == STEP_SINK && (events & EPOLLOUT))
		verdict = push(client);
	if (verdict == GO_ON && client->step != STEP_HANDSHAKE &&
	    (events & ~(uint32_t)EPOLLOUT))
		verdict = on_readable(client);
	return verdict;
}

static void
run(void)
{
	struct epoll_event events[EVENTS];

	while (load.started < load.count && load.open < at_once())
		start();
	while (load.open > 0) {
		int count = epoll_wait(load.epoll, events, EVENTS, STALL_MS);

		if (count == 0 || (count < 0 && errno != EINTR))
			die("nothing happens");
		for (int i = 0; i < count; i++) {
			struct client *client = clients[events[i].data.fd];
			enum verdict verdict =
			    on_event(client, events[i].events);

			if (verdict != GO_ON)
				finish(client, verdict == GOOD);
		}
		if (load.mode == MODE_HOLD &&
		    load.done + load.failed == load.count)
			break;
	}
}

/* ---- beginning and end ---- */

static int
word_index(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	(void)fprintf(stderr, "load: what is \"%s\"?\n", word);
	exit(64);
}

static unsigned
number_of(const char *text)
{
	return (unsigned)strtoul(text, NULL, 10);
}

static void
read_options(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "m:p:t:c:n:b:k:u:")) != -1) {
		switch (option) {
		case 'm':
			load.mode = word_index(mode_words, optarg);
			break;
		case 'p':
			load.protocol = word_index(protocol_words, optarg);
			break;
		case 't':
			load.tls = word_index(tls_words, optarg);
			break;
		case 'c':
			load.at_once = number_of(optarg);
			break;
		case 'n':
			load.count = number_of(optarg);
			break;
		case 'b':
			load.octets = strtoull(optarg, NULL, 10);
			break;
		case 'k':
			load.deliveries = number_of(optarg);
			break;
		case 'u':
			load.users = number_of(optarg);
			break;
		default:
			exit(64);
		}
	}
	if (argc - optind != 2 || load.users == 0 || load.at_once == 0)
		exit(64);
	if (load.mode == MODE_SOURCE || load.mode == MODE_SINK)
		load.count = load.at_once;
	load.address.sin_family = AF_INET;
	load.address.sin_port =
	    htons((uint16_t)strtoul(argv[optind + 1], NULL, 10));
	if (inet_pton(AF_INET, argv[optind], &load.address.sin_addr) != 1)
		die(argv[optind]);
}

static void
prepare(void)
{
	static const char end[] = "\r\n.\r\n";
	size_t size = (size_t)load.octets;

	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	load.times_ns = calloc((size_t)load.count + 1, sizeof(*load.times_ns));
	load.context = SSL_CTX_new(TLS_client_method());
	if (!load.times_ns || !load.context)
		die("malloc");
	SSL_CTX_set_min_proto_version(load.context, TLS1_3_VERSION);
	SSL_CTX_set_mode(load.context, SSL_MODE_ENABLE_PARTIAL_WRITE |
					   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					   SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(
	    load.context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(load.context, keep_ticket);
	memset(bulk, 'x', sizeof(bulk));
	if (load.mode != MODE_DELIVER)
		return;
	load.message_size = size + sizeof(end) - 1;
	load.message = malloc(load.message_size);
	if (!load.message)
		die("malloc");
	memset(load.message, 'x', size);
	for (size_t i = 70; i + 1 < size; i += 72)
		memcpy(load.message + i, "\r\n", 2);
	memcpy(load.message + size, end, sizeof(end) - 1);
}

static int
compare_times(const void *a, const void *b)
{
	const int64_t *first = a, *second = b;

	return (*first > *second) - (*first < *second);
}

static double
percentile_us(unsigned percent)
{
	uint64_t rank = (uint64_t)(load.done - 1) * percent / 100;

	return load.done > 0 ? (double)load.times_ns[rank] / 1000 : 0;
}

int
main(int argc, char **argv)
{
	int64_t begun_ns;
	double seconds;
	char octet;

	read_options(argc, argv);
	prepare();
	begun_ns = now_ns();
	run();
	seconds = (double)(now_ns() - begun_ns) / 1e9;
	if (load.mode == MODE_HOLD) {
		(void)printf("held %u, failed %u\n", load.done, load.failed);
		(void)fflush(stdout);
		while (read(STDIN_FILENO, &octet, 1) > 0)
			;
		return load.failed > 0;
	}
	qsort(load.times_ns, load.done, sizeof(*load.times_ns), compare_times);
	(void)printf("{\"done\": %u, \"failed\": %u, \"resumed\": %u, "
		     "\"seconds\": %.6f, \"octets\": %llu, \"p50_us\": %.1f, "
		     "\"p95_us\": %.1f}\n",
	    load.done, load.failed, load.resumed, seconds,
	    (unsigned long long)load.moved, percentile_us(50),
	    percentile_us(95));
	return load.failed > 0;
}
