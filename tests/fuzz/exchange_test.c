/* Messages behind their lengths, as a name server may send them by TCP. */
#include "zones/exchange.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define ANSWERS_MAX 1024 /* octets of all messages */
#define ROUNDS_MAX  1000

const char fuzz_name[] = "exchange";

struct play {
	struct slice answers; /* that were not told yet */
	size_t told;          /* octets of all messages */
	unsigned wanted;      /* messages until it is enough */
	unsigned done;
};

/* Each message is the next one that was sent. */
static enum exchange_next
on_message(void *context, struct slice message)
{
	struct play *play = context;
	const unsigned char *head = (const unsigned char *)play->answers.data;
	size_t size;

	fuzz_require(play->done == 0 && play->answers.size >= 2,
	    "nothing that was not sent");
	size = (size_t)head[0] << 8 | head[1];
	fuzz_require(
	    slice_equal(slice_first(slice_from_offset(play->answers, 2), size),
		message) &&
		message.size == size,
	    "messages as they were sent");
	play->answers = slice_from_offset(play->answers, 2 + size);
	play->told += size;
	fuzz_require(play->told <= ANSWERS_MAX, "answers are bounded");
	return --play->wanted == 0 ? EXCHANGE_DONE : EXCHANGE_MORE;
}

static void
on_done(void *context, const char *why)
{
	struct play *play = context;

	fuzz_require(play->done++ == 0, "it ends once");
	fuzz_require((why == NULL) == (play->wanted == 0),
	    "well when all is there, else with a reason");
}

static int
listen_there(struct endpoint *endpoint)
{
	struct sockaddr_un *address = (struct sockaddr_un *)&endpoint->address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A name of no file, of the system's choice. */
	memset(endpoint, 0, sizeof(*endpoint));
	address->sun_family = AF_UNIX;
	fuzz_require(fd >= 0 &&
			 bind(fd, (struct sockaddr *)address,
			     sizeof(sa_family_t)) == 0 &&
			 listen(fd, 4) == 0,
	    "a listener");
	endpoint->size = sizeof(endpoint->address);
	fuzz_require(
	    getsockname(fd, (struct sockaddr *)address, &endpoint->size) == 0,
	    "its name");
	return fd;
}

/* In two pieces, and then the end. */
static void
answer(struct event_base *base, int fd, struct slice octets, size_t cut)
{
	struct slice piece = slice_first(octets, cut);

	fuzz_require(fd >= 0, "a connection");
	(void)send(fd, piece.data, piece.size, MSG_NOSIGNAL);
	event_base_loop(base, EVLOOP_NONBLOCK);
	piece = slice_from_offset(octets, piece.size);
	(void)send(fd, piece.data, piece.size, MSG_NOSIGNAL);
	event_base_loop(base, EVLOOP_NONBLOCK);
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct endpoint endpoint;
	static int listening = -1;
	struct event_base *base = event_base_new();
	struct slice input = slice_of(data, size);
	struct play play = { 0 };
	struct exchange_settings settings = { .base = base,
		.server = &endpoint,
		.timeout = 10,
		.size_max = ANSWERS_MAX,
		.message = on_message,
		.done = on_done,
		.context = &play };
	struct exchange *exchange;

	if (listening < 0)
		listening = listen_there(&endpoint);
	play.wanted = size > 0 ? 1 + data[0] % 4U : 1;
	play.answers = slice_from_offset(input, 2);
	exchange = exchange_new(&settings, slice_from("question"));
	event_base_loop(base, EVLOOP_NONBLOCK);
	answer(base, accept4(listening, NULL, NULL, SOCK_CLOEXEC), play.answers,
	    size > 1 ? data[1] : 0);
	for (int i = 0; i < ROUNDS_MAX && play.done == 0; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	fuzz_require(play.done == 1, "it ends");
	exchange_free(&exchange);
	event_base_free(base);
	return 0;
}
