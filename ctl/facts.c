#include "ctl/facts.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <ldap.h>

#include "ctl/file.h"
#include "ctl/template.h"
#include "lib/name.h"

#define LINE_MAX_SIZE 1024
#define PATH_SIZE     4096
#define PORT_MAX      65535
#define UID_MAX       64
#define USER_STANDARD "postcell"

/* ---- the object ---- */

const char *
facts_get(const json_t *facts, const char *name)
{
	const char *text = json_string_value(json_object_get(facts, name));

	return text ? text : "";
}

void
facts_set(json_t *facts, const char *name, const char *text)
{
	if (json_object_set_new(facts, name, json_string(text)) < 0)
		abort();
}

void
facts_fill(json_t *facts, const char *name, const char *text)
{
	struct buf value = buf_bounded(FACTS_TEXT_MAX);
	struct buf why = buf_bounded(FACTS_TEXT_MAX);

	if (template_fill(&value, slice_from(text), facts, &why) < 0)
		abort();
	facts_set(facts, name, buf_string(&value));
	buf_free(&value);
	buf_free(&why);
}

/* ---- what is a good one ---- */

/* Letters of all that goes into slapd.conf, regular expressions and shells. */
static bool
is_plain(const char *text, const char *more)
{
	for (; *text; text++)
		if (!isascii((unsigned char)*text) ||
		    (!isalnum((unsigned char)*text) && !strchr(more, *text)))
			return false;
	return true;
}

static const char *
realm_fault(const char *realm)
{
	for (const char *c = realm; *c; c++)
		if (islower((unsigned char)*c))
			return "a realm is written in capitals";
	return name_is_host(slice_from(realm))
		   ? NULL
		   : "a realm looks like a domain in capitals, EXAMPLE.ORG";
}

static const char *
domain_fault(const char *domain)
{
	return name_is_host(slice_from(domain)) && strchr(domain, '.')
		   ? NULL
		   : "a mail domain looks like example.org";
}

static bool
is_plain_rdn(LDAPRDN rdn, bool first)
{
	static const char *const types[] = { "dc", "o", "ou", "c", "l", "st" };
	const LDAPAVA *ava = rdn[0];
	bool known = false;

	for (size_t i = 0; i < (first ? 3 : ARRAY_SIZE(types)); i++)
		known = known || slice_is_nocase(slice_of(ava->la_attr.bv_val,
						     ava->la_attr.bv_len),
				     types[i]);
	return known && !rdn[1] && ava->la_value.bv_len > 0 &&
	       is_plain(ava->la_value.bv_val, " -._");
}

static const char *
suffix_fault(const char *suffix)
{
	LDAPDN dn = NULL;
	char *same = NULL;
	bool good =
	    ldap_str2dn(suffix, &dn, LDAP_DN_FORMAT_LDAPV3) == LDAP_SUCCESS &&
	    dn;

	for (size_t i = 0; good && dn[i]; i++)
		good = is_plain_rdn(dn[i], i == 0);
	/* Spelled as the directory spells it, for it is compared. */
	good = good &&
	       ldap_dn2str(dn, &same, LDAP_DN_FORMAT_LDAPV3) == LDAP_SUCCESS &&
	       strcmp(same, suffix) == 0;
	ldap_memfree(same);
	ldap_dnfree(dn);
	return good ? NULL
		    : "a suffix looks like dc=example,dc=org, or begins with "
		      "o= or ou=; of letters, digits, spaces and -._";
}

const char *
facts_name_fault(const char *name)
{
	return name_is_host(slice_from(name))
		   ? NULL
		   : "a name is made of letters, digits, hyphens and dots";
}

static const char *
admin_fault(const char *admin)
{
	return admin[0] && strlen(admin) <= UID_MAX && is_plain(admin, "._-") &&
		       admin[0] != '-'
		   ? NULL
		   : "a uid of letters, digits and ._- is wanted";
}

const char *
facts_uri_fault(const char *uri)
{
	static const char wanted[] =
	    "a URI looks like ldap://ldap1.example.org, a port may follow";
	LDAPURLDesc *parts = NULL;
	bool good = is_plain(uri, ":/.-") && ldap_url_parse(uri, &parts) == 0;

	good = good && strcmp(parts->lud_scheme, "ldap") == 0 &&
	       parts->lud_host && parts->lud_host[0] &&
	       (!parts->lud_dn || !parts->lud_dn[0]) &&
	       uri[strlen(uri) - 1] != '/';
	ldap_free_urldesc(parts);
	return good ? NULL : wanted;
}

static const char kdc_scheme[] = "kerberos://";

const char *
facts_member_fault(const char *uri)
{
	struct slice text = slice_from(uri);

	if (!slice_starts_nocase(text, kdc_scheme))
		return facts_uri_fault(uri);
	return name_is_host(slice_from_offset(text, strlen(kdc_scheme)))
		   ? NULL
		   : "a URI of a KDC looks like kerberos://kdc1.example.org";
}

bool
facts_is_kdc(const json_t *facts)
{
	return slice_starts_nocase(
	    slice_from(facts_get(facts, "uri")), kdc_scheme);
}

static const char *
port_fault(const char *port)
{
	uint64_t number;

	return slice_to_uint(slice_from(port), PORT_MAX, &number) == 0 &&
		       number > 0
		   ? NULL
		   : "a port is a number of 1 to 65535";
}

/* ---- what it is when nobody says anything ---- */

/* The name of this machine, where it is one that others can use. */
static void
guess_uri(const json_t *facts, struct buf *out)
{
	char name[256] = "";

	(void)facts;
	if (gethostname(name, sizeof(name) - 1) == 0 && strchr(name, '.') &&
	    name_is_host(slice_from(name)))
		(void)buf_printf(out, "ldap://%s", name);
}

static void
guess_name(const json_t *facts, struct buf *out)
{
	const char *host = facts_get(facts, "host");
	struct in_addr address;

	if (inet_pton(AF_INET, host, &address) != 1)
		(void)buf_add_slice(
		    out, slice_first(slice_from(host),
			     slice_find(slice_from(host), '.')));
}

static void
guess_domain(const json_t *facts, struct buf *out)
{
	const char *host = facts_get(facts, "host");
	const char *dot = strchr(host, '.');
	struct in_addr address;

	if (dot && strchr(dot + 1, '.') &&
	    inet_pton(AF_INET, host, &address) != 1)
		(void)buf_add_string(out, dot + 1);
}

static void
guess_realm(const json_t *facts, struct buf *out)
{
	for (const char *c = facts_get(facts, "domain"); *c; c++)
		(void)buf_add_char(out, (char)toupper((unsigned char)*c));
}

static void
guess_suffix(const json_t *facts, struct buf *out)
{
	struct slice rest = slice_from(facts_get(facts, "domain")), label;

	while (slice_next_word(&rest, '.', &label))
		(void)buf_printf(out, "%sdc=%.*s", out->size > 0 ? "," : "",
		    SLICE_ARGS(label));
}

static void
guess_mail_host(const json_t *facts, struct buf *out)
{
	(void)buf_printf(out, "mail.%s", facts_get(facts, "domain"));
}

/* ---- asking ---- */

struct row {
	const char *name, *option, *question; /* question: NULL: never asked */
	size_t offset;                        /* in struct ctl_options */
	const char *standard;                 /* or NULL */
	void (*guess)(const json_t *facts, struct buf *out); /* or NULL */
	const char *(*fault)(const char *text);
};

#define OPTION(field) offsetof(struct ctl_options, field)

static const struct row rows[] = {
	{ "uri", "--uri", "URI of this directory server", OPTION(uri), NULL,
	    guess_uri, facts_uri_fault },
	{ "name", "--name", "Name of this host in the cell", OPTION(name), NULL,
	    guess_name, facts_name_fault },
	{ "domain", "--domain", "Mail domain", OPTION(domain), NULL,
	    guess_domain, domain_fault },
	{ "realm", "--realm", "Kerberos realm", OPTION(realm), NULL,
	    guess_realm, realm_fault },
	{ "suffix", "--suffix", "Suffix of the directory", OPTION(suffix), NULL,
	    guess_suffix, suffix_fault },
	{ "admin", "--admin", "uid of the administrator", OPTION(admin),
	    "admin", NULL, admin_fault },
	{ "mail_host", "--mail-host", "Name that mail programs connect to",
	    OPTION(mail_host), NULL, guess_mail_host, domain_fault },
	{ "kdc_port", "--kdc-port", NULL, OPTION(kdc_port), "88", NULL,
	    port_fault },
	{ "kpasswd_port", "--kpasswd-port", NULL, OPTION(kpasswd_port), "464",
	    NULL, port_fault },
	{ "user", "--user", NULL, OPTION(user), USER_STANDARD, NULL,
	    admin_fault },
};

/* A line of the terminal; empty: the guess it is. */
static void
ask(const struct row *row, struct buf *guess)
{
	char line[LINE_MAX_SIZE];
	struct slice answer;

	(void)fprintf(stderr, "%s [%s]: ", row->question, buf_string(guess));
	if (!fgets(line, sizeof(line), stdin))
		return;
	answer = slice_from(line);
	answer = slice_trim(slice_first(answer, slice_find(answer, '\n')));
	if (answer.size > 0) {
		buf_clear(guess);
		(void)buf_add_slice(guess, answer);
	}
}

static int
take_row(json_t *facts, const struct row *row, const struct ctl *ctl)
{
	const char *given;
	const char *fault;
	struct buf text = buf_bounded(LINE_MAX_SIZE);

	memcpy(
	    &given, (const char *)&ctl->options + row->offset, sizeof(given));
	if (given)
		(void)buf_add_string(&text, given);
	else if (row->guess)
		row->guess(facts, &text);
	else
		(void)buf_add_string(&text, row->standard);
	if (!given && row->question && isatty(STDIN_FILENO) == 1)
		ask(row, &text);
	fault = text.size == 0 ? "is missing" : row->fault(buf_string(&text));
	if (fault) {
		struct buf what = buf_bounded(FACTS_TEXT_MAX);

		(void)buf_printf(
		    &what, "%s %s", row->option, buf_string(&text));
		ctl_complain(buf_string(&what), fault);
		buf_free(&what);
	} else {
		facts_set(facts, row->name, buf_string(&text));
	}
	buf_free(&text);
	return fault ? EX_USAGE : EX_OK;
}

/* Behind the scheme, up to a port. */
void
facts_set_host(json_t *facts)
{
	struct slice uri = slice_from(facts_get(facts, "uri"));
	struct slice rest =
	    slice_from_offset(uri, slice_find(uri, '/') + strlen("//"));
	struct buf host = buf_bounded(PATH_SIZE);

	(void)buf_add_slice(&host, slice_first(rest, slice_find(rest, ':')));
	facts_set(facts, "host", buf_string(&host));
	buf_free(&host);
}

int
facts_ask(json_t **out, const struct ctl *ctl)
{
	json_t *facts = json_object();
	int code = facts_set_place(facts, ctl);

	for (size_t i = 0; i < ARRAY_SIZE(rows) && code == EX_OK; i++) {
		code = take_row(facts, &rows[i], ctl);
		if (code == EX_OK && strcmp(rows[i].name, "uri") == 0)
			facts_set_host(facts);
	}
	facts_set(facts, "number", "1");
	facts_set(facts, "peers", "");
	if (code == EX_OK) {
		facts_fill(facts, "uris", "${uri}");
		facts_fill(facts, "kdcs", FACTS_KDC);
	}
	*out = code == EX_OK ? facts : NULL;
	if (code == EX_OK)
		facts_set_users(facts, facts_get(facts, "user"));
	else
		json_decref(facts);
	return code;
}

/* Packages make two; whoever names another one has one for both. */
void
facts_set_users(json_t *facts, const char *user)
{
	facts_set(facts, "auth_user",
	    strcmp(user, USER_STANDARD) == 0 ? USER_STANDARD "-auth" : user);
	/* The last one, for it may be borrowed from there. */
	facts_set(facts, "user", user);
}

/* ---- where things are ---- */

/* As in a URI of a socket. */
static void
add_escaped(struct buf *out, const char *path)
{
	for (; *path; path++)
		if (*path == '/')
			(void)buf_add_string(out, "%2F");
		else
			(void)buf_add_char(out, *path);
}

int
facts_set_place(json_t *facts, const struct ctl *ctl)
{
	const char *root = ctl->options.root ? ctl->options.root : "";
	const char *prefix = ctl->options.prefix;
	struct buf uri = buf_bounded(PATH_SIZE);

	if ((root[0] && (root[0] != '/' || !is_plain(root, "/._-") ||
			    root[strlen(root) - 1] == '/')) ||
	    (prefix && (prefix[0] != '/' || !is_plain(prefix, "/._-")))) {
		ctl_complain("--root, --prefix",
		    "an absolute path of letters, digits and ._- is wanted");
		return EX_USAGE;
	}
	facts_set(facts, "root", root);
	facts_fill(facts, "etc", "${root}" POSTCELL_SYSCONFDIR);
	facts_fill(facts, "state", "${root}" POSTCELL_STATEDIR);
	facts_fill(facts, "data", "${state}/ldap");
	facts_fill(facts, "empty", "${state}/empty");
	facts_fill(facts, "run", "${root}" POSTCELL_RUNDIR);
	facts_fill(facts, "log", "${root}/var/log");
	facts_fill(facts, "slapd_run", "${root}/var/run/slapd");
	facts_fill(facts, "socket", "${slapd_run}/ldapi");
	add_escaped(&uri, facts_get(facts, "socket"));
	facts_set(facts, "socket_path", buf_string(&uri));
	facts_fill(facts, "local_uri",
	    root[0] ? "ldapi://${socket_path}" : "ldapi:///");
	buf_free(&uri);
	facts_set(facts, "prefix", prefix ? prefix : "");
	facts_fill(facts, "share",
	    prefix ? "${prefix}/share/postcell" : POSTCELL_DATADIR);
	facts_fill(facts, "modules",
	    prefix ? "/usr/lib/ldap:${prefix}/lib/ldap"
		   : "/usr/lib/ldap:" POSTCELL_SLAPDMODULEDIR);
	facts_fill(facts, "heimdal_modules",
	    prefix ? "${prefix}/lib/postcell" : POSTCELL_MODULEDIR);
	return EX_OK;
}

/* ---- what is kept ---- */

static const char *const kept_names[] = { "realm", "domain", "suffix", "admin",
	"name", "uri", "host", "number", "kdc_port", "kpasswd_port",
	"mail_host", "user", "auth_user", "root", "prefix", "uris", "kdcs" };

json_t *
facts_kept(const json_t *facts)
{
	json_t *kept = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(kept_names); i++)
		facts_set(kept, kept_names[i], facts_get(facts, kept_names[i]));
	return kept;
}

int
facts_load(json_t **out, const struct ctl *ctl)
{
	json_t *place = json_object(), *facts = NULL;
	struct buf path = buf_bounded(PATH_SIZE);
	int code = facts_set_place(place, ctl);
	json_error_t error;

	*out = NULL;
	(void)buf_printf(&path, "%s/" FACTS_FILE, facts_get(place, "etc"));
	if (code == EX_OK && access(buf_string(&path), R_OK) != 0) {
		ctl_complain(buf_string(&path),
		    "is not there: is this host in the cell? see --root");
		code = EX_NOINPUT;
	}
	if (code == EX_OK) {
		facts = json_load_file(buf_string(&path), 0, &error);
		for (size_t i = 0; facts && i < ARRAY_SIZE(kept_names); i++)
			code = json_is_string(
				   json_object_get(facts, kept_names[i]))
				   ? code
				   : EX_DATAERR;
		if (!facts || code != EX_OK) {
			ctl_complain(buf_string(&path), "is damaged");
			code = EX_DATAERR;
		}
	}
	if (code == EX_OK) {
		struct ctl here = *ctl;
		const char *prefix = facts_get(facts, "prefix");

		if (!here.options.prefix && prefix[0])
			here.options.prefix = prefix;
		code = facts_set_place(place, &here);
		(void)json_object_update(facts, place);
		*out = facts;
	} else {
		json_decref(facts);
	}
	json_decref(place);
	buf_free(&path);
	return code;
}
