/*
 * ctl: what the verbs of postcellctl share.
 *
 * A verb is a function that gets the words after it, prints its answer to
 * stdout, and returns the exit status (sysexits, or CTL_NO). Faults go to
 * stderr through ctl_complain().
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>

#define CTL_NO 1 /* the answer is no: there is no such thing */

struct ctl {
	const char *replica; /* path of the replica; borrowed */
	const char
	    *run_dir; /* folder of the proxy's control socket; borrowed */
	bool json;
};

typedef int ctl_verb(const struct ctl *ctl, int count, char **words);

/* "postcellctl: TEXT: WHY". */
void ctl_complain(const char *text, const char *why);

#endif
