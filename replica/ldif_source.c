#include "replica/ldif_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "replica/clock.h"
#include "replica/ldif.h"

#define LDIF_SOURCE_SIZE_MAX ((size_t)1 << 30)
#define LDIF_SOURCE_POLL_S   1

struct ldif_source {
	const char *path;      /* borrowed */
	struct intake *intake; /* borrowed */
	struct status *status; /* borrowed */
	struct event *poll;    /* owned */
	bool trust;
	bool good;                /* the last reading succeeded */
	struct stat seen, loaded; /* at the last poll; when last read */
};

static bool
ldif_source_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void
ldif_source_why(
    const char *path, size_t line, const char *text, char *why, size_t size)
{
	if (line > 0)
		(void)snprintf(why, size, "%s:%zu: %s", path, line, text);
	else
		(void)snprintf(why, size, "%s: %s", path, text);
}

static int
ldif_source_read_all(int fd, struct buf *text)
{
	for (;;) {
		char *room = buf_reserve(text, 65536);
		ssize_t count;

		if (!room)
			return EFBIG;
		count = read(fd, room, 65536);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return errno;
		if (count == 0)
			return 0;
		buf_grow(text, (size_t)count);
	}
}

static int
ldif_source_read(const char *path, struct buf *text, struct stat *loaded,
    char *why, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int code = 0;

	if (fd < 0 || fstat(fd, loaded) != 0)
		code = errno;
	if (code == 0)
		code = ldif_source_read_all(fd, text);
	if (fd >= 0)
		(void)close(fd);
	if (code == 0)
		return 0;
	ldif_source_why(path, 0, strerror(code), why, size);
	return -1;
}

static int
ldif_source_compare(const void *a, const void *b)
{
	return memcmp(a, b, LAYOUT_ID_SIZE);
}

/* Two entries with one id would leave one of them, whichever came last. */
static bool
ldif_source_has_twins(struct buf *ids)
{
	size_t count = ids->size / LAYOUT_ID_SIZE;

	if (count > 1)
		qsort(ids->data, count, LAYOUT_ID_SIZE, ldif_source_compare);
	for (size_t i = 1; i < count; i++) {
		if (memcmp(ids->data + (i - 1) * LAYOUT_ID_SIZE,
			ids->data + i * LAYOUT_ID_SIZE, LAYOUT_ID_SIZE) == 0)
			return true;
	}
	return false;
}

/* Goes through the whole text once before any of it is taken. */
static int
ldif_source_verify(const char *path, struct slice text, char *why, size_t size)
{
	struct buf ids = buf_bounded(LDIF_SOURCE_SIZE_MAX);
	struct buf record = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];
	const char *reason = NULL;
	enum entry_kind kind;
	struct entry entry;
	struct ldif ldif;
	size_t line = 0;

	ldif_init(&ldif, text);
	while (ldif_next(&ldif, &entry, &reason) == LDIF_ENTRY) {
		buf_clear(&record);
		if (entry_make(&entry, &record, id, &kind, &reason) != 0)
			break;
		(void)buf_add(&ids, id, sizeof(id));
		reason = NULL;
	}
	line = ldif.line;
	if (!reason && ids.failed)
		reason = "too many entries";
	if (!reason && ldif_source_has_twins(&ids)) {
		reason = "two entries have the same DN or entryUUID";
		line = 0;
	}
	if (reason)
		ldif_source_why(path, line, reason, why, size);
	ldif_free(&ldif);
	buf_free(&ids);
	buf_free(&record);
	return reason ? -1 : 0;
}

static enum intake_outcome
ldif_source_apply(
    struct ldif_source *source, struct slice text, const char **why)
{
	static const struct csn_vector none;
	struct intake_refresh refresh = { .whole = true,
		.trust = source->trust };
	enum intake_outcome outcome = INTAKE_FAILED;
	struct entry entry;
	struct ldif ldif;
	int result = 0;

	intake_begin(source->intake, &refresh);
	ldif_init(&ldif, text);
	while (result == 0 && ldif_next(&ldif, &entry, why) == LDIF_ENTRY)
		result = intake_entry(source->intake, &entry, why);
	ldif_free(&ldif);
	if (result == 0)
		outcome = intake_end(source->intake, &none, true, why);
	if (outcome == INTAKE_FAILED)
		intake_abandon(source->intake);
	return outcome;
}

static void
ldif_source_load(struct ldif_source *source)
{
	struct buf text = buf_bounded(LDIF_SOURCE_SIZE_MAX);
	enum intake_outcome outcome = INTAKE_FAILED;
	char why[LDIF_SOURCE_WHY_SIZE];
	const char *reason = why;

	if (ldif_source_read(
		source->path, &text, &source->loaded, why, sizeof(why)) == 0 &&
	    ldif_source_verify(
		source->path, buf_slice(&text), why, sizeof(why)) == 0)
		outcome = ldif_source_apply(source, buf_slice(&text), &reason);
	buf_free(&text);
	source->good = outcome == INTAKE_IN_STEP;
	if (source->good) {
		source->trust = false;
		status_set_state(source->status, "connected", NULL);
		status_contact(source->status);
		return;
	}
	log_why(source->status->log, LOG_LEVEL_ERROR, "ldif_refused", reason);
	status_set_state(source->status, "stopped", reason);
}

static void
ldif_source_poll(evutil_socket_t fd, short what, void *context)
{
	struct ldif_source *source = context;
	struct stat now = { 0 };
	bool settled;

	(void)fd;
	(void)what;
	if (stat(source->path, &now) != 0)
		memset(&now, 0, sizeof(now));
	settled = ldif_source_same(&now, &source->seen);
	source->seen = now;
	if (settled && !ldif_source_same(&now, &source->loaded)) {
		ldif_source_load(source);
		/* What cannot be read is not read anew until it changes. */
		source->loaded = now;
	} else if (source->good) {
		status_contact(source->status);
	}
}

struct ldif_source *
ldif_source_new(struct event_base *base, const char *path, bool trust,
    struct intake *intake, struct status *status)
{
	struct timeval interval = { LDIF_SOURCE_POLL_S, 0 };
	struct ldif_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->path = path;
	source->trust = trust;
	source->intake = intake;
	source->status = status;
	source->poll =
	    event_new(base, -1, EV_PERSIST, ldif_source_poll, source);
	if (!source->poll || evtimer_add(source->poll, &interval) != 0) {
		ldif_source_free(&source);
		return NULL;
	}
	status_set_source(status, path);
	ldif_source_load(source);
	source->seen = source->loaded;
	return source;
}

void
ldif_source_free(struct ldif_source **source)
{
	struct ldif_source *old = *source;

	*source = NULL;
	if (!old)
		return;
	if (old->poll)
		event_free(old->poll);
	free(old);
}

void
ldif_source_reload(struct ldif_source *source)
{
	ldif_source_load(source);
}

int
ldif_source_check(const char *path, char *why, size_t size)
{
	struct buf text = buf_bounded(LDIF_SOURCE_SIZE_MAX);
	struct stat loaded;
	int result = ldif_source_read(path, &text, &loaded, why, size);

	if (result == 0)
		result = ldif_source_verify(path, buf_slice(&text), why, size);
	buf_free(&text);
	return result;
}
