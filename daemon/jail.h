/*
 * jail: what a process gives up once it has opened all that it needs.
 *
 * Users are looked up before the first fork; entering needs no file system.
 */
#ifndef DAEMON_JAIL_H
#define DAEMON_JAIL_H

#include <sys/types.h>

struct jail {
	uid_t uid;
	gid_t gid;
	const char *root; /* borrowed: chroot, or NULL for none */
	int enter;        /* not root: there is nothing to give up */
};

/*
 * Looks the user up. 0; or -1 with *why. When the process is not root nothing
 * but no-new-privs will be done, and the user is not looked up.
 */
int jail_prepare(
    struct jail *jail, const char *user, const char *root, const char **why);

/*
 * chroot, groups, uid and gid for good, no new privileges, no core dump of
 * secrets. 0; or -1 with *why, and the process must end.
 */
int jail_enter(const struct jail *jail, const char **why);

#endif
