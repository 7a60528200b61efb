/*
 * The clock of a process that plays: libraries and the relay ask this one
 * instead of the system's. Between two plays it is right, as libFuzzer, which
 * measures them, needs it.
 */
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/stage.h"

static int64_t ahead_ms;

void
stage_clock_set(int64_t ahead)
{
	sigset_t alarm;

	/* libFuzzer's alarm would take the time that is told for time that a
	 * play took. */
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarm, NULL);
	ahead_ms = ahead;
	if (ahead == 0)
		sigprocmask(SIG_UNBLOCK, &alarm, NULL);
}

/* libc's names for its arguments are reserved. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
__attribute__((visibility("default"))) int
clock_gettime(clockid_t clock, struct timespec *now)
{
	long result = syscall(SYS_clock_gettime, clock, now);

	if (result == 0 && clock != CLOCK_PROCESS_CPUTIME_ID &&
	    clock != CLOCK_THREAD_CPUTIME_ID) {
		now->tv_sec += ahead_ms / 1000;
		now->tv_nsec += ahead_ms % 1000 * 1000000;
		if (now->tv_nsec >= 1000000000) {
			now->tv_nsec -= 1000000000;
			now->tv_sec++;
		}
	}
	return (int)result;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
