#include "ctl/house.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/facts.h"
#include "ctl/file.h"
#include "ctl/template.h"

#define PATH_SIZE  4096
#define SLAPD_USER "openldap"

/* What is slapd's, once all is made; the rest is root's. */
static const struct owner_row {
	const char *folder, *name;
} owner_rows[] = {
	{ "etc", "slapd.d" },
	{ "etc", "master.key" },
	{ "etc", "tls/slapd.key" },
	{ "data", "" },
	{ "run", "lockout" },
};

static const char *const tools[] = { "slapd", "slapadd", "slaptest", "slapcat",
	"kstash", "kadmin", "openssl" };

/* ---- looking first ---- */

static int
check_user(const char *name, const char *hint)
{
	errno = 0;
	if (getpwnam(name))
		return EX_OK;
	ctl_complain(name, hint);
	return EX_NOUSER;
}

static int
check_readable(const json_t *facts, const char *folder, const char *file)
{
	struct buf path = buf_bounded(PATH_SIZE);
	int code = EX_OK;

	house_path(facts, folder, file, &path);
	if (access(buf_string(&path), R_OK) != 0) {
		ctl_complain(buf_string(&path),
		    "is not there: is Postcell installed? see --prefix");
		code = EX_UNAVAILABLE;
	}
	buf_free(&path);
	return code;
}

/* What only a provider needs. */
static int
check_provider(const json_t *facts)
{
	int code = tool_check(tools, ARRAY_SIZE(tools));

	if (code == EX_OK)
		code = stage_check(facts_get(facts, "data"));
	if (code == EX_OK && geteuid() == 0)
		code = check_user(SLAPD_USER,
		    "there is no such user: package slapd makes it");
	if (code == EX_OK && geteuid() == 0)
		code = check_user(facts_get(facts, "auth_user"),
		    "there is no such user: systemd-sysusers makes it");
	return code;
}

int
house_check(const json_t *facts)
{
	int code = facts_is_kdc(facts) ? EX_OK : check_provider(facts);

	if (code == EX_OK)
		code =
		    check_readable(facts, "share", "templates/slapd.conf.in");
	if (code == EX_OK)
		code = check_readable(
		    facts, "heimdal_modules", "kdc/postcell_hdb.so");
	if (code == EX_OK)
		code = stage_check(facts_get(facts, "etc"));
	if (code == EX_OK && geteuid() == 0)
		code = check_user(facts_get(facts, "user"),
		    "there is no such user: systemd-sysusers makes it, --user "
		    "names another");
	return code;
}

/* ---- steps ---- */

/* The same facts, for where things are while they are made. */
static json_t *
staged_facts(const struct house *house)
{
	json_t *staged = json_deep_copy(house->facts);
	struct buf socket = buf_bounded(PATH_SIZE),
		   uri = buf_bounded(PATH_SIZE);
	const char *work = buf_string(&house->work);

	if (!staged)
		abort();
	facts_set(staged, "etc", buf_string(&house->etc.path));
	facts_set(staged, "data", buf_string(&house->data.path));
	facts_set(staged, "run", work);
	facts_set(staged, "slapd_run", work);
	(void)buf_printf(&socket, "%s/ldapi", work);
	template_replace(
	    &uri, buf_slice(&socket), slice_from("/"), slice_from("%2F"));
	facts_set(staged, "socket", buf_string(&socket));
	facts_set(staged, "socket_path", buf_string(&uri));
	facts_fill(staged, "local_uri", "ldapi://${socket_path}");
	facts_set(staged, "work", work);
	facts_fill(staged, "uris", "${local_uri}");
	facts_set(staged, "peers", ""); /* it follows nobody yet */
	house_complete(staged);
	buf_free(&socket);
	buf_free(&uri);
	return staged;
}

static int
make_folders(const struct house *house)
{
	static const struct {
		const char *folder, *name;
		mode_t mode;
		bool kdc; /* a KDC alone has it as well */
	} rows[] = {
		{ "etc", "tls", 0755, true },
		{ "etc", "slapd.d", 0700, false },
		{ "data", "db", 0700, false },
		{ "data", "log", 0700, false },
	};
	struct buf path = buf_bounded(PATH_SIZE);
	int code = EX_OK;

	for (size_t i = 0; i < ARRAY_SIZE(rows) && code == EX_OK; i++) {
		if (facts_is_kdc(house->facts) && !rows[i].kdc)
			continue;
		buf_clear(&path);
		house_path(house->staged, rows[i].folder, rows[i].name, &path);
		code = file_make_folder(buf_string(&path), rows[i].mode);
	}
	buf_free(&path);
	return code;
}

int
house_open(struct house *house, void *context)
{
	int code = stage_open(&house->etc, facts_get(house->facts, "etc"));

	(void)context;
	if (code == EX_OK && !facts_is_kdc(house->facts))
		code =
		    stage_open(&house->data, facts_get(house->facts, "data"));
	if (code == EX_OK)
		code = file_make_work(&house->work);
	if (code != EX_OK)
		return code;
	house_complete(house->facts);
	house->staged = staged_facts(house);
	return make_folders(house);
}

/* ---- into place ---- */

/* Only root has something to give away. */
static int
give_rows(const struct house *house)
{
	const struct passwd *user = getpwnam(SLAPD_USER);
	struct buf path = buf_bounded(PATH_SIZE);
	int code = EX_OK;

	if (house->is_run_new && user)
		code = file_give(facts_get(house->facts, "slapd_run"),
		    user->pw_uid, user->pw_gid);
	for (size_t i = 0; i < ARRAY_SIZE(owner_rows) && user && code == EX_OK;
	     i++) {
		buf_clear(&path);
		house_path(house->facts, owner_rows[i].folder,
		    owner_rows[i].name, &path);
		if (access(buf_string(&path), F_OK) == 0)
			code = file_give(
			    buf_string(&path), user->pw_uid, user->pw_gid);
	}
	buf_free(&path);
	return code;
}

/* What a package makes at each boot, where there is none: for now. */
static int
make_spare(struct house *house)
{
	static const char *const names[] = { "run", "empty", "slapd_run" };
	struct buf path = buf_bounded(PATH_SIZE);
	int code = EX_OK;

	for (size_t i = 0; i < ARRAY_SIZE(names) && code == EX_OK; i++) {
		const char *target = facts_get(house->facts, names[i]);

		if (access(target, F_OK) == 0)
			continue;
		code = stage_open(&house->spare[i], target);
		if (code == EX_OK)
			code = stage_place(&house->spare[i], 0755);
		house->is_run_new = strcmp(names[i], "slapd_run") == 0;
	}
	(void)buf_add_string(&path, facts_get(house->facts, "lockout"));
	if (code == EX_OK && access(buf_string(&path), F_OK) != 0)
		code = file_write(buf_string(&path), 0660, slice_from(""));
	buf_free(&path);
	return code;
}

/*
 * slapd writes its configuration only where its databases are where it says:
 * so that comes last, and what was placed is taken back if it fails.
 */
int
house_put_in_place(struct house *house, void *context)
{
	int code = make_spare(house);
	bool is_whole = !facts_is_kdc(house->facts);

	(void)context;
	if (code == EX_OK && is_whole)
		code = stage_place(&house->data, 0700);
	if (code == EX_OK)
		code = stage_place(&house->etc, 0755);
	if (code == EX_OK && is_whole)
		code = house_write_config(house);
	if (code == EX_OK && geteuid() == 0)
		code = give_rows(house);
	return code;
}

/* ---- the whole ---- */

static void
close_house(struct house *house, bool keep)
{
	tool_stop(&house->slapd);
	for (size_t i = 0; i < ARRAY_SIZE(house->spare); i++)
		stage_close(&house->spare[i], keep);
	stage_close(&house->data, keep);
	stage_close(&house->etc, keep);
	if (house->work.size > 0)
		file_remove(buf_string(&house->work));
	buf_free(&house->work);
	json_decref(house->staged);
	house->staged = NULL;
}

int
house_build(struct house *house, const struct house_step_row *steps,
    size_t count, void *context)
{
	int code = EX_OK;

	stage_hold_signals();
	for (size_t i = 0; i < count && code == EX_OK; i++) {
		code = stage_check_signals();
		if (code == EX_OK && !house->ctl->json)
			(void)fprintf(stderr, "%s\n", steps[i].does);
		if (code == EX_OK)
			code = steps[i].run(house, context);
	}
	if (code == EX_OK)
		code = stage_check_signals();
	close_house(house, code == EX_OK);
	return code;
}
