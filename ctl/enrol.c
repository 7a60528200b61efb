#include "ctl/enrol.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "ctl/directory.h"
#include "ctl/output.h"
#include "ctl/server.h"
#include "ctl/view.h"
#include "lib/change.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define PARTS_MAX 64
#define TEXT_MAX  1024
#define TRIES_MAX 8

/* What one enrolment works on; freed as one. */
struct enrolment {
	const struct ctl *ctl;
	const char *name;
	struct directory *directory;
	struct cell *cell;
	const struct host *host; /* NULL for a new one */
};

static int
open_enrolment(
    struct enrolment *enrolment, const struct ctl *ctl, const char *name)
{
	int code;

	*enrolment = (struct enrolment){ .ctl = ctl, .name = name };
	code = directory_open(&enrolment->directory, ctl);
	if (code == EX_OK)
		code = directory_exit(enrolment->directory,
		    directory_cell(enrolment->directory, &enrolment->cell));
	if (code == EX_OK)
		enrolment->host =
		    cell_host(enrolment->cell, ctl->kind, slice_from(name));
	return code;
}

static void
close_enrolment(struct enrolment *enrolment)
{
	cell_free(&enrolment->cell);
	directory_free(&enrolment->directory);
}

/* Names go into DNs, logs, and answers of verbs that are lines of words. */
static int
check_name(const char *name)
{
	if (name_is_host(slice_from(name)))
		return EX_OK;
	ctl_complain(name,
	    "a name is made of letters, digits, hyphens and dots, as a host's");
	return EX_USAGE;
}

static int
tell(const struct enrolment *enrolment, const char *what)
{
	if (enrolment->ctl->json)
		return output_json(json_pack(
		    "{s:s, s:s}", "name", enrolment->name, "done", what));
	printf("%s: %s\n", enrolment->name, what);
	return EX_OK;
}

/* ---- add ---- */

static int
check_services(const struct ctl *ctl)
{
	struct service service;
	const char *why;

	if (ctl->options.service_count == 0) {
		ctl_complain("server add", "--service URL is missing");
		return EX_USAGE;
	}
	for (size_t i = 0; i < ctl->options.service_count; i++) {
		const char *url = ctl->options.services[i];

		if (service_parse(slice_from(url), &service, &why) < 0) {
			ctl_complain(url, why);
			return EX_USAGE;
		}
	}
	return EX_OK;
}

/* The pool that a new server is to join. */
static const struct pool *
find_pool(const struct enrolment *enrolment, const char *name)
{
	const struct pool *pool =
	    name ? cell_pool(enrolment->cell, slice_from(name))
		 : cell_default_pool(enrolment->cell);

	if (!pool)
		ctl_complain(name ? name : "--pool",
		    name ? "there is no pool of that name"
			 : "is missing, and there is no default pool");
	return pool;
}

static void
add_part(struct directory_part *parts, size_t *count, const char *attribute,
    struct slice value)
{
	if (value.size > 0)
		parts[(*count)++] =
		    (struct directory_part){ DIRECTORY_ADD, attribute, value };
}

static enum directory_result
add_entry(const struct enrolment *enrolment, const struct pool *pool)
{
	const struct ctl_options *options = &enrolment->ctl->options;
	struct transition first = { .time_us = clock_realtime_us(),
		.ramp = options->ramp == CTL_ABSENT ? pool->ramp
						    : (uint32_t)options->ramp,
		.state = HOST_UP,
		.weight = options->weight == CTL_ABSENT
			      ? TRANSITION_WEIGHT_DEFAULT
			      : (uint32_t)options->weight };
	struct directory_part parts[PARTS_MAX];
	struct buf dn = buf_bounded(TEXT_MAX), value = buf_bounded(TEXT_MAX);
	struct buf weight = buf_bounded(TEXT_MAX);
	size_t count = 0;
	enum directory_result result;

	(void)buf_add_string(&dn, "cn=");
	(void)name_escape_dn(&dn, slice_from(enrolment->name));
	(void)buf_printf(
	    &dn, ",ou=servers,%s", directory_suffix(enrolment->directory));
	(void)transition_format(&value, &first);
	(void)buf_printf(&weight, "%u", (unsigned)first.weight);
	add_part(parts, &count, "objectClass", slice_from("postcellServer"));
	add_part(parts, &count, "cn", slice_from(enrolment->name));
	add_part(parts, &count, "postcellPoolName", pool->name);
	add_part(parts, &count, "postcellSite", slice_from(options->site));
	add_part(parts, &count, "postcellState", slice_from("up"));
	add_part(parts, &count, "postcellWeight", buf_slice(&weight));
	add_part(parts, &count, "postcellTransition", buf_slice(&value));
	for (size_t i = 0; i < options->service_count; i++)
		add_part(parts, &count, "postcellService",
		    slice_from(options->services[i]));
	result =
	    directory_add(enrolment->directory, buf_slice(&dn), parts, count);
	buf_free(&dn);
	buf_free(&value);
	buf_free(&weight);
	return result;
}

int
enrol_add(const struct ctl *ctl, int count, char **words)
{
	struct enrolment enrolment = { .ctl = ctl };
	const struct pool *pool = NULL;
	int code = check_name(words[0]);

	(void)count;
	if (code == EX_OK)
		code = check_services(ctl);
	if (code == EX_OK)
		code = open_enrolment(&enrolment, ctl, words[0]);
	if (code == EX_OK && enrolment.host) {
		ctl_complain(words[0], "there is a server of that name");
		code = EX_CANTCREAT;
	}
	if (code == EX_OK) {
		pool = find_pool(&enrolment, ctl->options.pool);
		code = pool ? EX_OK : CTL_NO;
	}
	if (code == EX_OK)
		code = directory_exit(
		    enrolment.directory, add_entry(&enrolment, pool));
	if (code == EX_OK)
		code = tell(&enrolment, "added");
	close_enrolment(&enrolment);
	return code;
}

/* ---- what has no guard ---- */

/* What is to be done to a host that is settled. */
typedef enum directory_result enrol_act(
    struct enrolment *enrolment, const char *argument);

static int
check_settled(const struct enrolment *enrolment)
{
	const struct host *host = enrolment->host;
	size_t count = host ? host->transition_count : 0;
	const struct transition *newest =
	    count > 0 ? &host->transitions[count - 1] : NULL;
	struct buf why = buf_bounded(TEXT_MAX);
	int code = CTL_NO;

	if (!host) {
		ctl_complain(enrolment->name, "there is none of that name");
		return CTL_NO;
	}
	if (change_is_settled(host, clock_realtime_us()))
		return EX_OK;
	if (!newest || newest->state != HOST_DOWN) {
		(void)buf_printf(&why,
		    "users may be there: take it down first (server down %s)",
		    enrolment->name);
	} else {
		int64_t end_us = newest->time_us +
				 newest->ramp * TIMESTAMP_SECOND + CHANGE_KEEP;

		(void)buf_printf(&why,
		    "it is not down for long enough; again in %.0f s",
		    (double)(end_us - clock_realtime_us()) / 1e6 + 1);
		code = EX_TEMPFAIL;
	}
	ctl_complain(enrolment->name, buf_string(&why));
	buf_free(&why);
	return code;
}

/* Again when another writer was quicker: it may have taken the host up. */
static int
act_on_settled(const struct ctl *ctl, const char *name, enrol_act *act,
    const char *argument, const char *done)
{
	struct enrolment enrolment;
	enum directory_result result = DIRECTORY_RACE;
	int code = EX_OK;

	for (int i = 0; i < TRIES_MAX && result == DIRECTORY_RACE; i++) {
		code = open_enrolment(&enrolment, ctl, name);
		if (code == EX_OK)
			code = check_settled(&enrolment);
		result =
		    code == EX_OK ? act(&enrolment, argument) : DIRECTORY_DONE;
		if (result != DIRECTORY_RACE || i + 1 == TRIES_MAX)
			break;
		close_enrolment(&enrolment);
	}
	if (code == EX_OK)
		code = directory_exit(enrolment.directory, result);
	if (code == EX_OK)
		code = tell(&enrolment, done);
	close_enrolment(&enrolment);
	return code;
}

static enum directory_result
act_remove(struct enrolment *enrolment, const char *argument)
{
	(void)argument;
	return directory_delete(enrolment->directory,
	    record_value(enrolment->host->record, CELL_DN),
	    record_value(enrolment->host->record, CELL_CSN));
}

static enum directory_result
act_rename(struct enrolment *enrolment, const char *argument)
{
	struct buf rdn = buf_bounded(TEXT_MAX);
	enum directory_result result;

	(void)buf_add_string(&rdn, "cn=");
	(void)name_escape_dn(&rdn, slice_from(argument));
	result = directory_rename(enrolment->directory,
	    record_value(enrolment->host->record, CELL_DN),
	    record_value(enrolment->host->record, CELL_CSN), buf_slice(&rdn));
	buf_free(&rdn);
	return result;
}

static enum directory_result
act_pool(struct enrolment *enrolment, const char *argument)
{
	struct directory_part part = { DIRECTORY_REPLACE, "postcellPoolName",
		slice_from(argument) };

	return directory_modify(enrolment->directory,
	    record_value(enrolment->host->record, CELL_DN),
	    record_value(enrolment->host->record, CELL_CSN), &part, 1);
}

int
enrol_remove(const struct ctl *ctl, int count, char **words)
{
	(void)count;
	return act_on_settled(ctl, words[0], act_remove, NULL, "removed");
}

int
enrol_rename(const struct ctl *ctl, int count, char **words)
{
	int code = check_name(words[1]);

	(void)count;
	return code != EX_OK ? code
			     : act_on_settled(ctl, words[0], act_rename,
				   words[1], "renamed");
}

int
enrol_pool(const struct ctl *ctl, int count, char **words)
{
	struct enrolment enrolment;
	int code = open_enrolment(&enrolment, ctl, words[0]);

	(void)count;
	if (code == EX_OK && !find_pool(&enrolment, words[1]))
		code = CTL_NO;
	close_enrolment(&enrolment);
	return code != EX_OK ? code
			     : act_on_settled(ctl, words[0], act_pool, words[1],
				   "given to the pool");
}
