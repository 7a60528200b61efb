#include "kdc-plugin/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kdc-plugin/attempts.h"
#include "kdc-plugin/directory.h"
#include "kdc-plugin/lookup.h"
#include "kdc-plugin/master_key.h"
#include "kdc-plugin/options.h"
#include "kdc-plugin/principal.h"
#include "kdc-plugin/report.h"
#include "kdc-plugin/write.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define BACKEND_COMPLAIN_US (60 * TIMESTAMP_SECOND)

struct backend {
	struct options options;
	struct report report;
	struct directory *directory; /* owned */
	struct courier *courier;     /* owned */
	struct attempts *attempts;   /* owned */
	struct write *write;         /* owned */
	struct opened *opened;       /* owned */
	struct lookup found;
	bool opens;            /* the master key is known to be the right one */
	int64_t complained_us; /* at most once a minute */
	LDAPMessage *listing;  /* owned: of firstkey and nextkey */
	LDAPMessage *next;     /* borrowed from listing */
};

static struct backend *
backend_of(HDB *db)
{
	return db->hdb_db;
}

static krb5_error_code
backend_open(krb5_context context, HDB *db, int flags, mode_t mode)
{
	(void)context;
	(void)db;
	(void)flags;
	(void)mode;
	return 0;
}

/* What an administrator saw belongs to one opening. */
static krb5_error_code
backend_close(krb5_context context, HDB *db)
{
	(void)context;
	write_forget(backend_of(db)->write);
	return 0;
}

static void
backend_free_listing(struct backend *backend)
{
	ldap_msgfree(backend->listing);
	backend->listing = NULL;
	backend->next = NULL;
}

static void
backend_free(krb5_context context, struct backend *backend)
{
	if (!backend)
		return;
	backend_free_listing(backend);
	attempts_free(&backend->attempts);
	courier_free(&backend->courier);
	write_free(&backend->write);
	opened_free(&backend->opened);
	directory_free(&backend->directory);
	lookup_free(&backend->found);
	report_close(&backend->report);
	options_free(context, &backend->options);
	free(backend);
}

static krb5_error_code
backend_destroy(krb5_context context, HDB *db)
{
	krb5_error_code code = hdb_clear_master_key(context, db);

	backend_free(context, backend_of(db));
	free(db->hdb_name);
	free(db);
	return code;
}

static void
backend_complain(struct backend *backend, const char *event, struct slice name,
    const char *why)
{
	int64_t now_us = clock_realtime_us();

	if (now_us - backend->complained_us <= BACKEND_COMPLAIN_US)
		return;
	report_event(&backend->report, event, "principal", name, why);
	backend->complained_us = now_us;
}

/*
 * A key that does not open is left out once it is known that the master key is
 * not to blame.
 */
static krb5_error_code
backend_unseal(krb5_context context, HDB *db, hdb_entry *entry,
    const struct lookup_name *name)
{
	struct backend *backend = backend_of(db);
	size_t damaged = 0;
	krb5_error_code code = principal_unseal(context, db, backend->opened,
	    entry, backend->opens ? &damaged : NULL);

	if (code == 0 && entry->keys.len > 0 && db->hdb_master_key_set)
		backend->opens = true;
	if (damaged > 0)
		backend_complain(backend, "damaged_key",
		    slice_from(name ? name->text : ""),
		    "the master key does not open it");
	return code;
}

/*
 * The KDC stays silent for HDB_ERR_NOT_FOUND_HERE, but not for every lookup of
 * a TGS-REQ: there a client that is not found passes unchecked, so that one
 * gets an error that sends it to the next KDC.
 */
static krb5_error_code
backend_silence(
    struct backend *backend, unsigned flags, struct slice name, const char *why)
{
	backend_complain(backend, "silent", name, why);
	return (flags & HDB_F_FOR_TGS_REQ) ? KRB5KDC_ERR_SVC_UNAVAILABLE
					   : HDB_ERR_NOT_FOUND_HERE;
}

#if HDB_INTERFACE_VERSION == 10
/* The end of a request that had asked for a client. */
static void
backend_free_client(krb5_context context, hdb_entry_ex *ex)
{
	struct attempt *attempt = ex->ctx;

	(void)context;
	attempt_end(&attempt, ex->entry.flags.require_preauth);
	ex->ctx = NULL;
}

static krb5_error_code
backend_auth_status(krb5_context context, HDB *db, hdb_entry_ex *ex, int status)
{
	(void)context;
	(void)db;
	/* Entries of other back ends have contexts of their own. */
	if (ex->free_entry != backend_free_client || !ex->ctx)
		return 0;
	if (status == HDB_AUTH_SUCCESS)
		attempt_is_right(ex->ctx);
	else
		attempt_is_wrong(ex->ctx);
	return 0;
}

static void
backend_keep_attempt(hdb_entry_ex *ex, struct attempt *attempt)
{
	ex->ctx = attempt;
	ex->free_entry = backend_free_client;
}
#else
/* What becomes of a request is said by events of the audit. */
static krb5_error_code
backend_audit(
    krb5_context context, HDB *db, hdb_entry *entry, hdb_request_t request)
{
	heim_number_t event = heim_audit_getkv(
	    (heim_svc_req_desc)request, KDC_REQUEST_KV_AUTH_EVENT);
	int number = event ? heim_number_get_int(event) : 0;

	(void)context;
	(void)db;
	/* There is no entry for who is unknown. */
	if (!entry || !entry->context)
		return 0;
	if (number == KDC_AUTH_EVENT_CLIENT_AUTHORIZED)
		attempt_is_right(entry->context);
	else if (number == KDC_AUTH_EVENT_WRONG_LONG_TERM_KEY)
		attempt_is_wrong(entry->context);
	return 0;
}

static void
backend_free_entry(krb5_context context, HDB *db, hdb_entry *entry)
{
	struct attempt *attempt = entry->context;

	(void)context;
	(void)db;
	attempt_end(&attempt, entry->flags.require_preauth);
	entry->context = NULL;
}

static void
backend_keep_attempt(hdb_entry *entry, struct attempt *attempt)
{
	entry->context = attempt;
}
#endif

/* A client who will be asked for the password: the attempt begins here. */
static krb5_error_code
backend_admit(krb5_context context, struct backend *backend, compat_entry *ex,
    int64_t now_us, const char **why)
{
	bool refused = false;
	struct attempt *attempt = attempts_begin(
	    backend->attempts, &backend->found.account, now_us, &refused, why);

	if (!attempt)
		return HDB_ERR_NOT_FOUND_HERE;
	backend_keep_attempt(ex, attempt);
	return refused ? principal_refuse(context, COMPAT_ENTRY(ex)) : 0;
}

static krb5_error_code
backend_fill(krb5_context context, HDB *db, krb5_const_principal principal,
    const struct lookup_name *name, unsigned flags, krb5_kvno kvno,
    compat_entry *ex, const char **why)
{
	struct backend *backend = backend_of(db);
	bool client = (flags & HDB_F_FOR_AS_REQ) && (flags & HDB_F_GET_CLIENT);
	struct principal_wish wish = {
		.name = flags & HDB_F_CANON ? NULL : principal,
		.kvno = flags & HDB_F_KVNO_SPECIFIED ? (uint32_t)kvno : 0,
		/* Where a password is asked for, only the newest count. */
		.old_keys = !(flags & HDB_F_FOR_AS_REQ),
		.now_us = clock_realtime_us(),
	};
	hdb_entry *entry = COMPAT_ENTRY(ex);
	krb5_error_code code = principal_fill(
	    context, &backend->options, &backend->found.account, &wish, entry);

	if (code == 0 && (flags & HDB_F_DECRYPT))
		code = backend_unseal(context, db, entry, name);
	if (code == 0 && client)
		return backend_admit(context, backend, ex, wish.now_us, why);
	*why = code == HDB_ERR_NO_MKEY
		   ? "the master key that seals its keys is missing"
		   : "its keys cannot be unsealed: another master key?";
	return code;
}

/* For tickets: from the replica. */
static krb5_error_code
backend_fetch_local(krb5_context context, HDB *db, struct backend *backend,
    krb5_const_principal principal, const struct lookup_name *name,
    unsigned flags, krb5_kvno kvno, compat_entry *ex)
{
	enum replica_result result = REPLICA_FAILED;
	const char *why = "";
	struct replica *replica =
	    lookup_replica(backend->options.replica, &why);
	krb5_error_code code;

	if (replica)
		result = lookup_principal(replica, name,
		    (flags & HDB_F_CANON) != 0, &backend->found, &why);
	if (result == REPLICA_UNKNOWN)
		return HDB_ERR_NOENTRY;
	if (result != REPLICA_FOUND)
		return backend_silence(
		    backend, flags, slice_from(name->text), why);
	code =
	    backend_fill(context, db, principal, name, flags, kvno, ex, &why);
	if (code == 0 || code == HDB_ERR_KVNO_NOT_FOUND)
		return code;
	hdb_free_entry(context,
#if HDB_INTERFACE_VERSION == 11
	    db,
#endif
	    ex);
	memset(ex, 0, sizeof(*ex));
	return backend_silence(backend, flags, slice_from(name->text), why);
}

static krb5_error_code
backend_fetch(krb5_context context, HDB *db, krb5_const_principal principal,
    unsigned flags, krb5_kvno kvno, compat_entry *ex)
{
	struct backend *backend = backend_of(db);
	struct lookup_name name;
	krb5_error_code code =
	    lookup_name_make(context, principal, backend->options.realm, &name);

	memset(ex, 0, sizeof(*ex));
	if (code == 0 && (flags & HDB_F_ADMIN_DATA)) {
		code = write_fetch(backend->write, context, &name,
		    (flags & HDB_F_ALL_KVNOS) != 0, COMPAT_ENTRY(ex));
		if (code == 0 && (flags & HDB_F_DECRYPT))
			code = backend_unseal(
			    context, db, COMPAT_ENTRY(ex), &name);
	} else if (code == 0) {
		code = backend_fetch_local(
		    context, db, backend, principal, &name, flags, kvno, ex);
	}
	lookup_name_free(&name);
	return code;
}

static krb5_error_code
backend_store(krb5_context context, HDB *db, unsigned flags, compat_entry *ex)
{
	return write_store(backend_of(db)->write, context, db,
	    (flags & HDB_F_REPLACE) != 0, (flags & HDB_F_PRECHECK) != 0,
	    COMPAT_ENTRY(ex));
}

static krb5_error_code
backend_remove(krb5_context context, HDB *db, unsigned flags,
    krb5_const_principal principal)
{
	struct backend *backend = backend_of(db);
	struct lookup_name name;
	krb5_error_code code =
	    lookup_name_make(context, principal, backend->options.realm, &name);

	if (code == 0)
		code = write_remove(backend->write, context, &name,
		    (flags & HDB_F_PRECHECK) != 0);
	lookup_name_free(&name);
	return code;
}

static krb5_error_code
backend_password(krb5_context context, HDB *db, compat_entry *ex,
    const char *password, int conditional)
{
	return write_password(backend_of(db)->write, context, db,
	    slice_from(password), conditional != 0, COMPAT_ENTRY(ex));
}

static krb5_error_code
backend_next(krb5_context context, HDB *db, unsigned flags, compat_entry *ex)
{
	struct backend *backend = backend_of(db);
	krb5_error_code code = HDB_ERR_NOENTRY;

	memset(ex, 0, sizeof(*ex));
	while (code == HDB_ERR_NOENTRY && backend->next) {
		code = write_read(
		    backend->write, context, backend->next, COMPAT_ENTRY(ex));
		backend->next = ldap_next_entry(
		    directory_ldap(backend->directory), backend->next);
	}
	if (code == 0 && (flags & HDB_F_DECRYPT))
		code = backend_unseal(context, db, COMPAT_ENTRY(ex), NULL);
	if (code != 0)
		backend_free_listing(backend);
	return code;
}

static krb5_error_code
backend_first(krb5_context context, HDB *db, unsigned flags, compat_entry *ex)
{
	struct backend *backend = backend_of(db);
	krb5_error_code code;

	backend_free_listing(backend);
	code = write_list(backend->write, context, &backend->listing);
	if (code != 0)
		return code;
	backend->next = ldap_first_entry(
	    directory_ldap(backend->directory), backend->listing);
	return backend_next(context, db, flags, ex);
}

static krb5_error_code
backend_lock(krb5_context context, HDB *db, int operation)
{
	(void)context;
	(void)db;
	(void)operation;
	return 0;
}

static krb5_error_code
backend_unlock(krb5_context context, HDB *db)
{
	(void)context;
	(void)db;
	return 0;
}

static krb5_error_code
backend_rename(krb5_context context, HDB *db, const char *name)
{
	(void)db;
	(void)name;
	krb5_set_error_message(
	    context, ENOTSUP, "a directory cannot be renamed");
	return ENOTSUP;
}

static krb5_error_code
backend_set_sync(krb5_context context, HDB *db, int on)
{
	(void)context;
	(void)db;
	(void)on;
	return 0;
}

static krb5_error_code
backend_new(krb5_context context, struct backend **out)
{
	struct backend *backend = calloc(1, sizeof(*backend));
	krb5_error_code code;

	*out = NULL;
	if (!backend)
		return krb5_enomem(context);
	backend->found = lookup_empty();
	code = options_read(context, &backend->options);
	report_open(&backend->report, context);
	if (code == 0) {
		backend->directory = directory_new(&backend->options);
		backend->courier =
		    courier_new(&backend->options, &backend->report);
		backend->attempts = attempts_new(
		    &backend->options, backend->courier, &backend->report);
		backend->write =
		    write_new(&backend->options, backend->directory);
		backend->opened = opened_new();
		if (!backend->directory || !backend->courier ||
		    !backend->attempts || !backend->write || !backend->opened)
			code = krb5_enomem(context);
	}
	if (code == 0)
		*out = backend;
	else
		backend_free(context, backend);
	return code;
}

krb5_error_code
backend_create(krb5_context context, HDB **db, const char *residual)
{
	struct backend *backend = NULL;
	HDB *new = calloc(1, sizeof(*new));
	krb5_error_code code;

	*db = NULL;
	if (!new)
		return krb5_enomem(context);
	code = backend_new(context, &backend);
	if (code == 0)
		code = master_key_check(
		    context, &backend->options, &backend->opens);
	if (code == 0 && asprintf(&new->hdb_name, "postcell:%s",
			     residual ? residual : "") < 0) {
		new->hdb_name = NULL;
		code = krb5_enomem(context);
	}
	if (code != 0) {
		krb5_warn(context, code, "postcell_hdb");
		backend_free(context, backend);
		free(new);
		return code;
	}
	new->hdb_db = backend;
	new->hdb_capability_flags = HDB_CAP_F_HANDLE_PASSWORDS;
	new->hdb_open = backend_open;
	new->hdb_close = backend_close;
	new->hdb_fetch_kvno = backend_fetch;
	new->hdb_store = backend_store;
	new->hdb_remove = backend_remove;
	new->hdb_firstkey = backend_first;
	new->hdb_nextkey = backend_next;
	new->hdb_lock = backend_lock;
	new->hdb_unlock = backend_unlock;
	new->hdb_rename = backend_rename;
	new->hdb_destroy = backend_destroy;
	new->hdb_password = backend_password;
	new->hdb_set_sync = backend_set_sync;
#if HDB_INTERFACE_VERSION == 10
	new->hdb_auth_status = backend_auth_status;
#else
	new->hdb_audit = backend_audit;
	new->hdb_free_entry_context = backend_free_entry;
#endif
	*db = new;
	return 0;
}
