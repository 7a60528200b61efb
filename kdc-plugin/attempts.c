#include "kdc-plugin/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kdc-plugin/principal.h"
#include "lib/timestamp.h"

#define ATTEMPTS_DAY  (86400 * TIMESTAMP_SECOND)
#define ATTEMPTS_TOLD 4096

/* Whose login of the day was told to the directory already. */
struct attempts_told {
	uint64_t key;
	int64_t day;
};

struct attempts {
	const struct options *options; /* borrowed */
	struct courier *courier;       /* borrowed */
	const struct report *report;   /* borrowed */
	struct lockout_policy policy;
	struct lockout table;
	void *map; /* owned; NULL: not yet */
	struct attempts_told told[ATTEMPTS_TOLD];
};

struct attempt {
	struct attempts *attempts; /* borrowed */
	struct lockout_attempt counted;
	int64_t now_us;
	uint64_t key;
	bool refused, wrong, right, new_day;
	struct buf dn;
};

struct attempts *
attempts_new(const struct options *options, struct courier *courier,
    const struct report *report)
{
	struct attempts *attempts = calloc(1, sizeof(*attempts));

	if (attempts)
		*attempts = (struct attempts){ .options = options,
			.courier = courier,
			.report = report,
			.policy = { (uint32_t)options->limit,
			    (uint64_t)options->window *
				(uint64_t)TIMESTAMP_SECOND } };
	return attempts;
}

void
attempts_free(struct attempts **attempts)
{
	if (*attempts && (*attempts)->map)
		(void)munmap((*attempts)->map, LOCKOUT_SIZE);
	free(*attempts);
	*attempts = NULL;
}

/* The file that all who count share; made when it is missing. */
static int
attempts_map(struct attempts *attempts, const char **why)
{
	int fd = open(attempts->options->lockout,
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
	struct stat status;
	void *map = MAP_FAILED;

	*why = "the file of lockout cannot be used";
	if (fd >= 0 && fstat(fd, &status) == 0 &&
	    (status.st_size == (off_t)LOCKOUT_SIZE ||
		(status.st_size == 0 &&
		    ftruncate(fd, (off_t)LOCKOUT_SIZE) == 0)))
		map = mmap(NULL, LOCKOUT_SIZE, PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, 0);
	if (fd >= 0)
		(void)close(fd);
	if (map == MAP_FAILED)
		return -1;
	if (lockout_attach(&attempts->table, map, LOCKOUT_SIZE, why) != 0) {
		(void)munmap(map, LOCKOUT_SIZE);
		return -1;
	}
	attempts->map = map;
	return 0;
}

/* Until when what was counted is forgotten. */
static int64_t
attempts_forgiven(const struct account *account, int64_t now_us)
{
	struct locked locked;

	if (!principal_locked(account, &locked))
		return 0;
	if (!locked.is_locked)
		return locked.time_us;
	return locked.until_us <= now_us ? locked.until_us : 0;
}

static bool
attempts_is_new_day(const struct account *account, int64_t now_us)
{
	int64_t last_us;

	return principal_is_person(account) &&
	       (timestamp_parse(principal_value(account, ACCOUNT_LAST_LOGIN),
		    &last_us) != 0 ||
		   last_us / ATTEMPTS_DAY != now_us / ATTEMPTS_DAY);
}

struct attempt *
attempts_begin(struct attempts *attempts, const struct account *account,
    int64_t now_us, bool *refused, const char **why)
{
	struct attempt *attempt;

	if (!attempts->map && attempts_map(attempts, why) != 0)
		return NULL;
	attempt = calloc(1, sizeof(*attempt));
	*why = "out of memory";
	if (!attempt)
		return NULL;
	*attempt = (struct attempt){ .attempts = attempts,
		.now_us = now_us,
		.key = lockout_key(account->id),
		.refused = !principal_may_act(account, now_us),
		.new_day = attempts_is_new_day(account, now_us),
		.dn = buf_bounded(account->dn.size) };
	(void)buf_add_slice(&attempt->dn, account->dn);
	if (!attempt->refused)
		attempt->refused = !lockout_reserve(&attempts->table,
		    attempt->key, &attempts->policy, now_us,
		    attempts_forgiven(account, now_us), &attempt->counted);
	*refused = attempt->refused;
	return attempt;
}

void
attempt_is_wrong(struct attempt *attempt)
{
	attempt->wrong = true;
}

void
attempt_is_right(struct attempt *attempt)
{
	attempt->right = true;
}

/* Until the replica shows it, a busy account would be told of at each login. */
static bool
attempts_is_told(struct attempts *attempts, uint64_t key, int64_t now_us)
{
	struct attempts_told *told = &attempts->told[key % ATTEMPTS_TOLD];
	int64_t day = now_us / ATTEMPTS_DAY;

	if (told->key == key && told->day == day)
		return true;
	*told = (struct attempts_told){ key, day };
	return false;
}

static int
attempt_tell(const struct attempt *attempt, struct slice dn, const char **why)
{
	struct attempts *attempts = attempt->attempts;
	int code = courier_login(attempts->courier, dn, attempt->now_us, why);

	/* The next login tries again. */
	if (code != 0)
		attempts->told[attempt->key % ATTEMPTS_TOLD] =
		    (struct attempts_told){ 0, 0 };
	return code;
}

static void
attempt_settle(struct attempt *attempt, bool checked)
{
	struct attempts *attempts = attempt->attempts;
	struct slice dn = buf_slice(&attempt->dn);
	const char *why;
	int code = 0;

	if (attempt->wrong)
		report_event(attempts->report, "wrong_password", "dn", dn,
		    "the password was another one");
	if (!attempt->wrong) {
		lockout_release(&attempts->table, &attempt->counted);
		if (attempt->right && checked && attempt->new_day &&
		    !attempts_is_told(attempts, attempt->key, attempt->now_us))
			code = attempt_tell(attempt, dn, &why);
	} else if (lockout_fail(&attempts->table, &attempts->policy,
		       &attempt->counted)) {
		report_event(attempts->report, "locked", "dn", dn,
		    "as many failures as lockout_limit");
		code = courier_lock(attempts->courier, dn, attempt->now_us,
		    attempts->options->lock, &why);
	}
	if (code != 0)
		report_event(attempts->report, "courier_failed", "dn", dn, why);
}

void
attempt_end(struct attempt **attempt, bool checked)
{
	if (!*attempt)
		return;
	if (!(*attempt)->refused)
		attempt_settle(*attempt, checked);
	buf_free(&(*attempt)->dn);
	free(*attempt);
	*attempt = NULL;
}
