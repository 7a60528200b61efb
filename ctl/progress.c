#include "ctl/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "ctl/plan.h"
#include "ctl/view.h"
#include "lib/placement.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define LAG_MAX  (10 * TIMESTAMP_SECOND) /* for the replica to have it */
#define INTERVAL 100                     /* ms */

struct progress {
	const char *name;
	struct view view;
	const struct transition *value;
	int64_t end_us;
	int64_t *moments; /* owned, sorted: when each user moves */
	size_t count, capacity;
};

static void
pause_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	(void)nanosleep(&time, NULL);
}

enum standing {
	STANDING_UNSEEN, /* the replica does not have the value yet */
	STANDING_NEWEST,
	STANDING_CUT /* a newer value came */
};

static enum standing
find_standing(const struct progress *progress, enum host_kind kind)
{
	const struct host *host =
	    cell_host(progress->view.cell, kind, slice_from(progress->name));
	size_t last = host ? host->transition_count : 0;
	int64_t time_us = progress->value->time_us;

	for (size_t i = 0; i < last; i++)
		if (host->transitions[i].time_us == time_us)
			return i + 1 == last ? STANDING_NEWEST : STANDING_CUT;
	return last > 0 && host->transitions[last - 1].time_us > time_us
		   ? STANDING_CUT
		   : STANDING_UNSEEN;
}

/* As in lib/placement.h: TIME + phase x RAMP. */
static int64_t
moment_of(const struct progress *progress, const struct account *account)
{
	struct buf store = buf_bounded(NAME_SIZE_MAX);
	uint64_t phase = placement_phase(account_key(account, &store));
	uint64_t ramp_us =
	    (uint64_t)progress->value->ramp * (uint64_t)TIMESTAMP_SECOND;

	buf_free(&store);
	return progress->value->time_us +
	       (int64_t)((double)phase / 0x1p64 * (double)ramp_us);
}

static void
add_account(void *context, const struct account *account)
{
	struct progress *progress = context;
	const struct cell *cell = progress->view.cell;

	if (plan_place(cell, account, progress->value->time_us - 1) ==
	    plan_place(cell, account, progress->end_us))
		return;
	if (progress->count == progress->capacity) {
		progress->capacity = progress->capacity * 2 + 1024;
		progress->moments = reallocarray(progress->moments,
		    progress->capacity, sizeof(*progress->moments));
		if (!progress->moments)
			abort();
	}
	progress->moments[progress->count++] = moment_of(progress, account);
}

static int
compare_moments(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int
wait_for_replica(struct progress *progress, enum host_kind kind)
{
	int64_t deadline_us = clock_realtime_us() + LAG_MAX;
	int code = view_refresh(&progress->view);

	while (code == EX_OK &&
	       find_standing(progress, kind) == STANDING_UNSEEN &&
	       clock_realtime_us() < deadline_us) {
		pause_ms(10);
		code = view_refresh(&progress->view);
	}
	if (code == EX_OK && find_standing(progress, kind) == STANDING_UNSEEN) {
		ctl_complain(progress->name,
		    "the change is written, but the replica here does not get it");
		code = EX_TEMPFAIL;
	}
	return code;
}

static size_t
count_left(const struct progress *progress, int64_t now_us)
{
	size_t left = 0;

	while (left < progress->count &&
	       progress->moments[progress->count - 1 - left] > now_us)
		left++;
	return left;
}

static int
watch_moves(struct progress *progress, enum host_kind kind)
{
	bool terminal = isatty(STDERR_FILENO) == 1;
	int code = EX_OK;
	int64_t now_us;

	while (code == EX_OK &&
	       (now_us = clock_realtime_us()) < progress->end_us) {
		if (terminal)
			(void)fprintf(stderr,
			    "\r%s: %zu of %zu users still to move, %.0f s left \033[K",
			    progress->name, count_left(progress, now_us),
			    progress->count,
			    (double)(progress->end_us - now_us) / 1e6);
		pause_ms(INTERVAL);
		code = view_refresh(&progress->view);
		if (code == EX_OK &&
		    find_standing(progress, kind) != STANDING_NEWEST) {
			ctl_complain(
			    progress->name, "a newer change took over");
			code = EX_TEMPFAIL;
		}
	}
	if (terminal && code == EX_OK)
		(void)fprintf(stderr, "\r%s: %zu users moved\033[K\n",
		    progress->name, progress->count);
	return code;
}

int
progress_wait(const struct ctl *ctl, const char *name,
    const struct transition *value, uint32_t guard_ms)
{
	struct progress progress = { .name = name,
		.value = value,
		.end_us = value->time_us + value->ramp * TIMESTAMP_SECOND +
			  (int64_t)1000 * guard_ms + 1 };
	int code = view_open(&progress.view, ctl);

	if (code == EX_OK)
		code = wait_for_replica(&progress, ctl->kind);
	if (code == EX_OK)
		code = view_accounts(&progress.view, add_account, &progress);
	if (progress.count > 0)
		qsort(progress.moments, progress.count,
		    sizeof(*progress.moments), compare_moments);
	if (code == EX_OK)
		code = watch_moves(&progress, ctl->kind);
	free(progress.moments);
	view_close(&progress.view);
	return code;
}
