#include "ctl/zone.h"

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

#define ZONE_SOCKET   "zoned.sock"
#define ZONE_PATIENCE 10 /* s for the answer */

static int
connect_publisher(const struct ctl *ctl)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { ZONE_PATIENCE, 0 };
	int size = snprintf(address.sun_path, sizeof(address.sun_path),
	    "%s/" ZONE_SOCKET, ctl->run_dir);
	int fd;

	if (size < 0 || (size_t)size >= sizeof(address.sun_path)) {
		ctl_complain(ctl->run_dir, "too long for the name of a socket");
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    setsockopt(
		fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		ctl_complain(address.sun_path, strerrordesc_np(errno));
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	return fd;
}

/* NULL after a complaint; the caller's. */
static json_t *
ask(const struct ctl *ctl, const char *question)
{
	int fd = connect_publisher(ctl);
	json_error_t error;
	json_t *answer = NULL;
	const char *why = "postcell-zoned did not answer in time";

	if (fd < 0)
		return NULL;
	if (dprintf(fd, "%s\n", question) > 0)
		answer = json_loadfd(fd, 0, &error);
	(void)close(fd);
	if (answer && json_object_get(answer, "error")) {
		why = "postcell-zoned does not know this question";
		json_decref(answer);
		answer = NULL;
	}
	if (!answer)
		ctl_complain(question, why);
	return answer;
}

static const char *
text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value && value[0] ? value : "-";
}

static long long
number(const json_t *object, const char *name)
{
	return (long long)json_integer_value(json_object_get(object, name));
}

static void
print_target(const json_t *target)
{
	printf("zone  %-24s %-22s %-8s %lld records, %lld to change",
	    text(target, "zone"), text(target, "server"), text(target, "state"),
	    number(target, "records"), number(target, "missing"));
	if (strcmp(text(target, "why"), "-") != 0)
		printf(": %s", text(target, "why"));
	putchar('\n');
}

static void
print_show(const json_t *answer)
{
	const json_t *targets = json_object_get(answer, "targets");
	const json_t *hosts = json_object_get(answer, "hosts");
	const json_t *notes = json_object_get(answer, "notes");

	printf("publisher %s, version %s, made from %s\n",
	    text(answer, "publisher"), text(answer, "version"),
	    text(answer, "csn"));
	if (strcmp(text(answer, "fault"), "-") != 0)
		printf("publishes nothing: %s\n", text(answer, "fault"));
	for (size_t i = 0; i < json_array_size(targets); i++)
		print_target(json_array_get(targets, i));
	for (size_t i = 0; i < json_array_size(hosts); i++) {
		const json_t *host = json_array_get(hosts, i);

		printf("%-5s %-24s %-8s weight %lld, site %s\n",
		    text(host, "kind"), text(host, "name"),
		    text(host, "health"), number(host, "weight"),
		    text(host, "site"));
	}
	for (size_t i = 0; i < json_array_size(notes); i++)
		printf(
		    "note  %s\n", json_string_value(json_array_get(notes, i)));
}

/* What would be changed; whether there is something. */
static bool
print_diff(const json_t *answer)
{
	const json_t *targets = json_object_get(answer, "targets");
	bool any = false;

	for (size_t i = 0; i < json_array_size(targets); i++) {
		const json_t *target = json_array_get(targets, i);
		const char *diff =
		    json_string_value(json_object_get(target, "diff"));

		if (!json_is_true(json_object_get(target, "known"))) {
			printf("# %s at %s is not known: %s\n",
			    text(target, "zone"), text(target, "server"),
			    text(target, "why"));
			any = true;
		} else if (diff && diff[0]) {
			printf("# %s at %s\n%s", text(target, "zone"),
			    text(target, "server"), diff);
			any = true;
		}
	}
	return any;
}

int
ctl_zone_show(const struct ctl *ctl, int count, char **words)
{
	json_t *answer = ask(ctl, "show");

	(void)count;
	(void)words;
	if (!answer)
		return EX_UNAVAILABLE;
	if (ctl->json)
		return output_json(answer);
	print_show(answer);
	json_decref(answer);
	return EX_OK;
}

int
ctl_zone_diff(const struct ctl *ctl, int count, char **words)
{
	json_t *answer = ask(ctl, "diff");
	bool any;

	(void)count;
	(void)words;
	if (!answer)
		return EX_UNAVAILABLE;
	if (ctl->json)
		return output_json(answer);
	any = print_diff(answer);
	json_decref(answer);
	return any ? CTL_NO : EX_OK;
}
