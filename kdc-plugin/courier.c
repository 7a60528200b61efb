#include "kdc-plugin/courier.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kdc-plugin/changes.h"
#include "kdc-plugin/directory.h"
#include "kdc-plugin/lookup.h"
#include "kdc-plugin/principal.h"
#include "lib/locked.h"
#include "lib/timestamp.h"

#define COURIER_DN_MAX   4096
#define COURIER_PAUSE_MS 1000
#define COURIER_DAY      (86400 * TIMESTAMP_SECOND)

enum courier_kind {
	COURIER_LOCK,
	COURIER_LOGIN
};

struct courier_message {
	enum courier_kind kind;
	int64_t now_us, until_us;
	char dn[COURIER_DN_MAX];
};

struct courier {
	const struct options *options; /* borrowed */
	const struct report *report;   /* borrowed */
	int fd;                        /* -1: there is no process */
	pid_t maker;                   /* whose process it is */
};

struct courier *
courier_new(const struct options *options, const struct report *report)
{
	struct courier *courier = calloc(1, sizeof(*courier));

	if (courier)
		*courier = (struct courier){
			.options = options, .report = report, .fd = -1
		};
	return courier;
}

void
courier_free(struct courier **courier)
{
	if (*courier && (*courier)->fd >= 0)
		(void)close((*courier)->fd);
	free(*courier);
	*courier = NULL;
}

static int
courier_write_lock(struct directory *directory,
    const struct courier_message *message, const struct account *account)
{
	struct changes *changes = changes_new();
	struct locked newest;
	int code = LDAP_NO_MEMORY;

	if (!changes)
		return code;
	if (principal_locked(account, &newest) &&
	    locked_holds(&newest, message->now_us)) {
		code = LDAP_SUCCESS;
	} else {
		changes_lock(
		    changes, account, true, message->now_us, message->until_us);
		if (changes_list(changes))
			code = directory_modify(directory, message->dn,
			    changes_list(changes), NULL);
	}
	changes_free(&changes);
	return code;
}

static int
courier_lock_now(
    struct directory *directory, const struct courier_message *message)
{
	struct lookup found = lookup_empty();
	LDAPMessage *answer = NULL, *entry = NULL;
	bool has_login;
	const char *why;
	int code = directory_search(directory, message->dn, LDAP_SCOPE_BASE,
	    "(objectClass=*)", directory_attributes(directory), 1, &answer);

	if (code == LDAP_SUCCESS)
		entry = ldap_first_entry(directory_ldap(directory), answer);
	if (entry &&
	    directory_record(
		directory, entry, &found.store, &has_login, &why) == 0 &&
	    account_read(&found.account, buf_slice(&found.store), &why) == 0)
		code = courier_write_lock(directory, message, &found.account);
	lookup_free(&found);
	ldap_msgfree(answer);
	return code;
}

/* Only where another day stands: of many logins one writes. */
static int
courier_login_now(
    struct directory *directory, const struct courier_message *message)
{
	time_t day = (time_t)(message->now_us / COURIER_DAY * 86400);
	char type[] = "postcellLastLogin", text[32], filter[64];
	char *values[] = { text, NULL };
	LDAPMod change = { LDAP_MOD_REPLACE, type, { .modv_strvals = values } };
	LDAPMod *changes[] = { &change, NULL };
	struct tm parts;
	int code;

	if (!gmtime_r(&day, &parts) ||
	    strftime(text, sizeof(text), "%Y%m%d000000Z", &parts) == 0)
		return LDAP_OTHER;
	(void)snprintf(
	    filter, sizeof(filter), "(!(postcellLastLogin=%s))", text);
	code = directory_modify(directory, message->dn, changes, filter);
	return code == LDAP_ASSERTION_FAILED ? LDAP_SUCCESS : code;
}

static int
courier_deliver(
    struct directory *directory, const struct courier_message *message)
{
	switch (message->kind) {
	case COURIER_LOCK:
		return courier_lock_now(directory, message);
	case COURIER_LOGIN:
		return courier_login_now(directory, message);
	}
	return LDAP_OTHER;
}

/* A moment; false when the maker is gone. */
static bool
courier_wait(int fd)
{
	struct pollfd gone = { .fd = fd };

	return poll(&gone, 1, COURIER_PAUSE_MS) == 0;
}

/* As long as no server answers, nobody has heard it. */
static void
courier_insist(const struct courier *courier, int fd,
    struct directory *directory, const struct courier_message *message)
{
	bool anybody = courier->options->uris && courier->options->uris[0];
	int code = courier_deliver(directory, message);

	if (code != LDAP_SUCCESS)
		report_event(courier->report, "courier_failed", "dn",
		    slice_from(message->dn), directory_why(directory));
	while (anybody && code == LDAP_UNAVAILABLE && courier_wait(fd))
		code = courier_deliver(directory, message);
}

/* The process itself; until its maker's end of the socket is gone. */
static _Noreturn void
courier_run(int fd, const struct courier *courier)
{
	struct directory *directory = directory_new(courier->options);
	struct courier_message message;

	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXCPU, SIG_DFL);
	(void)prctl(PR_SET_NAME, "kdc-courier");
	/* The KDC's sockets must not outlive it in here. */
	if (dup2(fd, STDERR_FILENO + 1) >= 0)
		(void)close_range(STDERR_FILENO + 2, ~0U, 0);
	fd = STDERR_FILENO + 1;
	while (directory && recv(fd, &message, sizeof(message), 0) ==
				(ssize_t)sizeof(message))
		courier_insist(courier, fd, directory, &message);
	_exit(0);
}

/* Twice forked, so that the KDC never finds a child that it does not know. */
static int
courier_start(struct courier *courier, const char **why)
{
	int ends[2];
	pid_t pid;

	if (courier->fd >= 0 && courier->maker == getpid())
		return 0;
	if (courier->fd >= 0)
		(void)close(courier->fd);
	courier->fd = -1;
	*why = "no process could be made";
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		(void)close(ends[0]);
		pid = fork();
		if (pid == 0)
			courier_run(ends[1], courier);
		_exit(pid < 0);
	}
	(void)close(ends[1]);
	if (pid < 0) {
		(void)close(ends[0]);
		return -1;
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	courier->fd = ends[0];
	courier->maker = getpid();
	return 0;
}

static int
courier_send(struct courier *courier, struct courier_message *message,
    struct slice dn, const char **why)
{
	if (dn.size >= sizeof(message->dn)) {
		*why = "the DN is too long";
		return -1;
	}
	memcpy(message->dn, dn.data, dn.size);
	if (courier_start(courier, why) != 0)
		return -1;
	if (send(courier->fd, message, sizeof(*message),
		MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(*message))
		return 0;
	*why = "the directory is behind";
	if (errno != EAGAIN) {
		(void)close(courier->fd);
		courier->fd = -1;
		*why = "its process is gone";
	}
	return -1;
}

int
courier_lock(struct courier *courier, struct slice dn, int64_t now_us,
    int lock_s, const char **why)
{
	struct courier_message message = { .kind = COURIER_LOCK,
		.now_us = now_us,
		.until_us = lock_s == 0 ? INT64_MAX
					: now_us + lock_s * TIMESTAMP_SECOND };

	return courier_send(courier, &message, dn, why);
}

int
courier_login(
    struct courier *courier, struct slice dn, int64_t now_us, const char **why)
{
	struct courier_message message = { .kind = COURIER_LOGIN,
		.now_us = now_us };

	return courier_send(courier, &message, dn, why);
}
