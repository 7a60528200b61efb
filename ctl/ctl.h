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
#include <stddef.h>
#include <stdint.h>

#include "ctl/config.h"
#include "lib/cell.h"

#define CTL_NO 1 /* the answer is no: there is no such thing */

#define CTL_SERVICES_MAX 32
#define CTL_ABSENT       (-1)

/* Options of verbs; a verb is given only those that its row in main.c allows.
 */
struct ctl_options {
	const char *pool, *site, *suffix, *proxyd; /* NULL: not given */
	const char *mail, *name, *group, *reason, *format;
	/* Of the verbs that make a cell. */
	const char *realm, *domain, *uri, *admin, *mail_host, *user;
	const char *kdc_port, *kpasswd_port;
	const char *root, *prefix, *prepare, *keys_from;
	const char *services[CTL_SERVICES_MAX];
	size_t service_count;
	int64_t weight, ramp, time; /* CTL_ABSENT; time: s */
	bool host, wait, once, dry_run;
	bool generate, peers, with_master_key;
};

struct ctl {
	const char *replica; /* path of the replica; borrowed */
	const char
	    *run_dir; /* folder of the proxy's control socket; borrowed */
	const struct config_directory *directory; /* borrowed */
	enum host_kind kind; /* what host verbs are about */
	struct ctl_options options;
	bool json;
};

typedef int ctl_verb(const struct ctl *ctl, int count, char **words);

/* "postcellctl: TEXT: WHY". */
void ctl_complain(const char *text, const char *why);

#endif
