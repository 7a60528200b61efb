#include "kdc-plugin/directory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replica/entry.h"

#define DIRECTORY_WHY_SIZE     512
#define DIRECTORY_PASSWORD_MAX 4096
#define DIRECTORY_VALUES_MAX   4096 /* of one entry */
#define DIRECTORY_ATTRIBUTES   64

struct directory {
	const struct options *options; /* borrowed */
	LDAP *ldap;                    /* owned; NULL: not connected */
	size_t current;                /* of options->uris */
	const char *attributes[DIRECTORY_ATTRIBUTES];
	char why[DIRECTORY_WHY_SIZE];
};

/*
 * The server that answered last, of the process: kpasswdd makes everything anew
 * for each request, and would wait for a silent one each time.
 */
static size_t directory_last;

/* One operation, to be done at one server or the next. */
typedef int directory_act(LDAP *ldap, void *operation);

struct directory *
directory_new(const struct options *options)
{
	struct directory *directory = calloc(1, sizeof(*directory));
	size_t count = 0;

	if (!directory)
		return NULL;
	directory->options = options;
	directory->current = directory_last;
	for (size_t i = 0; entry_attributes[i]; i++)
		directory->attributes[count++] = entry_attributes[i];
	for (size_t i = 0; entry_key_attributes[i]; i++)
		directory->attributes[count++] = entry_key_attributes[i];
	assert(count < DIRECTORY_ATTRIBUTES);
	return directory;
}

static void
directory_disconnect(struct directory *directory)
{
	if (directory->ldap)
		(void)ldap_unbind_ext(directory->ldap, NULL, NULL);
	directory->ldap = NULL;
}

void
directory_free(struct directory **directory)
{
	if (*directory)
		directory_disconnect(*directory);
	free(*directory);
	*directory = NULL;
}

const char *
directory_why(const struct directory *directory)
{
	return directory->why;
}

LDAP *
directory_ldap(struct directory *directory)
{
	return directory->ldap;
}

static void
directory_keep_why(struct directory *directory, int code, const char *what)
{
	char *more = NULL;

	if (directory->ldap)
		(void)ldap_get_option(
		    directory->ldap, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
	(void)snprintf(directory->why, sizeof(directory->why), "%s: %s%s%s",
	    what, ldap_err2string(code), more && more[0] != '\0' ? ": " : "",
	    more ? more : "");
	ldap_memfree(more);
}

static int
directory_set_tls(LDAP *ldap, const struct options *options)
{
	int demand = LDAP_OPT_X_TLS_DEMAND, server = 0;
	int code = ldap_set_option(ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);

	if (code == LDAP_SUCCESS && options->ca_file[0] != '\0')
		code = ldap_set_option(
		    ldap, LDAP_OPT_X_TLS_CACERTFILE, options->ca_file);
	if (code == LDAP_SUCCESS && options->certificate[0] != '\0')
		code = ldap_set_option(
		    ldap, LDAP_OPT_X_TLS_CERTFILE, options->certificate);
	if (code == LDAP_SUCCESS && options->key[0] != '\0')
		code =
		    ldap_set_option(ldap, LDAP_OPT_X_TLS_KEYFILE, options->key);
	if (code == LDAP_SUCCESS)
		code = ldap_set_option(ldap, LDAP_OPT_X_TLS_NEWCTX, &server);
	return code;
}

/* The first line of the file. */
static int
directory_read_password(const char *path, struct buf *password)
{
	char *room = buf_reserve(password, DIRECTORY_PASSWORD_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = -1;
	size_t end;

	if (fd >= 0 && room)
		size = read(fd, room, DIRECTORY_PASSWORD_MAX);
	if (fd >= 0)
		(void)close(fd);
	if (size < 0)
		return -1;
	end = slice_find(slice_of(room, (size_t)size), '\n');
	buf_grow(password, end == SIZE_MAX ? (size_t)size : end);
	return 0;
}

static int
directory_bind(struct directory *directory)
{
	const struct options *options = directory->options;
	bool external = strcmp(options->bind, "external") == 0;
	struct buf password = buf_bounded(DIRECTORY_PASSWORD_MAX);
	struct berval credentials = { 0, NULL };
	int code;

	if (!external && options->password_file[0] != '\0' &&
	    directory_read_password(options->password_file, &password) != 0) {
		(void)snprintf(directory->why, sizeof(directory->why), "%s: %s",
		    options->password_file, strerror(errno));
		buf_wipe(&password);
		return LDAP_LOCAL_ERROR;
	}
	credentials.bv_val = password.data;
	credentials.bv_len = password.size;
	code = ldap_sasl_bind_s(directory->ldap,
	    external ? NULL : options->bind_dn, external ? "EXTERNAL" : NULL,
	    &credentials, NULL, NULL, NULL);
	buf_wipe(&password);
	return code;
}

static int
directory_connect_to(struct directory *directory, const char *uri)
{
	const struct options *options = directory->options;
	struct timeval patience = { options->timeout, 0 };
	int version = LDAP_VERSION3, code;

	code = ldap_initialize(&directory->ldap, uri);
	if (code != LDAP_SUCCESS)
		return code;
	(void)ldap_set_option(
	    directory->ldap, LDAP_OPT_PROTOCOL_VERSION, &version);
	(void)ldap_set_option(
	    directory->ldap, LDAP_OPT_NETWORK_TIMEOUT, &patience);
	(void)ldap_set_option(directory->ldap, LDAP_OPT_TIMEOUT, &patience);
	(void)ldap_set_option(
	    directory->ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
	code = directory_set_tls(directory->ldap, options);
	if (code == LDAP_SUCCESS && options->starttls &&
	    strncmp(uri, "ldap://", 7) == 0)
		code = ldap_start_tls_s(directory->ldap, NULL, NULL);
	return code == LDAP_SUCCESS ? directory_bind(directory) : code;
}

static bool
directory_is_silent(int code)
{
	return code == LDAP_SERVER_DOWN || code == LDAP_TIMEOUT ||
	       code == LDAP_CONNECT_ERROR || code == LDAP_UNAVAILABLE ||
	       code == LDAP_BUSY || code == LDAP_LOCAL_ERROR;
}

/* Does it at the current server, and where that one fails at the others. */
static int
directory_do(struct directory *directory, const char *what, directory_act *act,
    void *operation)
{
	char **uris = directory->options->uris;
	size_t count = 0;
	int code = LDAP_UNAVAILABLE;

	while (uris && uris[count])
		count++;
	if (count == 0)
		(void)snprintf(directory->why, sizeof(directory->why),
		    "%s: no uris are configured", what);
	if (directory->current >= count)
		directory->current = 0;
	for (size_t tries = 0; tries <= count && count > 0; tries++) {
		bool fresh = !directory->ldap;

		code = fresh ? directory_connect_to(
				   directory, uris[directory->current])
			     : LDAP_SUCCESS;
		if (fresh && code != LDAP_SUCCESS) {
			directory_keep_why(
			    directory, code, uris[directory->current]);
		} else {
			code = act(directory->ldap, operation);
			if (code != LDAP_SUCCESS)
				directory_keep_why(directory, code, what);
			if (!directory_is_silent(code))
				return code;
		}
		directory_disconnect(directory);
		/* An old connection may have ended for reasons of its own. */
		if (fresh)
			directory->current = (directory->current + 1) % count;
		directory_last = directory->current;
	}
	return LDAP_UNAVAILABLE;
}

struct directory_search {
	const char *base, *filter;
	int scope, size_max;
	const char *const *attributes;
	struct timeval patience;
	LDAPMessage *answer;
};

static int
directory_act_search(LDAP *ldap, void *context)
{
	struct directory_search *search = context;

	/* libldap wants the names writable, and lets them be. */
	union {
		const char *const *given;
		char **wanted;
	} attributes = { .given = search->attributes };

	ldap_msgfree(search->answer);
	search->answer = NULL;
	return ldap_search_ext_s(ldap, search->base, search->scope,
	    search->filter, attributes.wanted, 0, NULL, NULL, &search->patience,
	    search->size_max, &search->answer);
}

int
directory_search(struct directory *directory, const char *base, int scope,
    const char *filter, const char *const *attributes, int size_max,
    LDAPMessage **answer)
{
	struct directory_search search = { .base = base,
		.filter = filter,
		.scope = scope,
		.size_max = size_max,
		.attributes = attributes,
		.patience = { directory->options->timeout, 0 } };
	int code =
	    directory_do(directory, "search", directory_act_search, &search);

	*answer = search.answer;
	return code;
}

struct directory_write {
	const char *dn, *assertion;
	LDAPMod **changes;
};

/* Owned by the caller, ldap_control_free(); NULL for no assertion. */
static int
directory_assert(LDAP *ldap, const char *assertion, LDAPControl **control)
{
	char *text;
	int code;

	*control = NULL;
	if (!assertion)
		return LDAP_SUCCESS;
	text = strdup(assertion);
	if (!text)
		return LDAP_NO_MEMORY;
	code = ldap_create_assertion_control(ldap, text, 1, control);
	free(text);
	return code;
}

static int
directory_act_modify(LDAP *ldap, void *context)
{
	struct directory_write *write = context;
	LDAPControl *controls[2] = { NULL, NULL };
	int code = directory_assert(ldap, write->assertion, &controls[0]);

	if (code == LDAP_SUCCESS)
		code = ldap_modify_ext_s(
		    ldap, write->dn, write->changes, controls, NULL);
	ldap_control_free(controls[0]);
	return code;
}

static int
directory_act_add(LDAP *ldap, void *context)
{
	struct directory_write *write = context;

	return ldap_add_ext_s(ldap, write->dn, write->changes, NULL, NULL);
}

static int
directory_act_delete(LDAP *ldap, void *context)
{
	struct directory_write *write = context;
	LDAPControl *controls[2] = { NULL, NULL };
	int code = directory_assert(ldap, write->assertion, &controls[0]);

	if (code == LDAP_SUCCESS)
		code = ldap_delete_ext_s(ldap, write->dn, controls, NULL);
	ldap_control_free(controls[0]);
	return code;
}

int
directory_modify(struct directory *directory, const char *dn, LDAPMod **changes,
    const char *assertion)
{
	struct directory_write write = { dn, assertion, changes };

	return directory_do(directory, "modify", directory_act_modify, &write);
}

int
directory_add(struct directory *directory, const char *dn, LDAPMod **attributes)
{
	struct directory_write write = { dn, NULL, attributes };

	return directory_do(directory, "add", directory_act_add, &write);
}

int
directory_delete(
    struct directory *directory, const char *dn, const char *assertion)
{
	struct directory_write write = { dn, assertion, NULL };

	return directory_do(directory, "delete", directory_act_delete, &write);
}

struct directory_password {
	const char *dn;
	struct slice password;
};

static int
directory_act_password(LDAP *ldap, void *context)
{
	const struct directory_password *change = context;
	char *dn = strdup(change->dn);
	char *password = strndup(change->password.data, change->password.size);
	struct berval user = { dn ? strlen(dn) : 0, dn };
	struct berval new = { change->password.size, password };
	struct berval made = { 0, NULL }; /* libldap insists on a place */
	int code = LDAP_NO_MEMORY;

	if (dn && password)
		code =
		    ldap_passwd_s(ldap, &user, NULL, &new, &made, NULL, NULL);
	ber_memfree(made.bv_val);
	if (password)
		explicit_bzero(password, change->password.size);
	free(password);
	free(dn);
	return code;
}

int
directory_set_password(
    struct directory *directory, const char *dn, struct slice password)
{
	struct directory_password change = { dn, password };

	return directory_do(
	    directory, "change of password", directory_act_password, &change);
}

const char *const *
directory_attributes(const struct directory *directory)
{
	return directory->attributes;
}

/* The values of one entry, borrowed from libldap's copies. */
struct directory_values {
	struct entry_value list[DIRECTORY_VALUES_MAX];
	size_t count;
	struct berval **copies[DIRECTORY_ATTRIBUTES]; /* owned */
	char *names[DIRECTORY_ATTRIBUTES];            /* owned */
	size_t attribute_count;
};

static void
directory_collect(
    LDAP *ldap, LDAPMessage *message, struct directory_values *values)
{
	BerElement *cursor = NULL;
	char *name = ldap_first_attribute(ldap, message, &cursor);

	while (name && values->attribute_count < DIRECTORY_ATTRIBUTES) {
		struct berval **copies =
		    ldap_get_values_len(ldap, message, name);

		values->names[values->attribute_count] = name;
		values->copies[values->attribute_count++] = copies;
		for (size_t i = 0; copies && copies[i] &&
				   values->count < DIRECTORY_VALUES_MAX;
		     i++)
			values->list[values->count++] = (struct entry_value){
				slice_from(name),
				slice_of(copies[i]->bv_val, copies[i]->bv_len)
			};
		name = ldap_next_attribute(ldap, message, cursor);
	}
	ldap_memfree(name);
	ber_free(cursor, 0);
}

int
directory_record(struct directory *directory, LDAPMessage *message,
    struct buf *record, bool *has_login, const char **why)
{
	struct directory_values *values = calloc(1, sizeof(*values));
	char *dn = ldap_get_dn(directory->ldap, message);
	enum entry_kind kind = ENTRY_OTHER;
	uint8_t id[LAYOUT_ID_SIZE];
	struct entry entry = { .dn = slice_from(dn), .keys = true };
	int result = -1;

	*has_login = false;
	*why = "out of memory";
	if (values && dn) {
		directory_collect(directory->ldap, message, values);
		entry.values = values->list;
		entry.value_count = values->count;
		result = entry_make(&entry, record, id, &kind, why);
	}
	if (result == 0 && kind != ENTRY_ACCOUNT) {
		*why = "the entry is neither an account nor a principal";
		result = -1;
	}
	for (size_t i = 0; values && i < values->count; i++)
		if (slice_is_nocase(values->list[i].attribute, "objectClass") &&
		    slice_is_nocase(values->list[i].value, "postcellLogin"))
			*has_login = true;
	for (size_t i = 0; values && i < values->attribute_count; i++) {
		ldap_value_free_len(values->copies[i]);
		ldap_memfree(values->names[i]);
	}
	ldap_memfree(dn);
	free(values);
	return result;
}
