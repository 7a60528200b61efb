/*
 * simulator: how often an account was with two servers at one moment, in
 * random histories of a cell.
 *
 *   simulator [-n HISTORIES] [-s SEED] [-a ACTS] [-b BREACH] [-v]
 *
 * Histories are numbered from SEED on. ACTS bounds the acts of one history: a
 * small number finds the smallest history of a fault. With BREACH the histories
 * break a rule on purpose (-b help lists them). -v prints each history.
 * The exit status is 1 when there was an overlap or an unforeseen answer.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/simulator/history.h"

static struct world world;

static int
parse_breach(const char *name, enum breach *breach)
{
	for (unsigned i = 0; i < BREACH_COUNT; i++) {
		if (strcmp(name, breach_text((enum breach)i)) == 0) {
			*breach = (enum breach)i;
			return 0;
		}
	}
	for (unsigned i = 0; i < BREACH_COUNT; i++)
		(void)fprintf(stderr, "%s\n", breach_text((enum breach)i));
	return -1;
}

int
main(int argc, char **argv)
{
	uint64_t histories = 1000, seed = 1;
	unsigned acts = 24;
	enum breach breach = BREACH_NONE;
	struct outcome outcome;
	bool aloud = false;
	int option;

	while ((option = getopt(argc, argv, "n:s:a:b:v")) != -1) {
		if (option == 'n')
			histories = strtoull(optarg, NULL, 10);
		else if (option == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (option == 'a')
			acts = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'v')
			aloud = true;
		else if (option != 'b' || parse_breach(optarg, &breach) < 0)
			return 64;
	}
	outcome_start(&outcome);
	for (uint64_t i = 0; i < histories; i++) {
		world_make(&world, seed + i, breach, acts > 0 ? acts : 1);
		history_play(&outcome, &world, seed + i, aloud);
	}
	outcome_print(&outcome);
	return outcome.overlaps > 0 || outcome.unforeseen > 0;
}
