/*
 * replica_bench: what a look-up in a replica costs, and a placement.
 *
 *     replica_bench lookup PATH ACCOUNTS    names u000000 and so on, at random
 *     replica_bench place SERVERS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/placement.h"
#include "replica/reader.h"

#define LOOKUPS    500000
#define PLACEMENTS 100000
#define RUNS       5 /* the median of them counts */

static int64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* xorshift64*: the same names in every run. */
static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1d;
}

static int
compare(const void *a, const void *b)
{
	const double *first = a, *second = b;

	return (*first > *second) - (*first < *second);
}

static void
print_median(double *runs)
{
	qsort(runs, RUNS, sizeof(*runs), compare);
	(void)printf("{\"ns\": %.1f}\n", runs[RUNS / 2]);
}

/* As printf's "u%06u", at a cost that does not show. */
static struct slice
put_name(char name[32], uint64_t number)
{
	size_t at = 32, size = 0;

	for (; number > 0 || size < 6; number /= 10, size++)
		name[--at] = (char)('0' + number % 10);
	name[--at] = 'u';
	return slice_of(&name[at], size + 1);
}

static double
run_lookups(struct replica *replica, uint64_t accounts, uint64_t *state)
{
	struct buf store = buf_bounded(65536);
	struct account account;
	const char *why = NULL;
	char name[32];
	int64_t begun_ns = now_ns();

	for (unsigned i = 0; i < LOOKUPS; i++) {
		struct slice user =
		    put_name(name, next_random(state) % accounts);

		if (replica_find_login(replica, user, &store, &account, &why) !=
		    REPLICA_FOUND) {
			(void)fprintf(stderr, "%.*s: %s\n", (int)user.size,
			    user.data, why);
			exit(1);
		}
	}
	buf_free(&store);
	return (double)(now_ns() - begun_ns) / LOOKUPS;
}

static int
bench_lookups(const char *path, uint64_t accounts)
{
	struct replica *replica;
	const char *why = NULL;
	uint64_t state = 42;
	double runs[RUNS];

	if (accounts == 0 || replica_open(&replica, path, &why) < 0) {
		(void)fprintf(stderr, "%s: %s\n", path, why ? why : "none");
		return 1;
	}
	for (unsigned i = 0; i < RUNS; i++)
		runs[i] = run_lookups(replica, accounts, &state);
	replica_free(&replica);
	print_median(runs);
	return 0;
}

static void
add_entry(struct cell *cell, const char *kind, const char *name)
{
	struct buf record = buf_bounded(1024);

	record_add(&record, CELL_KIND, slice_from(kind));
	record_add(&record, CELL_NAME, slice_from(name));
	if (strcmp(kind, "pool") == 0)
		record_add(&record, CELL_DEFAULT, slice_from("TRUE"));
	else
		record_add(&record, CELL_TRANSITION,
		    slice_from("20260101000000.000000Z 0 up 100"));
	if (record.failed || cell_add(cell, buf_slice(&record)) < 0)
		abort();
	buf_free(&record);
}

static double
run_placements(const struct cell *cell, uint64_t *state, size_t *found)
{
	struct account account = { 0 };
	uint64_t id[ACCOUNT_ID_SIZE / sizeof(uint64_t)] = { 0 };
	int64_t moment_us = 1800000000000000;
	int64_t begun_ns = now_ns();

	account.id = slice_of(id, sizeof(id));
	for (unsigned i = 0; i < PLACEMENTS; i++) {
		id[0] = next_random(state);
		*found += placement(&account, cell, moment_us).kind ==
			  PLACEMENT_SERVER;
	}
	return (double)(now_ns() - begun_ns) / PLACEMENTS;
}

static int
bench_placements(unsigned servers)
{
	struct cell *cell = cell_new();
	uint64_t state = 42;
	size_t found = 0;
	double runs[RUNS];
	char name[32];

	if (!cell)
		abort();
	add_entry(cell, "pool", "main");
	for (unsigned i = 0; i < servers; i++) {
		(void)snprintf(name, sizeof(name), "mbox%u", i);
		add_entry(cell, "server", name);
	}
	if (cell_finish(cell) < 0)
		abort();
	for (unsigned i = 0; i < RUNS; i++)
		runs[i] = run_placements(cell, &state, &found);
	cell_free(&cell);
	if (found != (size_t)RUNS * PLACEMENTS) {
		(void)fputs("an account was not placed\n", stderr);
		return 1;
	}
	print_median(runs);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "lookup") == 0)
		return bench_lookups(argv[2], strtoull(argv[3], NULL, 10));
	if (argc == 3 && strcmp(argv[1], "place") == 0)
		return bench_placements((unsigned)strtoul(argv[2], NULL, 10));
	(void)fputs("usage: replica_bench lookup PATH ACCOUNTS\n"
		    "       replica_bench place SERVERS\n",
	    stderr);
	return 64;
}
