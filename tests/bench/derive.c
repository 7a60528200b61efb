/*
 * derive: what it costs to make a key of a password, and nothing else.
 *
 *   derive COUNT
 *
 * Prints microseconds of CPU and of the clock for each, by the same code and
 * the same kind of key as a bind's.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "slapd-overlay/keys.h"

#define COUNT_MAX 1000000

static double
now(clockid_t clock)
{
	struct timespec time;

	(void)clock_gettime(clock, &time);
	return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

int
main(int argc, char **argv)
{
	const struct keys_settings settings = { .realm = "REPLICA.TEST",
		.enctypes = KEYS_ENCTYPES_DEFAULT };
	uint64_t count = 0;
	struct keys *keys;
	double cpu, clock;
	char *why;

	if (argc != 2 ||
	    slice_to_uint(slice_from(argv[1]), COUNT_MAX, &count) < 0 ||
	    count == 0)
		errx(64, "COUNT");
	keys = keys_new(&settings, &why);
	if (!keys)
		errx(1, "%s", why ? why : "out of memory");
	keys_pretend(keys, slice_from("password 0"));
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	clock = now(CLOCK_MONOTONIC);
	for (uint64_t i = 0; i < count; i++)
		keys_pretend(keys, slice_from("password 0"));
	printf("%.1f %.1f\n",
	    (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)count,
	    (now(CLOCK_MONOTONIC) - clock) / (double)count);
	keys_free(&keys);
	return 0;
}
