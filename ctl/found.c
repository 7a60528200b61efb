#include "ctl/found.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/advice.h"
#include "ctl/authority.h"
#include "ctl/directory.h"
#include "ctl/facts.h"
#include "ctl/file.h"
#include "ctl/house.h"
#include "ctl/output.h"
#include "ctl/random.h"
#include "ctl/secret.h"
#include "lib/password.h"

#define PATH_SIZE 4096

/* What the steps share besides the house. */
struct founding {
	struct buf password; /* of the administrator */
};

/* ---- steps ---- */

static int
make_certificates(struct house *house, void *context)
{
	const json_t *facts = house->facts;
	struct buf folder = buf_bounded(PATH_SIZE);
	const char *tls;
	int code;

	(void)context;
	house_path(house->staged, "etc", "tls", &folder);
	tls = buf_string(&folder);
	code = authority_make(tls, facts_get(facts, "domain"));
	if (code == EX_OK)
		code = authority_certify(
		    tls, tls, "slapd", facts_get(facts, "host"));
	if (code == EX_OK)
		code = authority_certify(
		    tls, tls, "mail", facts_get(facts, "mail_host"));
	buf_free(&folder);
	return code;
}

static int
make_master_key(struct house *house, void *context)
{
	struct buf word = buf_bounded(PATH_SIZE);
	struct buf krb5 = buf_bounded(PATH_SIZE);
	int code;

	(void)context;
	(void)buf_add_string(&word, "--key-file=");
	house_path(house->staged, "etc", "master.key", &word);
	house_path(house->staged, "etc", "slapd-krb5.conf", &krb5);
	code = tool_run(&(struct tool){ .name = "kstash",
	    .words = { "--random-key", "--enctype=aes256-cts-hmac-sha1-96",
		buf_string(&word) },
	    .krb5_config = buf_string(&krb5) });
	buf_free(&word);
	buf_free(&krb5);
	return code;
}

static int
write_proxyd(struct house *house, void *context)
{
	struct buf text = buf_bounded(FACTS_TEXT_MAX);
	int code = house_fill(house->facts, "proxyd.conf.in", &text);

	(void)context;
	if (code == EX_OK)
		code =
		    house_write(house, "proxyd.conf", 0644, buf_slice(&text));
	buf_free(&text);
	return code;
}

/* The entry of the suffix, by the kind of its name. */
static void
set_suffix_entry(json_t *facts)
{
	struct slice suffix = slice_from(facts_get(facts, "suffix"));
	struct slice rdn = slice_first(suffix, slice_find(suffix, ','));
	size_t equals = slice_find(rdn, '=');
	struct slice value = slice_from_offset(rdn, equals + 1);
	struct buf text = buf_bounded(PATH_SIZE);
	const char *format =
	    "objectClass: dcObject\nobjectClass: organization\n"
	    "dc: %.*s\no: ${domain}";

	if (slice_starts_nocase(rdn, "o="))
		format = "objectClass: organization\no: %.*s";
	else if (slice_starts_nocase(rdn, "ou="))
		format = "objectClass: organizationalUnit\nou: %.*s";
	for (const char *c = format; *c; c++)
		if (slice_starts_nocase(slice_from(c), "%.*s")) {
			(void)buf_add_slice(&text, value);
			c += 3;
		} else {
			(void)buf_add_char(&text, *c);
		}
	facts_fill(facts, "suffix_entry", buf_string(&text));
	buf_free(&text);
}

static int
load_tree(struct house *house, void *context)
{
	struct buf ldif = buf_bounded(FACTS_TEXT_MAX);
	int code;

	(void)context;
	set_suffix_entry(house->facts);
	code = house_fill(house->facts, "cell.ldif.in", &ldif);
	if (code == EX_OK)
		code = house_fill(house->facts, "host.ldif.in", &ldif);
	if (code == EX_OK)
		code = house_fill(house->facts, "proxy.ldif.in", &ldif);
	if (code == EX_OK)
		code = house_load(house, buf_slice(&ldif));
	buf_wipe(&ldif);
	return code;
}

/* krbtgt, kadmin and whatever else Heimdal makes for a realm. */
static int
make_realm(struct house *house, void *context)
{
	struct buf text = buf_bounded(FACTS_TEXT_MAX);
	struct buf path = buf_bounded(PATH_SIZE);
	int code = house_fill_file(house->staged, "kdc.conf", &text);

	(void)context;
	house_path(house->staged, "work", "kdc.conf", &path);
	if (code == EX_OK)
		code = file_write(buf_string(&path), 0600, buf_slice(&text));
	if (code == EX_OK)
		code = tool_run(&(struct tool){ .name = "kadmin",
		    .words = { "-c", buf_string(&path), "-l", "init",
			"--realm-max-ticket-life=1d",
			"--realm-max-renewable-life=1w",
			facts_get(house->facts, "realm") },
		    .krb5_config = buf_string(&path) });
	buf_free(&text);
	buf_free(&path);
	return code;
}

/* The directory that is being made, as its administrator by its socket. */
static int
open_directory(struct house *house, struct directory **directory)
{
	const char *uri = house_uri(house);
	struct config_directory config = { .uris = { &uri, 1 },
		.suffix = facts_get(house->facts, "suffix"),
		.bind = CONFIG_BIND_EXTERNAL,
		.tls = CONFIG_TLS_NONE };
	struct ctl ctl = { .directory = &config };

	return directory_open(directory, &ctl);
}

static int
set_password(struct house *house, void *context)
{
	struct founding *founding = context;
	struct directory *directory = NULL;
	int code = open_directory(house, &directory);

	if (code == EX_OK)
		code = directory_exit(directory,
		    directory_password(directory,
			slice_from(facts_get(house->facts, "admin_dn")),
			buf_slice(&founding->password)));
	directory_free(&directory);
	if (code == EX_OK && house->ctl->options.generate) {
		(void)buf_add_char(&founding->password, '\n');
		code = house_write(house, "admin.password", 0600,
		    buf_slice(&founding->password));
	}
	return code;
}

static const struct house_step_row steps[] = {
	{ "making folders", house_open },
	{ "making certificates", make_certificates },
	{ "writing configuration", house_write_files },
	{ "writing the proxy's configuration", write_proxyd },
	{ "making the master key", make_master_key },
	{ "filling the directory", load_tree },
	{ "starting slapd for it alone", house_start_slapd },
	{ "making the realm's principals", make_realm },
	{ "setting the administrator's password", set_password },
	{ "stopping slapd", house_stop_slapd },
	{ "putting all in place", house_put_in_place },
};

static int
tell(const struct ctl *ctl, const json_t *facts)
{
	if (ctl->json)
		return output_json(json_pack("{s:s, s:s, s:s}", "done", "made",
		    "etc", facts_get(facts, "etc"), "data",
		    facts_get(facts, "data")));
	printf("The cell is made: %s, %s.\n\n", facts_get(facts, "etc"),
	    facts_get(facts, "data"));
	if (ctl->options.generate)
		printf("The administrator's password is in %s/admin.password: "
		       "change it, and remove the file.\n\n",
		    facts_get(facts, "etc"));
	advice_first(facts);
	return EX_OK;
}

static int
take_password(
    struct founding *founding, const struct ctl *ctl, const json_t *facts)
{
	founding->password = buf_bounded(PASSWORD_SIZE_MAX + 2);
	if (!ctl->options.generate)
		return secret_read(
		    &founding->password, facts_get(facts, "admin"));
	random_password(&founding->password);
	return EX_OK;
}

int
ctl_cell_init(const struct ctl *ctl, int count, char **words)
{
	struct house house = { .ctl = ctl };
	struct founding founding = { .password = buf_bounded(0) };
	int code = facts_ask(&house.facts, ctl);

	(void)count;
	(void)words;
	if (code == EX_OK)
		code = house_check(house.facts);
	if (code == EX_OK && ctl->options.dry_run) {
		house_preview(house.facts);
		json_decref(house.facts);
		return EX_OK;
	}
	if (code == EX_OK)
		code = take_password(&founding, ctl, house.facts);
	if (code == EX_OK) {
		house_make_secrets(house.facts);
		code = house_build(&house, steps, ARRAY_SIZE(steps), &founding);
	}
	if (code == EX_OK)
		code = tell(ctl, house.facts);
	buf_wipe(&founding.password);
	json_decref(house.facts);
	return code;
}
