#include "replica/locator.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "daemon/lookup.h"
#include "replica/clock.h"
#include "replica/map.h"
#include "replica/realm.h"

#define LOCATOR_TICK_US  200000
#define LOCATOR_INTERVAL 60 /* s, for addresses of names */
#define LOCATOR_HEAD     "# written by postcell-replicad\n"

struct locator {
	struct locator_options options;
	struct store *store;         /* borrowed */
	const struct status *status; /* borrowed */
	struct event *tick;          /* owned */
	struct lookup *lookup;       /* owned */
	struct addresses addresses;
	struct cell *cell;  /* owned; NULL until the first look */
	struct buf written; /* what the file holds */
	char *draft;        /* owned: the file beside it that becomes it */
	int64_t next_us;    /* when a transition comes to pass */
	bool map_stale;     /* the map has changed */
	bool text_stale;    /* it or addresses have */
	bool waiting;       /* for the first answer about a name */
	int failure;        /* errno that was told of last */
};

static int
locator_write_draft(const struct locator *locator, struct slice text)
{
	int fd = open(locator->draft,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int failure = fd < 0 ? errno : 0;
	ssize_t size;

	if (failure == 0 && fchmod(fd, 0644) != 0)
		failure = errno;
	if (failure == 0) {
		size = write(fd, text.data, text.size);
		if (size < 0)
			failure = errno;
		else if ((size_t)size != text.size)
			failure = ENOSPC;
	}
	if (fd >= 0 && close(fd) != 0 && failure == 0)
		failure = errno;
	return failure;
}

/* Told of once, until another thing goes wrong or all is well again. */
static void
locator_report(struct locator *locator, int failure)
{
	struct log_line line = log_line(
	    failure ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "realm_written");

	if (failure != 0 && failure == locator->failure)
		return;
	locator->failure = failure;
	log_string(&line, "file", locator->options.file);
	if (failure != 0)
		log_string(&line, "why", strerror(failure));
	log_send(locator->status->log, &line);
}

static void
locator_write(struct locator *locator, struct slice text)
{
	int failure = locator_write_draft(locator, text);

	if (failure == 0 && rename(locator->draft, locator->options.file) != 0)
		failure = errno;
	locator_report(locator, failure);
	if (failure != 0)
		return;
	locator->text_stale = false;
	buf_clear(&locator->written);
	(void)buf_add_slice(&locator->written, text);
}

static void
locator_is_tried(void *context, const char *name)
{
	struct locator *locator = context;
	const struct addresses_name *known =
	    addresses_find(&locator->addresses, slice_from(name));

	/* Without room for a further name it is left out. */
	if (known && !known->tried)
		locator->waiting = true;
}

/*
 * With name servers that are silent after a boot, what was known before it is
 * better than nothing.
 */
static bool
locator_has_addresses(struct locator *locator, struct slice text)
{
	locator->waiting = false;
	realm_names(locator->cell, locator_is_tried, locator);
	return !locator->waiting && (text.size > sizeof(LOCATOR_HEAD) - 1 ||
					locator->addresses.count == 0);
}

static void
locator_format(struct locator *locator, int64_t now_us)
{
	struct buf text = buf_bounded(REALM_FILE_MAX);

	(void)buf_add_string(&text, LOCATOR_HEAD);
	if (realm_format(&text, slice_from(locator->options.realm),
		locator->cell, &locator->addresses, now_us,
		&locator->next_us) != 0)
		locator_report(locator, EFBIG);
	else if (!locator_has_addresses(locator, buf_slice(&text)) ||
		 slice_equal(buf_slice(&text), buf_slice(&locator->written)))
		locator->text_stale = false;
	else
		locator_write(locator, buf_slice(&text));
	buf_free(&text);
}

static void
locator_want(void *context, const char *name)
{
	struct locator *locator = context;

	lookup_want(locator->lookup, name);
}

static void
locator_look(evutil_socket_t fd, short what, void *context)
{
	struct locator *locator = context;
	int64_t now_us = clock_realtime_us();
	struct cell *cell;
	const char *why;

	(void)fd;
	(void)what;
	/* In the midst of a batch the map is half of one and half of another.
	 */
	if (!locator->status->complete || store_is_open(locator->store))
		return;
	if (locator->map_stale) {
		cell = map_read(locator->store, &why);
		if (!cell)
			return;
		cell_free(&locator->cell);
		locator->cell = cell;
		locator->map_stale = false;
		locator->text_stale = true;
		realm_names(cell, locator_want, locator);
	}
	if (locator->text_stale || now_us >= locator->next_us)
		locator_format(locator, now_us);
}

static void
locator_map_changed(void *context)
{
	((struct locator *)context)->map_stale = true;
}

static void
locator_addresses_changed(void *context)
{
	((struct locator *)context)->text_stale = true;
}

struct locator *
locator_new(struct event_base *base, const struct locator_options *options,
    struct store *store, const struct status *status, const char **why)
{
	struct locator *locator = calloc(1, sizeof(*locator));
	struct timeval tick = { 0, LOCATOR_TICK_US };

	*why = "out of memory";
	if (!locator)
		return NULL;
	*locator = (struct locator){ .options = *options,
		.store = store,
		.status = status,
		.written = buf_bounded(REALM_FILE_MAX),
		.next_us = INT64_MAX,
		.map_stale = true };
	store_on_cell(store, locator_map_changed, locator);
	locator->lookup =
	    lookup_new(base, options->dns_servers, LOCATOR_INTERVAL,
		&locator->addresses, locator_addresses_changed, locator, why);
	locator->tick = event_new(base, -1, EV_PERSIST, locator_look, locator);
	if (asprintf(&locator->draft, "%s.new", options->file) < 0)
		locator->draft = NULL;
	if (!locator->lookup || !locator->tick || !locator->draft ||
	    event_add(locator->tick, &tick) != 0)
		locator_free(&locator);
	return locator;
}

void
locator_free(struct locator **locator)
{
	struct locator *old = *locator;

	*locator = NULL;
	if (!old)
		return;
	store_off_cell(old->store, old);
	if (old->tick)
		event_free(old->tick);
	lookup_free(&old->lookup);
	addresses_free(&old->addresses);
	cell_free(&old->cell);
	buf_free(&old->written);
	free(old->draft);
	free(old);
}
