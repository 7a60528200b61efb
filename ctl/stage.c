#include "ctl/stage.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/file.h"

/* ---- signals ---- */

static void
set_of_signals(sigset_t *set)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

	(void)sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaddset(set, signals[i]);
}

void
stage_hold_signals(void)
{
	sigset_t set;

	set_of_signals(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

int
stage_check_signals(void)
{
	sigset_t set, pending;

	set_of_signals(&set);
	if (sigpending(&pending) < 0 ||
	    sigandset(&pending, &pending, &set) < 0 || sigisemptyset(&pending))
		return EX_OK;
	ctl_complain("interrupted", "nothing was changed");
	return EX_TEMPFAIL;
}

/* ---- folders ---- */

int
stage_check(const char *target)
{
	if (file_is_vacant(target))
		return EX_OK;
	ctl_complain(target, "is there already; nothing is overwritten");
	return EX_CANTCREAT;
}

/* Makes the folders on the way to the target that are not there. */
static int
make_parents(struct stage *stage)
{
	struct slice target = slice_from(stage->target);
	int code = EX_OK;

	for (size_t i = 1; i < target.size && code == EX_OK; i++) {
		struct buf *parent = &stage->parents[stage->parent_count];
		struct stat status;

		if (target.data[i] != '/')
			continue;
		if (stage->parent_count == STAGE_PARENTS_MAX) {
			ctl_complain(stage->target, "is too deep");
			return EX_USAGE;
		}
		*parent = buf_bounded(STAGE_PATH_MAX);
		(void)buf_add(parent, target.data, i);
		if (stat(buf_string(parent), &status) == 0) {
			buf_free(parent);
			continue;
		}
		code = file_make_folder(buf_string(parent), 0755);
		stage->parent_count++;
	}
	return code;
}

int
stage_open(struct stage *stage, const char *target)
{
	int code = stage_check(target);

	*stage = (struct stage){ .target = target,
		.path = buf_bounded(STAGE_PATH_MAX) };
	if (code == EX_OK)
		code = make_parents(stage);
	if (code != EX_OK)
		return code;
	(void)buf_printf(&stage->path, "%s.XXXXXX", target);
	if (!stage->path.failed && mkdtemp(stage->path.data))
		return EX_OK;
	ctl_complain(target, strerrordesc_np(errno));
	buf_clear(&stage->path);
	return EX_CANTCREAT;
}

int
stage_place(struct stage *stage, mode_t mode)
{
	if (chmod(buf_string(&stage->path), mode) == 0 &&
	    rename(buf_string(&stage->path), stage->target) == 0) {
		stage->placed = true;
		return EX_OK;
	}
	ctl_complain(stage->target, strerrordesc_np(errno));
	return EX_CANTCREAT;
}

void
stage_close(struct stage *stage, bool keep)
{
	if (!keep && stage->placed)
		file_remove(stage->target);
	else if (!keep && stage->path.size > 0)
		file_remove(buf_string(&stage->path));
	while (stage->parent_count > 0) {
		struct buf *parent = &stage->parents[--stage->parent_count];

		/* Which fails where somebody else has put something. */
		if (!keep)
			(void)rmdir(buf_string(parent));
		buf_free(parent);
	}
	buf_free(&stage->path);
}
