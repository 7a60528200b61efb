#include "proxy/auth_ticket.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

#include <krb5.h>

#include "proxy/auth_fetch.h"
#include "proxy/credential.h"

#define TICKET_COUNT_MAX 4096
#define TICKET_SPARE     60 /* s before its end it is not used any more */
#define TICKET_RETRY     2  /* s after a failure */

struct ticket_waiter {
	TAILQ_ENTRY(ticket_waiter) link;
	struct ticket *ticket; /* borrowed */
	ticket_done *done;
	void *context;
};

struct ticket {
	LIST_ENTRY(ticket) link;
	struct tickets *tickets;           /* borrowed */
	struct kerberos_question question; /* owned */
	struct buf octets;                 /* owned, secret */
	struct credential credential;      /* owned */
	time_t renew_at, ends_at;          /* since 1970 */
	time_t failed_at;
	struct buf why; /* owned: of the last failure */
	TAILQ_HEAD(, ticket_waiter) waiters;
	struct fetch *fetch; /* owned; NULL: none is got */
};

struct tickets {
	struct fetches *fetches; /* borrowed */
	const struct log *log;
	krb5_context kerberos;
	LIST_HEAD(, ticket) list;
	size_t count;
};

/* ---- the ticket ---- */

static void
drop_ticket(struct ticket *ticket)
{
	credential_free(&ticket->credential, ticket->tickets->kerberos);
	buf_wipe(&ticket->octets);
	ticket->ends_at = 0;
}

/* Tells all who wait. */
static void
tell(struct ticket *ticket)
{
	struct ticket_waiter *waiter;
	struct ticket_held held = { ticket->credential.gss,
		buf_slice(&ticket->octets) };
	bool good = held.credential != GSS_C_NO_CREDENTIAL;

	while ((waiter = TAILQ_FIRST(&ticket->waiters))) {
		/* It was taken off the list before it was freed. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		ticket_done *done = waiter->done;
		void *context = waiter->context;

		TAILQ_REMOVE(&ticket->waiters, waiter, link);
		free(waiter);
		done(context, good ? &held : NULL,
		    good ? "" : buf_string(&ticket->why));
	}
}

static void
fail(struct ticket *ticket, struct slice why)
{
	struct log_line line = log_line(LOG_LEVEL_WARNING, "ticket_failed");

	ticket->failed_at = time(NULL);
	buf_clear(&ticket->why);
	buf_add_slice(&ticket->why, why);
	log_string(&line, "server", buf_string(&ticket->question.server));
	log_text(&line, "why", why);
	log_send(ticket->tickets->log, &line);
}

static void
take_ticket(struct ticket *ticket, struct slice octets)
{
	time_t now = time(NULL);

	drop_ticket(ticket);
	if (buf_add_slice(&ticket->octets, octets) < 0 ||
	    credential_read(
		&ticket->credential, ticket->tickets->kerberos, octets) != 0) {
		drop_ticket(ticket);
		fail(ticket, slice_from("the ticket cannot be used"));
		return;
	}
	ticket->ends_at = ticket->credential.ends_at - TICKET_SPARE;
	ticket->renew_at = now + (ticket->ends_at - now) / 2;
}

static void
on_fetched(void *context, enum kerberos_result result, struct slice text)
{
	struct ticket *ticket = context;

	ticket->fetch = NULL;
	if (result == KERBEROS_GOOD)
		take_ticket(ticket, text);
	else
		fail(ticket, text);
	tell(ticket);
}

/* Each login that needs it waits for it alone: it does not wait in line. */
static void
begin_fetch(struct ticket *ticket)
{
	if (!ticket->fetch)
		ticket->fetch = fetch_begin(ticket->tickets->fetches, true,
		    &ticket->question, on_fetched, ticket);
}

static void
ticket_free(struct ticket *ticket)
{
	struct ticket_waiter *waiter;

	fetch_cancel(&ticket->fetch);
	while ((waiter = TAILQ_FIRST(&ticket->waiters))) {
		TAILQ_REMOVE(&ticket->waiters, waiter, link);
		free(waiter);
	}
	drop_ticket(ticket);
	LIST_REMOVE(ticket, link);
	buf_free(&ticket->why);
	kerberos_question_wipe(&ticket->question);
	free(ticket);
}

static struct ticket *
find_ticket(struct tickets *tickets, const char *keytab, const char *client,
    const char *server)
{
	struct kerberos_question *question;
	struct ticket *ticket;

	LIST_FOREACH(ticket, &tickets->list, link)
	{
		question = &ticket->question;
		if (slice_is(buf_slice(&question->server), server) &&
		    slice_is(buf_slice(&question->client), client) &&
		    slice_is(buf_slice(&question->keytab), keytab))
			return ticket;
	}
	if (tickets->count >= TICKET_COUNT_MAX)
		return NULL;
	ticket = calloc(1, sizeof(*ticket));
	if (!ticket)
		abort();
	ticket->tickets = tickets;
	question = &ticket->question;
	kerberos_question_init(question);
	question->way = KERBEROS_KEYTAB;
	buf_add_string(&question->keytab, keytab);
	buf_add_string(&question->client, client);
	buf_add_string(&question->server, server);
	ticket->octets = buf_bounded(KERBEROS_TICKET_MAX);
	ticket->why = buf_bounded(KERBEROS_TICKET_MAX);
	TAILQ_INIT(&ticket->waiters);
	LIST_INSERT_HEAD(&tickets->list, ticket, link);
	tickets->count++;
	return ticket;
}

struct ticket_waiter *
ticket_get(struct tickets *tickets, const char *keytab, const char *client,
    const char *server, ticket_done *done, void *context)
{
	struct ticket *ticket = find_ticket(tickets, keytab, client, server);
	struct ticket_waiter *waiter;
	time_t now = time(NULL);

	if (!ticket) {
		done(context, NULL, "too many tickets");
		return NULL;
	}
	if (ticket->credential.gss && now < ticket->ends_at) {
		struct ticket_held held = { ticket->credential.gss,
			buf_slice(&ticket->octets) };

		if (now >= ticket->renew_at &&
		    now >= ticket->failed_at + TICKET_RETRY)
			begin_fetch(ticket);
		done(context, &held, "");
		return NULL;
	}
	drop_ticket(ticket);
	if (now < ticket->failed_at + TICKET_RETRY) {
		done(context, NULL, buf_string(&ticket->why));
		return NULL;
	}
	begin_fetch(ticket);
	waiter = calloc(1, sizeof(*waiter));
	if (!waiter)
		abort();
	*waiter = (struct ticket_waiter){
		.ticket = ticket, .done = done, .context = context
	};
	TAILQ_INSERT_TAIL(&ticket->waiters, waiter, link);
	return waiter;
}

void
ticket_cancel(struct ticket_waiter **waiter)
{
	if (*waiter)
		TAILQ_REMOVE(&(*waiter)->ticket->waiters, *waiter, link);
	free(*waiter);
	*waiter = NULL;
}

struct tickets *
tickets_new(struct fetches *fetches, const struct log *log)
{
	struct tickets *tickets = calloc(1, sizeof(*tickets));

	if (!tickets)
		return NULL;
	tickets->fetches = fetches;
	tickets->log = log;
	LIST_INIT(&tickets->list);
	if (krb5_init_context(&tickets->kerberos) == 0)
		return tickets;
	free(tickets);
	return NULL;
}

void
tickets_free(struct tickets **tickets)
{
	struct tickets *old = *tickets;

	*tickets = NULL;
	if (!old)
		return;
	while (!LIST_EMPTY(&old->list))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		ticket_free(LIST_FIRST(&old->list));
	krb5_free_context(old->kerberos);
	free(old);
}
