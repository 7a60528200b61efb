#include "ctl/proxy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include <jansson.h>

#include "ctl/output.h"
#include "ctl/replica.h"
#include "lib/name.h"

#define CONTROL_SOCKET "proxyd.sock"
#define PATIENCE       10 /* s for the answer */

int
proxy_connect(const struct ctl *ctl, const char **why)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { PATIENCE, 0 };
	int size = snprintf(address.sun_path, sizeof(address.sun_path),
	    "%s/" CONTROL_SOCKET, ctl->run_dir);
	int fd;

	if (size < 0 || (size_t)size >= sizeof(address.sun_path)) {
		*why = "the path is too long for the name of a socket";
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(
		    fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (fd < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		*why = strerrordesc_np(errno);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* Asks and reads the answer; NULL with *why. Owned by the caller. */
static json_t *
try_ask(const struct ctl *ctl, const char *question, const char **why)
{
	int fd = proxy_connect(ctl, why);
	json_t *answer;

	if (fd < 0)
		return NULL;
	if (dprintf(fd, "%s\n", question) < 0) {
		*why = strerrordesc_np(errno);
		close(fd);
		return NULL;
	}
	answer = json_loadfd(fd, 0, NULL);
	close(fd);
	if (!answer)
		*why = "the proxy did not answer in time";
	return answer;
}

json_t *
proxy_ask(const struct ctl *ctl, const char *question)
{
	const char *why;
	json_t *answer = try_ask(ctl, question, &why);

	if (!answer) {
		ctl_complain(ctl->run_dir, why);
	} else if (json_object_get(answer, "error")) {
		ctl_complain(question, output_member(answer, "error"));
		json_decref(answer);
		return NULL;
	}
	return answer;
}

json_t *
proxy_sessions(const struct ctl *ctl, const char **why)
{
	json_t *answer = try_ask(ctl, "who", why);
	json_t *sessions = json_incref(json_object_get(answer, "sessions"));

	if (answer && !sessions)
		*why = "the proxy does not say";
	json_decref(answer);
	return sessions;
}

/* What this proxy's observer holds of the hosts of the cell. */
static void
print_observed(const json_t *hosts)
{
	const json_t *host, *service;
	size_t i, k;

	json_array_foreach(hosts, i, host)
	{
		printf("observed    %s %s %s, %lld s",
		    output_member(host, "kind"), output_member(host, "name"),
		    output_member(host, "opinion"),
		    output_number(host, "seconds"));
		json_array_foreach(json_object_get(host, "services"), k,
		    service) if (strcmp(output_member(service, "opinion"),
				     "up") != 0)
		    printf("; %s %s: %s", output_member(service, "service"),
			output_member(service, "opinion"),
			output_member(service, "why"));
		putchar('\n');
	}
}

static void
print_status(const json_t *answer)
{
	const json_t *relay, *value;
	json_t *counters = json_object_get(answer, "counters");
	json_t *services = json_object_get(answer, "services");
	const char *name;
	size_t i;

	printf("proxy       %s, version %s, generation %lld, process %lld\n",
	    output_member(answer, "host"), output_member(answer, "version"),
	    output_number(answer, "generation"),
	    output_number(answer, "parent"));
	json_array_foreach(json_object_get(answer, "relays"), i, relay) printf(
	    "relay       process %lld, generation %lld, %lld sessions, %lld logged in\n",
	    output_number(relay, "pid"), output_number(relay, "generation"),
	    output_number(relay, "sessions"),
	    output_number(relay, "logged_in"));
	json_object_foreach(services, name, value) printf(
	    "service     %s, %lld sessions, %lld logged in, %lld logins, "
	    "%lld failed, %lld messages\n",
	    name, output_number(value, "sessions"),
	    output_number(value, "logged_in"), output_number(value, "logins"),
	    output_number(value, "failed"), output_number(value, "messages"));
	json_object_foreach(counters, name, value)
	    printf("%-11s %lld\n", name, (long long)json_integer_value(value));
	print_observed(json_object_get(answer, "observed"));
}

int
ctl_status(const struct ctl *ctl, int count, char **words)
{
	json_t *answer = proxy_ask(ctl, "status");

	if (!answer)
		return EX_UNAVAILABLE;
	if (ctl->json) {
		return output_json(answer);
	}
	print_status(answer);
	json_decref(answer);
	return ctl_replica_status(ctl, count, words);
}

/* Does the session belong to that user, names compared as logins are? */
static bool
is_users(const json_t *session, struct slice user)
{
	struct buf name = buf_bounded(NAME_SIZE_MAX);
	const char *text = json_string_value(json_object_get(session, "user"));
	const char *why;
	bool same =
	    text &&
	    name_normalise(&name, NAME_UID, slice_from(text), &why) == 0 &&
	    slice_equal(buf_slice(&name), user);

	buf_free(&name);
	return same;
}

/* Drops the others' sessions. 0, or -1 for a name that can be nobody's. */
static int
keep_users(json_t *sessions, const char *user)
{
	struct buf name = buf_bounded(NAME_SIZE_MAX);
	const char *why;

	if (name_normalise(&name, NAME_UID, slice_from(user), &why) < 0) {
		ctl_complain(user, why);
		buf_free(&name);
		return -1;
	}
	for (size_t i = json_array_size(sessions); i-- > 0;)
		if (!is_users(json_array_get(sessions, i), buf_slice(&name)))
			json_array_remove(sessions, i);
	buf_free(&name);
	return 0;
}

static void
print_sessions(const json_t *sessions)
{
	const json_t *session;
	size_t i;

	printf("%-24s %-8s %-20s %-16s %-8s %7s  %s\n", "USER", "SERVICE",
	    "CLIENT", "SERVER", "STATE", "SECONDS", "SESSION");
	json_array_foreach(sessions, i, session) printf(
	    "%-24s %-8s %-20s %-16s %-8s %7lld  %s\n",
	    output_member(session, "user"), output_member(session, "service"),
	    output_member(session, "client"), output_member(session, "server"),
	    output_member(session, "state"), output_number(session, "seconds"),
	    output_member(session, "session"));
}

int
ctl_who(const struct ctl *ctl, int count, char **words)
{
	json_t *answer = proxy_ask(ctl, "who");
	json_t *sessions = json_object_get(answer, "sessions");
	int code = EX_OK;

	if (!answer)
		return EX_UNAVAILABLE;
	if (count > 0 && keep_users(sessions, words[0]) < 0)
		code = EX_USAGE;
	else if (ctl->json)
		code = output_json(json_incref(answer));
	else
		print_sessions(sessions);
	if (!json_is_true(json_object_get(answer, "complete"))) {
		ctl_complain("who", "not all relays answered in time");
		code = EX_TEMPFAIL;
	}
	json_decref(answer);
	return code;
}

int
proxy_end_sessions(const struct ctl *ctl, const char *question)
{
	json_t *answer = proxy_ask(ctl, question);
	size_t count = json_array_size(json_object_get(answer, "sessions"));
	int code = count > 0 ? EX_OK : CTL_NO;

	if (!answer)
		return EX_UNAVAILABLE;
	if (ctl->json)
		(void)output_json(json_incref(answer));
	else
		printf("%zu %s ended\n", count,
		    count == 1 ? "session" : "sessions");
	if (!json_is_true(json_object_get(answer, "complete"))) {
		ctl_complain(question, "not all relays answered in time");
		code = EX_TEMPFAIL;
	}
	json_decref(answer);
	return code;
}

int
ctl_flush(const struct ctl *ctl, int count, char **words)
{
	struct buf question = buf_bounded(NAME_SIZE_MAX);
	int code;

	(void)count;
	if (!name_is_host(slice_from(words[0]))) {
		ctl_complain(words[0], "is no name of a server");
		return EX_USAGE;
	}
	(void)buf_printf(&question, "flush %s", words[0]);
	code = proxy_end_sessions(ctl, buf_string(&question));
	buf_free(&question);
	return code;
}

int
ctl_reload(const struct ctl *ctl, int count, char **words)
{
	json_t *answer = proxy_ask(ctl, "reload");

	(void)count;
	(void)words;
	if (!answer)
		return EX_UNAVAILABLE;
	puts("reload begun; the log says how it went");
	json_decref(answer);
	return EX_OK;
}
