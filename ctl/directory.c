#include "ctl/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/directory_state.h"

#define CONNECT_TIME 5 /* s for a connection and its handshake */
#define PASSWORD_MAX 4096
#define PARTS_MAX    128
#define DN_MAX       4096
#define WHY_MAX      ((size_t)16384)

/* ---- failures ---- */

static enum directory_result
result_of(int code)
{
	switch (code) {
	case LDAP_SUCCESS:
		return DIRECTORY_DONE;
	case LDAP_ASSERTION_FAILED:
	case LDAP_NO_SUCH_ATTRIBUTE:
	case LDAP_TYPE_OR_VALUE_EXISTS:
		return DIRECTORY_RACE;
	case LDAP_NO_SUCH_OBJECT:
		return DIRECTORY_ABSENT;
	case LDAP_ALREADY_EXISTS:
		return DIRECTORY_EXISTS;
	case LDAP_SERVER_DOWN:
	case LDAP_TIMEOUT:
	case LDAP_CONNECT_ERROR:
	case LDAP_UNAVAILABLE:
	case LDAP_BUSY:
		return DIRECTORY_LOST;
	default:
		return DIRECTORY_REFUSED;
	}
}

enum directory_result
directory_keep_why(struct directory *directory, int code, const char *doing,
    struct slice dn, const char *text)
{
	char *own = NULL;

	if (code == LDAP_SUCCESS)
		return DIRECTORY_DONE;
	if (!text && directory->ldap)
		(void)ldap_get_option(
		    directory->ldap, LDAP_OPT_DIAGNOSTIC_MESSAGE, &own);
	text = text ? text : own;
	buf_clear(&directory->why);
	(void)buf_printf(&directory->why, "%s: %s", directory->uri, doing);
	if (dn.size > 0)
		(void)buf_add_char(&directory->why, ' ');
	(void)buf_add_slice(&directory->why, dn);
	(void)buf_printf(&directory->why, ": %s%s%s", ldap_err2string(code),
	    text && text[0] != '\0' ? ": " : "", text ? text : "");
	ldap_memfree(own);
	return result_of(code);
}

const char *
directory_why(const struct directory *directory)
{
	return buf_string(&directory->why);
}

int
directory_exit(struct directory *directory, enum directory_result result)
{
	if (result != DIRECTORY_DONE)
		ctl_complain("directory", directory_why(directory));
	return directory_status(result);
}

int
directory_status(enum directory_result result)
{
	switch (result) {
	case DIRECTORY_DONE:
		break;
	case DIRECTORY_ABSENT:
		return CTL_NO;
	case DIRECTORY_EXISTS:
		return EX_CANTCREAT;
	case DIRECTORY_REFUSED:
		return EX_NOPERM;
	case DIRECTORY_RACE:
		return EX_TEMPFAIL;
	case DIRECTORY_LOST:
		return EX_UNAVAILABLE;
	}
	return EX_OK;
}

/* ---- the connection ---- */

static int
set_tls(LDAP *ldap, const struct config_directory *config)
{
	int hard = LDAP_OPT_X_TLS_HARD, client = 0;
	int code = LDAP_OPT_SUCCESS;

	if (config->ca_file)
		code = ldap_set_option(
		    ldap, LDAP_OPT_X_TLS_CACERTFILE, config->ca_file);
	if (code == LDAP_OPT_SUCCESS)
		code =
		    ldap_set_option(ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &hard);
	if (code == LDAP_OPT_SUCCESS)
		code = ldap_set_option(ldap, LDAP_OPT_X_TLS_NEWCTX, &client);
	return code;
}

static int
set_options(LDAP *ldap, const struct config_directory *config, bool tls)
{
	int version = LDAP_VERSION3;
	struct timeval connecting = { CONNECT_TIME, 0 };
	struct timeval answer = { DIRECTORY_ANSWER_TIME, 0 };
	int code = ldap_set_option(ldap, LDAP_OPT_PROTOCOL_VERSION, &version);

	if (code == LDAP_OPT_SUCCESS)
		code = ldap_set_option(ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	if (code == LDAP_OPT_SUCCESS)
		code = ldap_set_option(
		    ldap, LDAP_OPT_NETWORK_TIMEOUT, &connecting);
	if (code == LDAP_OPT_SUCCESS)
		code = ldap_set_option(ldap, LDAP_OPT_TIMEOUT, &answer);
	if (code == LDAP_OPT_SUCCESS && tls)
		code = set_tls(ldap, config);
	return code;
}

/* Without the line end that editors leave. Wiped by the caller. */
static int
read_password(const char *path, struct buf *password)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *room = buf_reserve(password, PASSWORD_MAX);
	ssize_t size = fd < 0 || !room ? -1 : read(fd, room, PASSWORD_MAX);

	if (size < 0) {
		ctl_complain(path, strerrordesc_np(errno));
		if (fd >= 0)
			(void)close(fd);
		return EX_NOINPUT;
	}
	(void)close(fd);
	buf_grow(password, (size_t)size);
	while (password->size > 0 &&
	       (password->data[password->size - 1] == '\n' ||
		   password->data[password->size - 1] == '\r'))
		password->size--;
	return EX_OK;
}

/* libldap takes what it only reads as if it wrote to it. */
static char *
writable(const char *text)
{
	union {
		const char *given;
		char *wanted;
	} pointer = { .given = text };

	return pointer.wanted;
}

static int
log_in(struct directory *directory, struct buf *password)
{
	const struct config_directory *config = directory->config;
	struct berval secret = { password->size, password->data };

	/* Empty credentials, for without any the server asks for them. */
	if (config->bind == CONFIG_BIND_EXTERNAL)
		return ldap_sasl_bind_s(directory->ldap, "", "EXTERNAL",
		    &(struct berval){ 0, writable("") }, NULL, NULL, NULL);
	return ldap_sasl_bind_s(directory->ldap, config->bind_dn,
	    LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
}

/* One server: connected, encrypted as it has to be, logged in. */
static enum directory_result
try_server(struct directory *directory, const char *uri, struct buf *password)
{
	const struct config_directory *config = directory->config;
	struct slice text = slice_from(uri);
	struct slice nothing = slice_from("");
	bool starttls = config->tls == CONFIG_TLS_STARTTLS &&
			slice_starts_nocase(text, "ldap://");
	int code;

	free(directory->uri);
	directory->uri = strdup(uri);
	if (!directory->uri)
		abort();
	if (directory->ldap)
		(void)ldap_unbind_ext_s(directory->ldap, NULL, NULL);
	directory->ldap = NULL;
	code = ldap_initialize(&directory->ldap, uri);
	if (code != LDAP_SUCCESS)
		return directory_keep_why(
		    directory, code, "address", nothing, NULL);
	if (set_options(directory->ldap, config,
		starttls || slice_starts_nocase(text, "ldaps://")) !=
	    LDAP_OPT_SUCCESS)
		return directory_keep_why(directory, LDAP_LOCAL_ERROR, "TLS",
		    nothing, "is the CA file there and readable?");
	if (starttls) {
		code = ldap_start_tls_s(directory->ldap, NULL, NULL);
		if (code != LDAP_SUCCESS)
			return directory_keep_why(
			    directory, code, "StartTLS", nothing, NULL);
	}
	code = log_in(directory, password);
	return directory_keep_why(directory, code, "bind", nothing, NULL);
}

/* Each server that cannot be reached is named, if none can. */
static enum directory_result
try_servers(struct directory *directory, struct buf *password)
{
	const struct setting_list *uris = &directory->config->uris;
	struct buf faults = buf_bounded(WHY_MAX);
	enum directory_result result = DIRECTORY_LOST;

	for (size_t i = 0; i < uris->count && result == DIRECTORY_LOST; i++) {
		result = try_server(directory, uris->items[i], password);
		(void)buf_printf(&faults, "%s%s", faults.size > 0 ? "; " : "",
		    buf_string(&directory->why));
	}
	if (result == DIRECTORY_LOST) {
		buf_clear(&directory->why);
		(void)buf_add_slice(&directory->why, buf_slice(&faults));
	}
	buf_free(&faults);
	return result;
}

static int
check_config(const struct config_directory *config)
{
	if (config->uris.count == 0) {
		ctl_complain("directory",
		    "none is configured: directory { uris, suffix } in postcellctl.conf");
		return EX_CONFIG;
	}
	if (config->bind == CONFIG_BIND_SIMPLE && !config->bind_dn) {
		ctl_complain("directory",
		    "directory { bind_dn, password_file } are not configured");
		return EX_CONFIG;
	}
	return EX_OK;
}

static void
set_people(struct directory *directory)
{
	const struct config_directory *config = directory->config;

	directory->suffix = buf_bounded(DN_MAX);
	(void)buf_add_string(
	    &directory->suffix, config->suffix ? config->suffix : "");
	directory->people = buf_bounded(DN_MAX);
	if (config->people)
		(void)buf_add_string(&directory->people, config->people);
	else
		(void)buf_printf(
		    &directory->people, "ou=people,%s", config->suffix);
}

int
directory_open(struct directory **out, const struct ctl *ctl)
{
	struct directory *directory;
	struct buf password = buf_bounded(PASSWORD_MAX + 1);
	int code = check_config(ctl->directory);

	*out = NULL;
	if (code == EX_OK && ctl->directory->password_file)
		code = read_password(ctl->directory->password_file, &password);
	if (code != EX_OK) {
		buf_wipe(&password);
		return code;
	}
	directory = calloc(1, sizeof(*directory));
	if (!directory)
		abort();
	directory->config = ctl->directory;
	directory->why = buf_bounded(WHY_MAX);
	set_people(directory);
	/* A server that closes must be an error, not an end. */
	(void)signal(SIGPIPE, SIG_IGN);
	code = directory_exit(directory, try_servers(directory, &password));
	buf_wipe(&password);
	if (code == EX_OK)
		*out = directory;
	else
		directory_free(&directory);
	return code;
}

void
directory_free(struct directory **directory)
{
	struct directory *old = *directory;

	*directory = NULL;
	if (!old)
		return;
	if (old->ldap)
		(void)ldap_unbind_ext_s(old->ldap, NULL, NULL);
	buf_free(&old->why);
	buf_free(&old->people);
	buf_free(&old->suffix);
	free(old->uri);
	free(old);
}

const char *
directory_suffix(const struct directory *directory)
{
	return buf_string(&directory->suffix);
}

const char *
directory_people(const struct directory *directory)
{
	return buf_string(&directory->people);
}

/* A DN as a string, which libldap wants. */
char *
directory_text(struct slice text)
{
	char *copy = strndup(text.size > 0 ? text.data : "", text.size);

	if (!copy)
		abort();
	return copy;
}

/* ---- writing ---- */

/* The parts as libldap wants them; they borrow from the caller's. */
struct mods {
	LDAPMod mods[PARTS_MAX];
	struct berval values[PARTS_MAX];
	struct berval *lists[PARTS_MAX * 2]; /* each ends in NULL */
	LDAPMod *pointers[PARTS_MAX + 1];
};

static bool
goes_on(const struct directory_part *parts, size_t i)
{
	return i > 0 && parts[i].kind == parts[i - 1].kind &&
	       strcmp(parts[i].attribute, parts[i - 1].attribute) == 0;
}

/* Values of one attribute that follow each other are one modification. */
static struct mods *
mods_of(const struct directory_part *parts, size_t count)
{
	static const int operations[] = {
		[DIRECTORY_ADD] = LDAP_MOD_ADD,
		[DIRECTORY_DELETE] = LDAP_MOD_DELETE,
		[DIRECTORY_REPLACE] = LDAP_MOD_REPLACE,
	};
	struct mods *mods = calloc(1, sizeof(*mods));
	size_t mod_count = 0, list_size = 0;

	if (!mods || count > PARTS_MAX)
		abort();
	for (size_t i = 0; i < count; i++) {
		struct slice value = parts[i].value;

		mods->values[i].bv_val = writable(value.data);
		mods->values[i].bv_len = value.size;
		if (!goes_on(parts, i)) {
			LDAPMod *mod = &mods->mods[mod_count];

			list_size += i > 0;
			mod->mod_op =
			    operations[parts[i].kind] | LDAP_MOD_BVALUES;
			mod->mod_type = writable(parts[i].attribute);
			mod->mod_bvalues =
			    value.size > 0 ? &mods->lists[list_size] : NULL;
			mods->pointers[mod_count++] = mod;
		}
		if (value.size > 0)
			mods->lists[list_size++] = &mods->values[i];
	}
	return mods;
}

/* RFC 4528: the operation is done only if entryCSN still is the one read. */
static LDAPControl *
assertion_of(struct directory *directory, struct slice csn)
{
	struct buf filter = buf_bounded(256);
	LDAPControl *control = NULL;

	if (csn.size == 0)
		return NULL;
	(void)buf_add_string(&filter, "(entryCSN=");
	(void)name_escape_filter(&filter, csn);
	(void)buf_add_char(&filter, ')');
	if (ldap_create_assertion_control(
		directory->ldap, filter.data, 1, &control) != LDAP_SUCCESS)
		abort();
	buf_free(&filter);
	return control;
}

enum directory_result
directory_modify(struct directory *directory, struct slice dn, struct slice csn,
    const struct directory_part *parts, size_t count)
{
	LDAPControl *controls[] = { assertion_of(directory, csn), NULL };
	struct mods *mods = mods_of(parts, count);
	char *name = directory_text(dn);
	int code = ldap_modify_ext_s(
	    directory->ldap, name, mods->pointers, controls, NULL);

	ldap_control_free(controls[0]);
	free(name);
	free(mods);
	return directory_keep_why(directory, code, "modify", dn, NULL);
}

enum directory_result
directory_add(struct directory *directory, struct slice dn,
    const struct directory_part *parts, size_t count)
{
	struct mods *mods = mods_of(parts, count);
	char *name = directory_text(dn);
	int code =
	    ldap_add_ext_s(directory->ldap, name, mods->pointers, NULL, NULL);

	free(name);
	free(mods);
	return directory_keep_why(directory, code, "add", dn, NULL);
}

enum directory_result
directory_delete(struct directory *directory, struct slice dn, struct slice csn)
{
	LDAPControl *controls[] = { assertion_of(directory, csn), NULL };
	char *name = directory_text(dn);
	int code = ldap_delete_ext_s(directory->ldap, name, controls, NULL);

	ldap_control_free(controls[0]);
	free(name);
	return directory_keep_why(directory, code, "delete", dn, NULL);
}

enum directory_result
directory_rename(struct directory *directory, struct slice dn, struct slice csn,
    struct slice rdn)
{
	LDAPControl *controls[] = { assertion_of(directory, csn), NULL };
	char *name = directory_text(dn), *first = directory_text(rdn);
	int code = ldap_rename_s(
	    directory->ldap, name, first, NULL, 1, controls, NULL);

	ldap_control_free(controls[0]);
	free(name);
	free(first);
	return directory_keep_why(directory, code, "rename", dn, NULL);
}

enum directory_result
directory_password(
    struct directory *directory, struct slice dn, struct slice password)
{
	struct berval user = { dn.size, writable(dn.data) };
	struct berval secret = { password.size, writable(password.data) };
	struct berval made = { 0, NULL };
	int code = ldap_passwd_s(
	    directory->ldap, &user, NULL, &secret, &made, NULL, NULL);

	ldap_memfree(made.bv_val);
	return directory_keep_why(directory, code, "password of", dn, NULL);
}
