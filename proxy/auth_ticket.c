#include "proxy/auth_ticket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

#include "lib/buf.h"

#define TICKET_COUNT_MAX 4096
#define TICKET_SIZE_MAX                                                        \
	65536             /* octets of one, from the process that got it       \
			   */
#define TICKET_LIFE  3600 /* s that are asked for */
#define TICKET_SPARE 60   /* s before its end it is not used any more */
#define TICKET_RETRY 2    /* s after a failure */

/* What the forked process says first. */
#define TICKET_GOOD 'T'
#define TICKET_BAD  'E' /* text follows */

struct ticket_waiter {
	TAILQ_ENTRY(ticket_waiter) link;
	struct ticket *ticket; /* borrowed */
	ticket_done *done;
	void *context;
};

struct ticket {
	LIST_ENTRY(ticket) link;
	struct tickets *tickets;        /* borrowed */
	char *keytab, *client, *server; /* owned */
	krb5_ccache cache;              /* owned; NULL: none */
	gss_cred_id_t credential;       /* owned, with the cache */
	time_t renew_at, ends_at;       /* since 1970 */
	time_t failed_at;
	struct buf why; /* owned: of the last failure */
	TAILQ_HEAD(, ticket_waiter) waiters;
	pid_t pid; /* of the process that gets it; 0: none */
	struct buf input;
	int fd;
	struct event *event;
};

struct tickets {
	struct event_base *base; /* borrowed */
	const struct log *log;
	krb5_context kerberos;
	unsigned seconds;
	LIST_HEAD(, ticket) list;
	size_t count;
};

/* ---- in the forked process ---- */

static void
say(int fd, char kind, const void *data, size_t size)
{
	struct buf out = buf_bounded(TICKET_SIZE_MAX);
	const char *next;
	size_t left;

	buf_add_char(&out, kind);
	buf_add(&out, data, size);
	next = out.data;
	left = out.failed ? 0 : out.size;
	while (left > 0) {
		ssize_t moved = write(fd, next, left);

		if (moved <= 0)
			break;
		next += moved;
		left -= (size_t)moved;
	}
	buf_wipe(&out);
}

static krb5_error_code
get_ticket(
    krb5_context kerberos, const struct ticket *ticket, krb5_creds *credentials)
{
	krb5_get_init_creds_opt *options = NULL;
	krb5_principal client = NULL;
	krb5_keytab keytab = NULL;
	krb5_error_code code;

	code = krb5_parse_name(kerberos, ticket->client, &client);
	if (code == 0)
		code = krb5_kt_resolve(kerberos, ticket->keytab, &keytab);
	if (code == 0)
		code = krb5_get_init_creds_opt_alloc(kerberos, &options);
	if (code == 0) {
		krb5_get_init_creds_opt_set_tkt_life(options, TICKET_LIFE);
		krb5_get_init_creds_opt_set_forwardable(options, 0);
		code = krb5_get_init_creds_keytab(kerberos, credentials, client,
		    keytab, 0, ticket->server, options);
	}
	if (options)
		krb5_get_init_creds_opt_free(kerberos, options);
	if (keytab)
		krb5_kt_close(kerberos, keytab);
	if (client)
		krb5_free_principal(kerberos, client);
	return code;
}

static void
fetch(const struct ticket *ticket, int fd)
{
	krb5_context kerberos = NULL;
	krb5_creds credentials = { 0 };
	krb5_storage *storage = krb5_storage_emem();
	krb5_data octets = { 0 };
	krb5_error_code code = krb5_init_context(&kerberos);

	if (code == 0)
		code = get_ticket(kerberos, ticket, &credentials);
	if (code == 0)
		code = krb5_store_creds(storage, &credentials);
	if (code == 0)
		code = krb5_storage_to_data(storage, &octets);
	if (code == 0) {
		say(fd, TICKET_GOOD, octets.data, octets.length);
	} else {
		const char *text = krb5_get_error_message(kerberos, code);

		say(fd, TICKET_BAD, text, strlen(text));
	}
}

/* ---- the ticket ---- */

static void
drop_ticket(struct ticket *ticket)
{
	OM_uint32 minor;

	if (ticket->credential)
		(void)gss_release_cred(&minor, &ticket->credential);
	if (ticket->cache)
		(void)krb5_cc_destroy(ticket->tickets->kerberos, ticket->cache);
	ticket->credential = GSS_C_NO_CREDENTIAL;
	ticket->cache = NULL;
	ticket->ends_at = 0;
}

static krb5_error_code
read_ticket(struct ticket *ticket, struct slice octets)
{
	krb5_context kerberos = ticket->tickets->kerberos;
	struct buf copy = buf_bounded(TICKET_SIZE_MAX);
	krb5_creds credentials = { 0 };
	krb5_storage *storage = NULL;
	krb5_error_code code = ENOMEM;
	OM_uint32 minor;

	buf_add_slice(&copy, octets);
	if (copy.data)
		storage = krb5_storage_from_mem(copy.data, copy.size);
	if (storage)
		code = krb5_ret_creds(storage, &credentials);
	if (code == 0)
		code = krb5_cc_new_unique(
		    kerberos, "MEMORY", NULL, &ticket->cache);
	if (code == 0)
		code = krb5_cc_initialize(
		    kerberos, ticket->cache, credentials.client);
	if (code == 0)
		code =
		    krb5_cc_store_cred(kerberos, ticket->cache, &credentials);
	if (code == 0 && gss_krb5_import_cred(&minor, ticket->cache, NULL, NULL,
			     &ticket->credential) != GSS_S_COMPLETE)
		code = KRB5_CC_NOTFOUND;
	if (code == 0) {
		time_t now = time(NULL);

		ticket->ends_at = credentials.times.endtime - TICKET_SPARE;
		ticket->renew_at = now + (ticket->ends_at - now) / 2;
	}
	krb5_free_cred_contents(kerberos, &credentials);
	if (storage)
		krb5_storage_free(storage);
	buf_wipe(&copy);
	return code;
}

/* Tells all who wait. */
static void
tell(struct ticket *ticket)
{
	struct ticket_waiter *waiter;
	bool good = ticket->credential != GSS_C_NO_CREDENTIAL;

	while ((waiter = TAILQ_FIRST(&ticket->waiters))) {
		/* It was taken off the list before it was freed. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		ticket_done *done = waiter->done;
		void *context = waiter->context;

		TAILQ_REMOVE(&ticket->waiters, waiter, link);
		free(waiter);
		done(context, ticket->credential,
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
	log_string(&line, "server", ticket->server);
	log_text(&line, "why", why);
	log_send(ticket->tickets->log, &line);
}

static void
take_ticket(struct ticket *ticket)
{
	struct slice input = buf_slice(&ticket->input);

	if (input.size > 0 && input.data[0] == TICKET_BAD) {
		fail(ticket, slice_from_offset(input, 1));
		return;
	}
	if (input.size == 0 || input.data[0] != TICKET_GOOD) {
		fail(ticket, slice_from("the KDC did not answer in time"));
		return;
	}
	drop_ticket(ticket);
	if (read_ticket(ticket, slice_from_offset(input, 1)) == 0)
		return;
	drop_ticket(ticket);
	fail(ticket, slice_from("the ticket cannot be used"));
}

static void
on_ticket(evutil_socket_t fd, short what, void *context)
{
	struct ticket *ticket = context;
	char *room = buf_reserve(&ticket->input, TICKET_SIZE_MAX / 4);
	ssize_t size = room ? read(fd, room, TICKET_SIZE_MAX / 4) : 0;

	(void)what;
	if (size > 0) {
		buf_grow(&ticket->input, (size_t)size);
		return;
	}
	/* It has closed its end with its last breath. */
	event_free(ticket->event);
	ticket->event = NULL;
	(void)close(fd);
	(void)waitpid(ticket->pid, NULL, 0);
	ticket->pid = 0;
	take_ticket(ticket);
	buf_wipe(&ticket->input);
	tell(ticket);
}

/* Has the ticket got. Without a process there will be another attempt. */
static void
begin_fetch(struct ticket *ticket)
{
	int ends[2];

	if (ticket->pid != 0 || pipe2(ends, O_CLOEXEC) < 0)
		return;
	ticket->pid = fork();
	if (ticket->pid == 0) {
		/* No end of anybody's channel outlives its owner in here. */
		if (dup2(ends[1], STDERR_FILENO + 1) < 0)
			_exit(EXIT_FAILURE);
		(void)close_range(STDERR_FILENO + 2, ~0U, 0);
		(void)alarm(ticket->tickets->seconds);
		fetch(ticket, STDERR_FILENO + 1);
		_exit(EXIT_SUCCESS);
	}
	(void)close(ends[1]);
	if (ticket->pid < 0) {
		ticket->pid = 0;
		(void)close(ends[0]);
		return;
	}
	ticket->event = event_new(ticket->tickets->base, ends[0],
	    EV_READ | EV_PERSIST, on_ticket, ticket);
	if (!ticket->event || event_add(ticket->event, NULL) < 0)
		abort();
}

static void
ticket_free(struct ticket *ticket)
{
	struct ticket_waiter *waiter;

	if (ticket->event) {
		(void)close(event_get_fd(ticket->event));
		event_free(ticket->event);
	}
	while ((waiter = TAILQ_FIRST(&ticket->waiters))) {
		TAILQ_REMOVE(&ticket->waiters, waiter, link);
		free(waiter);
	}
	drop_ticket(ticket);
	LIST_REMOVE(ticket, link);
	buf_free(&ticket->why);
	buf_wipe(&ticket->input);
	free(ticket->keytab);
	free(ticket->client);
	free(ticket->server);
	free(ticket);
}

static struct ticket *
find_ticket(struct tickets *tickets, const char *keytab, const char *client,
    const char *server)
{
	struct ticket *ticket;

	LIST_FOREACH(ticket, &tickets->list, link)
	if (strcmp(ticket->server, server) == 0 &&
	    strcmp(ticket->client, client) == 0 &&
	    strcmp(ticket->keytab, keytab) == 0)
		return ticket;
	if (tickets->count >= TICKET_COUNT_MAX)
		return NULL;
	ticket = calloc(1, sizeof(*ticket));
	if (!ticket)
		abort();
	ticket->tickets = tickets;
	ticket->keytab = strdup(keytab);
	ticket->client = strdup(client);
	ticket->server = strdup(server);
	if (!ticket->keytab || !ticket->client || !ticket->server)
		abort();
	ticket->why = buf_bounded(TICKET_SIZE_MAX);
	ticket->input = buf_bounded(TICKET_SIZE_MAX);
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
		done(context, GSS_C_NO_CREDENTIAL, "too many tickets");
		return NULL;
	}
	if (ticket->credential && now < ticket->ends_at) {
		if (now >= ticket->renew_at &&
		    now >= ticket->failed_at + TICKET_RETRY)
			begin_fetch(ticket);
		done(context, ticket->credential, "");
		return NULL;
	}
	drop_ticket(ticket);
	if (now < ticket->failed_at + TICKET_RETRY) {
		done(context, GSS_C_NO_CREDENTIAL, buf_string(&ticket->why));
		return NULL;
	}
	begin_fetch(ticket);
	if (ticket->pid == 0) {
		done(context, GSS_C_NO_CREDENTIAL, strerrordesc_np(errno));
		return NULL;
	}
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
tickets_new(struct event_base *base, long seconds, const struct log *log)
{
	struct tickets *tickets = calloc(1, sizeof(*tickets));

	if (!tickets)
		return NULL;
	tickets->base = base;
	tickets->log = log;
	tickets->seconds = (unsigned)seconds;
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
