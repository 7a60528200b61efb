#include "daemon/jail.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

int
jail_prepare(
    struct jail *jail, const char *user, const char *root, const char **why)
{
	struct stat status;
	struct passwd *entry;

	*jail = (struct jail){ .root = root };
	if (geteuid() != 0)
		return 0;
	jail->enter = 1;
	entry = getpwnam(user);
	if (!entry) {
		*why = "the configured user does not exist";
		return -1;
	}
	jail->uid = entry->pw_uid;
	jail->gid = entry->pw_gid;
	if (jail->uid == 0) {
		*why = "the configured user is root";
		return -1;
	}
	/* Whoever owns the root of a chroot can fill it. */
	if (root &&
	    (stat(root, &status) < 0 || !S_ISDIR(status.st_mode) ||
		status.st_uid != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)))) {
		*why =
		    "the chroot folder must exist and be writable to root alone";
		return -1;
	}
	return 0;
}

int
jail_enter(const struct jail *jail, const char **why)
{
	if (jail->enter) {
		if (jail->root && (chroot(jail->root) < 0 || chdir("/") < 0)) {
			*why = "chroot failed";
			return -1;
		}
		if (setgroups(0, NULL) < 0 ||
		    setresgid(jail->gid, jail->gid, jail->gid) < 0 ||
		    setresuid(jail->uid, jail->uid, jail->uid) < 0) {
			*why = "the process could not become its user";
			return -1;
		}
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		*why = "no-new-privs was refused";
		return -1;
	}
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return 0;
}
