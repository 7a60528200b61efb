/*
 * view: entries of the directory, found by the name of a principal.
 */
#ifndef KDC_PLUGIN_VIEW_H
#define KDC_PLUGIN_VIEW_H

#include <stdbool.h>

#include <ldap.h>

#include "kdc-plugin/directory.h"
#include "kdc-plugin/lookup.h"

/* An entry as it was read. lookup_free(&view.found). */
struct view {
	struct lookup found;
	bool has_login; /* the class for keys */
};

/*
 * The one entry below `suffix` that has that principal. 0, HDB_ERR_NOENTRY, or
 * another Kerberos error with its text set.
 */
krb5_error_code view_find(struct view *view, krb5_context context,
    struct directory *directory, const char *suffix,
    const struct lookup_name *name);
/* One of an answer; 0, or -1 with *why. */
int view_take(struct view *view, struct directory *directory,
    LDAPMessage *message, const char **why);

#endif
