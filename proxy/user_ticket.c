#include "proxy/user_ticket.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include <event2/event.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "proxy/auth_fetch.h"

#define BUCKETS    1024
#define PROOF_SIZE 32 /* octets: SHA-256 */

struct user_ticket_waiter {
	TAILQ_ENTRY(user_ticket_waiter) link;
	struct user_ticket *ticket; /* borrowed */
	user_ticket_done *done;
	void *context;
};

struct user_ticket {
	LIST_ENTRY(user_ticket) link;  /* in its bucket */
	TAILQ_ENTRY(user_ticket) aged; /* in the order of their ends */
	struct user_tickets *tickets;  /* borrowed */
	/* Whose, for whom, and by what: a keyed digest. */
	unsigned char proof[PROOF_SIZE];
	uint64_t stamp;
	struct kerberos_question question; /* owned until it is answered */
	struct buf octets;                 /* owned, secret */
	time_t ends_at;                    /* monotonic; 0: not there yet */
	struct ticket_waiter *own;         /* owned: our TGT */
	const char *own_why; /* there is none: borrowed for a moment */
	struct fetch *fetch; /* owned */
	TAILQ_HEAD(, user_ticket_waiter) waiters;
};

LIST_HEAD(user_ticket_bucket, user_ticket);

struct user_tickets {
	struct fetches *fetches; /* borrowed */
	struct tickets *own;     /* borrowed */
	size_t count, count_max; /* of those that are there */
	long seconds;
	unsigned char key[PROOF_SIZE];
	struct user_ticket_bucket buckets[BUCKETS];
	TAILQ_HEAD(, user_ticket) aged; /* those that are there */
	struct event *timer;            /* owned: the first of them ends */
};

static time_t
now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* ---- one of them ---- */

/* Nobody waits for it. */
static void
ticket_free(struct user_ticket *ticket)
{
	if (ticket->ends_at != 0) {
		TAILQ_REMOVE(&ticket->tickets->aged, ticket, aged);
		ticket->tickets->count--;
	}
	ticket_cancel(&ticket->own);
	fetch_cancel(&ticket->fetch);
	LIST_REMOVE(ticket, link);
	kerberos_question_wipe(&ticket->question);
	buf_wipe(&ticket->octets);
	free(ticket);
}

static void
arm(struct user_tickets *tickets)
{
	const struct user_ticket *first = TAILQ_FIRST(&tickets->aged);
	struct timeval wait = { 0, 0 };

	if (!first)
		return;
	if (first->ends_at > now_s())
		wait.tv_sec = first->ends_at - now_s();
	evtimer_add(tickets->timer, &wait);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	struct user_tickets *tickets = context;
	struct user_ticket *first;

	(void)fd;
	(void)what;
	while (
	    (first = TAILQ_FIRST(&tickets->aged)) && first->ends_at <= now_s())
		ticket_free(first);
	arm(tickets);
}

/* The oldest one makes room. */
static void
keep(struct user_ticket *ticket, struct slice octets)
{
	struct user_tickets *tickets = ticket->tickets;

	if (buf_add_slice(&ticket->octets, octets) < 0)
		return;
	if (tickets->count >= tickets->count_max)
		ticket_free(TAILQ_FIRST(&tickets->aged));
	ticket->ends_at = now_s() + tickets->seconds;
	TAILQ_INSERT_TAIL(&tickets->aged, ticket, aged);
	if (tickets->count++ == 0)
		arm(tickets);
}

/* It is over with the question: all who wait hear of it, then it is kept or
 * gone. */
static void
finish(
    struct user_ticket *ticket, enum kerberos_result result, struct slice text)
{
	const struct user_tickets *tickets = ticket->tickets;
	struct user_ticket_waiter *waiter;

	kerberos_question_wipe(&ticket->question);
	while ((waiter = TAILQ_FIRST(&ticket->waiters))) {
		/* It was taken off the list before it was freed. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		user_ticket_done *done = waiter->done;
		void *context = waiter->context;

		TAILQ_REMOVE(&ticket->waiters, waiter, link);
		free(waiter);
		done(context, result, text);
	}
	if (result == KERBEROS_GOOD && tickets->seconds > 0 &&
	    tickets->count_max > 0)
		keep(ticket, text);
	if (ticket->ends_at == 0)
		ticket_free(ticket);
}

static void
on_fetched(void *context, enum kerberos_result result, struct slice text)
{
	struct user_ticket *ticket = context;

	ticket->fetch = NULL;
	finish(ticket, result, text);
}

static void
begin_fetch(struct user_ticket *ticket)
{
	ticket->fetch = fetch_begin(ticket->tickets->fetches, false,
	    &ticket->question, on_fetched, ticket);
}

static void
on_own(void *context, const struct ticket_held *held, const char *why)
{
	struct user_ticket *ticket = context;

	ticket->own = NULL;
	ticket->own_why = why;
	if (held && buf_add_slice(&ticket->question.tgt, held->octets) == 0)
		begin_fetch(ticket);
	else if (!TAILQ_EMPTY(&ticket->waiters))
		finish(ticket, KERBEROS_FAILED, slice_from(why));
}

/* The realm's own service, in the realm that knows this principal. */
static void
begin_own(struct user_ticket *ticket, const char *service)
{
	const char *at = strrchr(service, '@');
	const char *realm = at ? at + 1 : "";
	struct buf server = buf_bounded(KERBEROS_NAME_MAX);
	struct ticket_waiter *waiter;

	buf_printf(&server, "krbtgt/%s@%s", realm, realm);
	waiter = ticket_get(ticket->tickets->own,
	    buf_string(&ticket->question.keytab), service, buf_string(&server),
	    on_own, ticket);
	/* Without one the answer was there. */
	if (waiter)
		ticket->own = waiter;
	buf_free(&server);
}

/* ---- all of them ---- */

static void
add_part(struct buf *text, const struct buf *part)
{
	buf_add(text, &part->size, sizeof(part->size));
	buf_add_slice(text, buf_slice(part));
}

static void
make_proof(const struct user_tickets *tickets,
    const struct kerberos_question *question, unsigned char *proof)
{
	struct buf text = buf_bounded(KERBEROS_TICKET_MAX);
	unsigned size = PROOF_SIZE;

	buf_add_char(&text, (char)question->way);
	add_part(&text, &question->client);
	add_part(&text, &question->server);
	add_part(&text, &question->password);
	if (text.failed ||
	    !HMAC(EVP_sha256(), tickets->key, PROOF_SIZE,
		(const unsigned char *)text.data, text.size, proof, &size))
		abort();
	buf_wipe(&text);
}

static struct user_ticket_bucket *
bucket_of(struct user_tickets *tickets, const unsigned char *proof)
{
	return &tickets->buckets[(proof[0] << 8 | proof[1]) % BUCKETS];
}

static struct user_ticket *
find(struct user_tickets *tickets, const unsigned char *proof)
{
	struct user_ticket *ticket;

	LIST_FOREACH(ticket, bucket_of(tickets, proof), link)
	if (memcmp(ticket->proof, proof, PROOF_SIZE) == 0)
		return ticket;
	return NULL;
}

static void
copy_question(
    struct kerberos_question *copy, const struct kerberos_question *question)
{
	kerberos_question_init(copy);
	copy->way = question->way;
	buf_add_slice(&copy->client, buf_slice(&question->client));
	buf_add_slice(&copy->server, buf_slice(&question->server));
	buf_add_slice(&copy->keytab, buf_slice(&question->keytab));
	buf_add_slice(&copy->password, buf_slice(&question->password));
	buf_add_slice(&copy->tgt, buf_slice(&question->tgt));
	buf_add_slice(&copy->evidence, buf_slice(&question->evidence));
}

static struct user_ticket *
add(struct user_tickets *tickets, const struct kerberos_question *question,
    const unsigned char *proof, uint64_t stamp)
{
	struct user_ticket *ticket = calloc(1, sizeof(*ticket));

	if (!ticket)
		abort();
	ticket->tickets = tickets;
	memcpy(ticket->proof, proof, PROOF_SIZE);
	ticket->stamp = stamp;
	copy_question(&ticket->question, question);
	ticket->octets = buf_bounded(KERBEROS_TICKET_MAX);
	TAILQ_INIT(&ticket->waiters);
	LIST_INSERT_HEAD(bucket_of(tickets, proof), ticket, link);
	return ticket;
}

struct user_ticket_waiter *
user_ticket_get(struct user_tickets *tickets,
    const struct kerberos_question *question, const char *service,
    uint64_t stamp, user_ticket_done *done, void *context)
{
	unsigned char proof[PROOF_SIZE];
	struct user_ticket_waiter *waiter;
	struct user_ticket *ticket;

	make_proof(tickets, question, proof);
	ticket = find(tickets, proof);
	if (ticket && ticket->ends_at != 0 &&
	    (ticket->stamp != stamp || ticket->ends_at <= now_s())) {
		ticket_free(ticket);
		ticket = NULL;
	}
	if (ticket && ticket->ends_at != 0) {
		done(context, KERBEROS_GOOD, buf_slice(&ticket->octets));
		return NULL;
	}
	if (!ticket) {
		ticket = add(tickets, question, proof, stamp);
		if (question->way == KERBEROS_EVIDENCE)
			begin_own(ticket, service);
		else
			begin_fetch(ticket);
	}
	if (!ticket->own && !ticket->fetch) {
		done(context, KERBEROS_FAILED, slice_from(ticket->own_why));
		ticket_free(ticket);
		return NULL;
	}
	waiter = calloc(1, sizeof(*waiter));
	if (!waiter)
		abort();
	*waiter = (struct user_ticket_waiter){
		.ticket = ticket, .done = done, .context = context
	};
	TAILQ_INSERT_TAIL(&ticket->waiters, waiter, link);
	return waiter;
}

void
user_ticket_cancel(struct user_ticket_waiter **waiter)
{
	struct user_ticket_waiter *old = *waiter;
	struct user_ticket *ticket;

	*waiter = NULL;
	if (!old)
		return;
	ticket = old->ticket;
	TAILQ_REMOVE(&ticket->waiters, old, link);
	free(old);
	/* What nobody waits for any more is not asked either. */
	if (TAILQ_EMPTY(&ticket->waiters) && ticket->ends_at == 0)
		ticket_free(ticket);
}

/* ---- life ---- */

struct user_tickets *
user_tickets_new(struct event_base *base, struct fetches *fetches,
    struct tickets *own, long count, long seconds)
{
	struct user_tickets *tickets = calloc(1, sizeof(*tickets));

	if (!tickets)
		return NULL;
	tickets->fetches = fetches;
	tickets->own = own;
	tickets->count_max = (size_t)count;
	tickets->seconds = seconds;
	TAILQ_INIT(&tickets->aged);
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_INIT(&tickets->buckets[i]);
	tickets->timer = evtimer_new(base, on_timer, tickets);
	if (tickets->timer && RAND_bytes(tickets->key, PROOF_SIZE) == 1)
		return tickets;
	user_tickets_free(&tickets);
	return NULL;
}

void
user_tickets_free(struct user_tickets **tickets)
{
	struct user_tickets *old = *tickets;
	struct user_ticket *ticket;
	struct user_ticket_waiter *waiter;

	*tickets = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while ((ticket = LIST_FIRST(&old->buckets[i]))) {
			while ((waiter = TAILQ_FIRST(&ticket->waiters))) {
				TAILQ_REMOVE(&ticket->waiters, waiter, link);
				free(waiter);
			}
			ticket_free(ticket);
		}
	if (old->timer)
		event_free(old->timer);
	explicit_bzero(old->key, sizeof(old->key));
	free(old);
}
