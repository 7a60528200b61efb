#include "ctl/house.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/facts.h"
#include "ctl/file.h"
#include "ctl/template.h"

#define PATH_SIZE 4096
#define LINE_SIZE 1024

/* ---- names that templates have ---- */

struct pair {
	const char *name, *text;
};

static const struct pair pairs[] = {
	{ "id", "${number}" },
	{ "hdb_schema", "/etc/ldap/schema/hdb.schema" },
	{ "schemas", "${share}/schema" },
	{ "ca", "${etc}/tls/ca.pem" },
	{ "certificate", "${etc}/tls/slapd.pem" },
	{ "key", "${etc}/tls/slapd.key" },
	{ "master_key", "${etc}/master.key" },
	{ "lockout", "${run}/lockout" },
	{ "size", "4294967296" }, /* of files that grow as they are filled */
	{ "map_size", "4096" },
	{ "lockout_limit", "20" },
	{ "admin_dn", "uid=${admin},ou=people,${suffix}" },
	{ "root_password", "" },
	{ "kdc", "${host}:${kdc_port}" },
};

/* An address of its own is all that a host of that name listens on. */
static void
set_listen(json_t *facts)
{
	struct in6_addr address;
	const char *host = facts_get(facts, "host");
	bool own = inet_pton(AF_INET, host, &address) == 1;
	const char *port = strrchr(facts_get(facts, "uri"), ':');

	facts_set(facts, "port", port[1] == '/' ? "" : port);

	facts_fill(facts, "listen",
	    own ? "\taddresses = ${host}\n\tports = ${kdc_port}"
		: "\tports = ${kdc_port}");
	/* A host's own name often leads to loopback on itself. */
	facts_fill(facts, "listen_uri",
	    own              ? "${uri}/"
	    : port[1] == '/' ? "ldap:///"
			     : "ldap://0.0.0.0${port}/ ldap://[::]${port}/");
}

/*
 * Root of this host, and who makes the cell, is its administrator. Debian
 * starts no slapd without a pidfile.
 */
static void
set_administration(json_t *facts)
{
	struct buf text = buf_bounded(PATH_SIZE);

	(void)buf_printf(&text,
	    "pidfile ${slapd_run}/slapd.pid\n"
	    "argsfile ${slapd_run}/slapd.args\n"
	    "authz-regexp gidNumber=%u[+]uidNumber=%u,cn=peercred,"
	    "cn=external,cn=auth \"${admin_dn}\"\n"
	    "database config\nrootdn \"${admin_dn}\"\n",
	    (unsigned)getegid(), (unsigned)geteuid());
	facts_fill(facts, "administration", buf_string(&text));
	buf_free(&text);
}

static void
set_uris(json_t *facts)
{
	struct slice rest = slice_from(facts_get(facts, "uris")), uri;
	struct buf quoted = buf_bounded(FACTS_TEXT_MAX);

	while (slice_next_word(&rest, ' ', &uri))
		(void)buf_printf(&quoted, "%s\"%.*s\"",
		    quoted.size > 0 ? ", " : "", SLICE_ARGS(uri));
	facts_set(facts, "quoted_uris", buf_string(&quoted));
	facts_set(facts, "providers", buf_string(&quoted));
	buf_free(&quoted);
}

void
house_complete(json_t *facts)
{
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		facts_fill(facts, pairs[i].name, pairs[i].text);
	set_listen(facts);
	set_administration(facts);
	set_uris(facts);
}

/* ---- its configuration ---- */

/* By the facts of a place; `file` gets the path of the slapd.conf. */
static int
write_conf(struct house *house, const json_t *place, const char *name,
    struct buf *file)
{
	json_t *facts = json_deep_copy(place);
	struct buf text = buf_bounded(FACTS_TEXT_MAX);
	int code;

	house_complete(facts);
	facts_fill(facts, "policy",
	    "\noverlay ppolicy\n"
	    "ppolicy_default \"cn=default,ou=policies,${suffix}\"\n");
	code = house_fill(facts, "slapd.conf.in", &text);
	(void)buf_printf(file, "%s/%s", buf_string(&house->work), name);
	if (code == EX_OK)
		code = file_write(buf_string(file), 0600, buf_slice(&text));
	buf_wipe(&text);
	json_decref(facts);
	return code;
}

/* By the template. */
static int
convert(struct house *house, const char *folder, const char *krb5)
{
	struct buf file = buf_bounded(PATH_SIZE);
	int code = write_conf(house, house->facts, "final.conf", &file);

	if (code == EX_OK)
		code = tool_run(&(struct tool){ .name = "slaptest",
		    .words = { "-f", buf_string(&file), "-F", folder },
		    .krb5_config = krb5 });
	buf_free(&file);
	return code;
}

/* As it was. */
static int
load_config(struct slice config, const char *folder, const char *krb5)
{
	return tool_run(&(struct tool){ .name = "slapadd",
	    .words = { "-n", "0", "-F", folder },
	    .input = config,
	    .krb5_config = krb5 });
}

int
house_write_config(struct house *house)
{
	struct buf folder = buf_bounded(PATH_SIZE);
	struct buf krb5 = buf_bounded(PATH_SIZE);
	int code;

	house_path(house->facts, "etc", "slapd.d", &folder);
	house_path(house->facts, "etc", "slapd-krb5.conf", &krb5);
	code = house->config.size > 0
		   ? load_config(buf_slice(&house->config), buf_string(&folder),
			 buf_string(&krb5))
		   : convert(house, buf_string(&folder), buf_string(&krb5));
	buf_free(&folder);
	buf_free(&krb5);
	return code;
}

/* ---- one for us alone ---- */

/* cn=config without whom it follows, for where things are meanwhile. */
static void
stage_config(const struct house *house, struct buf *out)
{
	static const char *const names[] = { "etc", "data", "run" };
	struct buf moved = buf_bounded(FILE_SIZE_MAX);
	struct slice rest, line;

	(void)buf_add_slice(&moved, buf_slice(&house->config));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		template_move(&moved, facts_get(house->facts, names[i]),
		    facts_get(house->staged, names[i]));
	rest = buf_slice(&moved);
	while (rest.size > 0) {
		size_t end = slice_find(rest, '\n');

		line = slice_first(rest, end == SIZE_MAX ? end : end + 1);
		rest = slice_from_offset(rest, line.size);
		if (!slice_starts_nocase(line, "olcSyncrepl:") &&
		    !slice_starts_nocase(line, "olcMultiProvider:"))
			(void)buf_add_slice(out, line);
	}
	buf_wipe(&moved);
}

/*
 * What slapd is told to read it from, -f or -F, and its path; it is written
 * when it is needed first.
 */
static int
find_conf(struct house *house, const char **word, struct buf *path)
{
	bool restores = house->config.size > 0;
	struct buf config = buf_bounded(FILE_SIZE_MAX);
	struct buf krb5 = buf_bounded(PATH_SIZE);
	int code = EX_OK;

	*word = restores ? "-F" : "-f";
	house_path(
	    house->staged, "work", restores ? "slapd.d" : "slapd.conf", path);
	house_path(house->staged, "etc", "slapd-krb5.conf", &krb5);
	if (access(buf_string(path), R_OK) == 0) {
		code = EX_OK;
	} else if (restores) {
		stage_config(house, &config);
		code = file_make_folder(buf_string(path), 0700);
		if (code == EX_OK)
			code = load_config(buf_slice(&config), buf_string(path),
			    buf_string(&krb5));
	} else {
		buf_clear(path);
		code = write_conf(house, house->staged, "slapd.conf", path);
	}
	buf_wipe(&config);
	buf_free(&krb5);
	return code;
}

/* `more`: words that go with where the entries come from. */
static int
load(struct house *house, const char *const more[2], struct slice input)
{
	struct buf file = buf_bounded(PATH_SIZE);
	struct buf krb5 = buf_bounded(PATH_SIZE);
	const char *word;
	int code = find_conf(house, &word, &file);

	house_path(house->staged, "etc", "slapd-krb5.conf", &krb5);
	if (code == EX_OK)
		code = tool_run(&(struct tool){ .name = "slapadd",
		    .words = { "-q", "-S", facts_get(house->facts, "number"),
			word, buf_string(&file), "-b",
			facts_get(house->facts, "suffix"), more[0], more[1] },
		    .input = input,
		    .krb5_config = buf_string(&krb5) });
	buf_free(&file);
	buf_free(&krb5);
	return code;
}

int
house_load(struct house *house, struct slice ldif)
{
	return load(house, (const char *const[]){ "-w", NULL }, ldif);
}

int
house_load_file(struct house *house, const char *path)
{
	return load(house, (const char *const[]){ "-l", path }, slice_from(""));
}

const char *
house_uri(const struct house *house)
{
	return facts_get(house->staged, "local_uri");
}

int
house_start_slapd(struct house *house, void *context)
{
	struct buf file = buf_bounded(PATH_SIZE);
	struct buf krb5 = buf_bounded(PATH_SIZE);
	struct buf log = buf_bounded(PATH_SIZE);
	const char *word;
	int code = find_conf(house, &word, &file);

	(void)context;
	house_path(house->staged, "etc", "slapd-krb5.conf", &krb5);
	house_path(house->staged, "work", "slapd.log", &log);
	if (code == EX_OK)
		code = tool_start(&house->slapd,
		    &(struct tool){ .name = "slapd",
			.words = { word, buf_string(&file), "-h",
			    house_uri(house), "-d", "none" },
			.krb5_config = buf_string(&krb5) },
		    buf_string(&log), facts_get(house->staged, "socket"));
	buf_free(&file);
	buf_free(&krb5);
	buf_free(&log);
	return code;
}

int
house_stop_slapd(struct house *house, void *context)
{
	(void)context;
	tool_stop(&house->slapd);
	return EX_OK;
}
