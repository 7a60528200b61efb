#include "zones/zonefile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replica/clock.h"

#define ZONEFILE_HOOK_TIME 60 /* s that a hook may run */
#define ZONEFILE_TTL       3600
#define ZONEFILE_PATH_SIZE 4096
#define SOA_SERIAL         2 /* RDATA field */

struct zonefile {
	struct zonefile_settings settings;
	const struct plan *plan;         /* borrowed; NULL before the first */
	struct zonefile_content content; /* the file as it is */
	struct event *timer; /* looks again, or takes the next step */
	struct event *child; /* SIGCHLD */
	pid_t hook;          /* 0: none runs */
	bool hook_due;       /* the file is newer than the last run */
	bool looked;         /* the content is the file's */
	bool stepping;       /* the timer keeps the pace: of steps, or of
				tries after a failure */
	const char *fault;
	uint64_t updates, failures;
	int64_t updated_us;
};

bool
zonefile_serial_after(uint32_t a, uint32_t b)
{
	return a != b && a - b < UINT32_C(0x80000000);
}

uint32_t
zonefile_serial_next(uint32_t former, uint32_t base)
{
	if (zonefile_serial_after(base, former))
		return base;
	/* Some servers take 0 for none. */
	return former + 1 == 0 ? 1 : former + 1;
}

void
zonefile_content_free(struct zonefile_content *content)
{
	rrsets_free(&content->others);
	rrsets_free(&content->ours);
	*content = (struct zonefile_content){ 0 };
}

/* The SOA goes among the others with serial 0, so that contents compare. */
static int
take_soa(
    struct zonefile_content *content, const struct scope *scope, ldns_rr *soa)
{
	ldns_rdf *zero = ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, 0);

	if (!zero || content->there || ldns_rr_rd_count(soa) <= SOA_SERIAL ||
	    ldns_dname_compare(ldns_rr_owner(soa), scope->zone->apex) != 0) {
		ldns_rdf_deep_free(zero);
		ldns_rr_free(soa);
		return -1;
	}
	content->there = true;
	content->serial = ldns_rdf2native_int32(ldns_rr_rdf(soa, SOA_SERIAL));
	ldns_rdf_deep_free(ldns_rr_set_rdf(soa, zero, SOA_SERIAL));
	return rrsets_add(&content->others, soa);
}

/* Takes the record over. 0, or -1 with *why. */
static int
take_record(struct zonefile_content *content, const struct scope *scope,
    ldns_rr *rr, const char **why)
{
	bool ours = scope_owns(scope, ldns_rr_owner(rr), ldns_rr_get_type(rr));

	*why = "the zone file has an SOA that is not its own";
	if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA)
		return take_soa(content, scope, rr);
	*why = "the zone file has too many records";
	return rrsets_add(ours ? &content->ours : &content->others, rr);
}

/* What $ORIGIN and $TTL say, and the owner before, while a file is read. */
struct reading {
	ldns_rdf *origin, *owner; /* owned */
	uint32_t ttl;
	int line;
};

static int
read_records(struct zonefile_content *content, FILE *file,
    struct reading *reading, const struct scope *scope, const char **why)
{
	while (!feof(file)) {
		ldns_rr *rr = NULL;

		switch ((int)ldns_rr_new_frm_fp_l(&rr, file, &reading->ttl,
		    &reading->origin, &reading->owner, &reading->line)) {
		case LDNS_STATUS_OK:
			if (take_record(content, scope, rr, why) < 0)
				return -1;
			break;
		case LDNS_STATUS_SYNTAX_EMPTY:
		case LDNS_STATUS_SYNTAX_TTL:
		case LDNS_STATUS_SYNTAX_ORIGIN:
			break;
		case LDNS_STATUS_SYNTAX_INCLUDE:
			*why = "the zone file has $INCLUDE";
			return -1;
		default:
			*why = "the zone file has a line that is no record";
			return -1;
		}
	}
	*why = "the zone file has no SOA";
	return content->there ? 0 : -1;
}

int
zonefile_read(struct zonefile_content *content, const char *path,
    const struct scope *scope, const char **why)
{
	FILE *file = fopen(path, "re");
	struct reading reading = { .ttl = ZONEFILE_TTL };
	int result = -1;

	*content = (struct zonefile_content){ 0 };
	if (!file) {
		*why = "the zone file cannot be opened";
		return errno == ENOENT ? 0 : -1;
	}
	*why = "out of memory";
	reading.origin = ldns_rdf_clone(scope->zone->apex);
	if (reading.origin)
		result = read_records(content, file, &reading, scope, why);
	(void)fclose(file);
	ldns_rdf_deep_free(reading.origin);
	ldns_rdf_deep_free(reading.owner);
	if (result < 0)
		zonefile_content_free(content);
	return result;
}

/* The SOA with its serial, first: some servers insist. */
static int
print_soa(FILE *file, const struct zonefile_content *content)
{
	for (size_t i = 0; i < content->others.count; i++) {
		ldns_rr *soa = content->others.rrs[i];
		ldns_rdf *serial;
		int result;

		if (ldns_rr_get_type(soa) != LDNS_RR_TYPE_SOA)
			continue;
		soa = ldns_rr_clone(soa);
		serial =
		    ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, content->serial);
		if (!soa || !serial)
			abort();
		ldns_rdf_deep_free(ldns_rr_set_rdf(soa, serial, SOA_SERIAL));
		ldns_rr_print(file, soa);
		result = ferror(file) ? -1 : 0;
		ldns_rr_free(soa);
		return result;
	}
	return -1;
}

static int
print_content(FILE *file, const struct zonefile_content *content)
{
	const struct rrsets *sets[] = { &content->others, &content->ours };

	if (fputs("; Written by postcell-zoned; changes here are lost.\n",
		file) < 0 ||
	    print_soa(file, content) < 0)
		return -1;
	for (size_t k = 0; k < ARRAY_SIZE(sets); k++)
		for (size_t i = 0; i < sets[k]->count; i++)
			if (ldns_rr_get_type(sets[k]->rrs[i]) !=
			    LDNS_RR_TYPE_SOA)
				ldns_rr_print(file, sets[k]->rrs[i]);
	return ferror(file) || fflush(file) != 0 || fsync(fileno(file)) < 0 ? -1
									    : 0;
}

/* What the rename did must outlive a crash, too. */
static void
sync_folder(const char *path)
{
	char folder[ZONEFILE_PATH_SIZE];
	char *slash;
	int fd;

	(void)snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash)
		slash[1] = '\0';
	fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	(void)close(fd);
}

int
zonefile_write(
    const struct zonefile_content *content, const char *path, const char **why)
{
	char neighbour[ZONEFILE_PATH_SIZE];
	FILE *file;
	int result;

	if (snprintf(neighbour, sizeof(neighbour), "%s.new", path) >=
	    (int)sizeof(neighbour)) {
		*why = "the path of the zone file is too long";
		return -1;
	}
	file = fopen(neighbour, "we");
	*why = "the zone file cannot be written";
	if (!file)
		return -1;
	result = print_content(file, content);
	if (fclose(file) != 0)
		result = -1;
	if (result == 0 && rename(neighbour, path) < 0)
		result = -1;
	if (result == 0)
		sync_folder(path);
	else
		(void)unlink(neighbour);
	return result;
}

/* ---- the driver ---- */

static struct log_line
begin_line(
    const struct zonefile *zonefile, enum log_level level, const char *event)
{
	struct log_line line = log_line(level, event);

	log_string(&line, "zone", zonefile->settings.zone->title);
	log_string(&line, "file", zonefile->settings.zone->file);
	return line;
}

static void
arm(struct zonefile *zonefile, long ms)
{
	struct timeval after = { ms / 1000, ms % 1000 * 1000 };

	if (event_add(zonefile->timer, &after) < 0)
		abort();
}

static void
fail(struct zonefile *zonefile, const char *why)
{
	struct log_line line =
	    begin_line(zonefile, LOG_LEVEL_ERROR, "zone_failed");

	zonefile->fault = why;
	zonefile->failures++;
	zonefile->stepping = true;
	log_string(&line, "why", why);
	log_send(zonefile->settings.log, &line);
	arm(zonefile, zonefile->settings.config->retry_max * 1000);
}

_Noreturn static void
become_hook(const char *command)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)alarm(ZONEFILE_HOOK_TIME);
	(void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void
run_hook(struct zonefile *zonefile)
{
	const char *command = zonefile->settings.zone->hook;

	if (!command || !zonefile->hook_due || zonefile->hook > 0)
		return;
	zonefile->hook_due = false;
	zonefile->hook = fork();
	if (zonefile->hook == 0)
		become_hook(command);
	if (zonefile->hook > 0)
		return;
	zonefile->hook = 0;
	zonefile->hook_due = true;
	fail(zonefile, "the hook cannot be started");
}

static void
on_child(evutil_socket_t fd, short what, void *context)
{
	struct zonefile *zonefile = context;
	int status;

	(void)fd;
	(void)what;
	if (zonefile->hook == 0 ||
	    waitpid(zonefile->hook, &status, WNOHANG) != zonefile->hook)
		return;
	zonefile->hook = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		run_hook(zonefile);
	} else {
		zonefile->hook_due = true;
		fail(zonefile, "the hook has failed");
	}
	if (zonefile->settings.changed)
		zonefile->settings.changed(zonefile->settings.context);
}

/* Makes *next of base, file and plan; the step towards it that is allowed. */
static int
make_next(struct zonefile *zonefile, struct zonefile_content *next,
    bool *partial, const char **why)
{
	const struct config *config = zonefile->settings.config;
	const struct config_zone *zone = zonefile->settings.zone;
	const struct scope *scope = zonefile->settings.scope;
	struct zonefile_content *now = &zonefile->content;
	struct rrsets desired = { 0 };

	zonefile_content_free(now);
	*next = (struct zonefile_content){ 0 };
	*why = "the zone file cannot be read";
	if (zonefile_read(now, zone->file, scope, why) < 0 ||
	    zonefile_read(next, zone->base, scope, why) < 0)
		return -1;
	if (!next->there) {
		*why = "the base of the zone file is not there";
		return -1;
	}
	if (!now->there) {
		now->ours = next->ours;
		next->ours = (struct rrsets){ 0 };
	}
	next->serial = now->there
			   ? zonefile_serial_next(now->serial, next->serial)
			   : next->serial;
	if (zonefile_desired(zonefile, &desired) < 0 ||
	    rrsets_step(&next->ours, &now->ours, &desired,
		(size_t)config->change_max) < 0)
		abort();
	*partial = !rrsets_equal(&next->ours, &desired);
	rrsets_free(&desired);
	return 0;
}

static void
written(struct zonefile *zonefile, struct zonefile_content *next)
{
	struct log_line line =
	    begin_line(zonefile, LOG_LEVEL_INFO, "zone_written");

	log_number(&line, "records",
	    (int64_t)rrsets_changes(&zonefile->content.ours, &next->ours));
	log_number(&line, "serial", next->serial);
	log_send(zonefile->settings.log, &line);
	zonefile_content_free(&zonefile->content);
	zonefile->content = *next;
	*next = (struct zonefile_content){ 0 };
	zonefile->updates++;
	zonefile->updated_us = clock_realtime_us();
	zonefile->hook_due = true;
}

static bool
is_same(const struct zonefile_content *a, const struct zonefile_content *b)
{
	return a->there && rrsets_equal(&a->others, &b->others) &&
	       rrsets_equal(&a->ours, &b->ours);
}

static void
advance(struct zonefile *zonefile)
{
	const struct config *config = zonefile->settings.config;
	struct zonefile_content next;
	bool partial = false;
	const char *why;

	if (!zonefile->plan)
		return;
	if (make_next(zonefile, &next, &partial, &why) < 0) {
		zonefile_content_free(&next);
		fail(zonefile, why);
		return;
	}
	next.there = true;
	if (!zonefile->settings.read_only &&
	    !is_same(&zonefile->content, &next)) {
		if (zonefile_write(&next, zonefile->settings.zone->file, &why) <
		    0) {
			zonefile_content_free(&next);
			fail(zonefile, why);
			return;
		}
		written(zonefile, &next);
	}
	zonefile_content_free(&next);
	zonefile->fault = NULL;
	zonefile->looked = true;
	zonefile->stepping = partial;
	arm(zonefile,
	    partial ? config->change_interval : config->check_interval * 1000);
	run_hook(zonefile);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	struct zonefile *zonefile = context;

	(void)fd;
	(void)what;
	advance(zonefile);
	if (zonefile->settings.changed)
		zonefile->settings.changed(zonefile->settings.context);
}

struct zonefile *
zonefile_new(const struct zonefile_settings *settings)
{
	struct zonefile *zonefile = calloc(1, sizeof(*zonefile));

	if (!zonefile)
		abort();
	zonefile->settings = *settings;
	zonefile->timer = evtimer_new(settings->base, on_timer, zonefile);
	zonefile->child =
	    evsignal_new(settings->base, SIGCHLD, on_child, zonefile);
	if (!zonefile->timer || !zonefile->child ||
	    event_add(zonefile->child, NULL) < 0)
		abort();
	return zonefile;
}

void
zonefile_free(struct zonefile **zonefile)
{
	struct zonefile *old = *zonefile;

	*zonefile = NULL;
	if (!old)
		return;
	zonefile_content_free(&old->content);
	event_free(old->timer);
	event_free(old->child);
	free(old);
}

void
zonefile_publish(
    struct zonefile *zonefile, const struct plan *plan, bool changed)
{
	changed = changed || !zonefile->plan;
	zonefile->plan = plan;
	if (changed && !zonefile->stepping)
		arm(zonefile, 0);
}

struct target_status
zonefile_status(const struct zonefile *zonefile)
{
	struct target_status status = {
		.server = zonefile->settings.zone->file,
		.zone = zonefile->settings.zone->title,
		.why = zonefile->fault ? zonefile->fault : "",
		.known = zonefile->looked,
		.serial = zonefile->content.serial,
		.records = zonefile->content.ours.count,
		.updates = zonefile->updates,
		.failures = zonefile->failures,
		.updated_us = zonefile->updated_us,
	};
	struct rrsets desired = { 0 };

	if (zonefile_desired(zonefile, &desired) == 0)
		status.missing =
		    rrsets_changes(&zonefile->content.ours, &desired);
	rrsets_free(&desired);
	if (zonefile->fault)
		status.state = TARGET_FAILING;
	else if (status.known && zonefile->plan && status.missing == 0 &&
		 zonefile->hook == 0 &&
		 !(zonefile->hook_due && zonefile->settings.zone->hook))
		status.state = TARGET_SETTLED;
	else
		status.state = TARGET_BUSY;
	return status;
}

const struct rrsets *
zonefile_current(const struct zonefile *zonefile)
{
	return &zonefile->content.ours;
}

int
zonefile_desired(const struct zonefile *zonefile, struct rrsets *desired)
{
	return zonefile->plan ? plan_merge(desired, zonefile->plan,
				    &zonefile->content.ours)
			      : -1;
}
