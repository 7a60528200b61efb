/*
 * fault: Kerberos errors of what went wrong with the directory.
 */
#ifndef KDC_PLUGIN_FAULT_H
#define KDC_PLUGIN_FAULT_H

#include <krb5.h>

#include "kdc-plugin/directory.h"

/* Sets the text; the code. */
krb5_error_code fault_say(
    krb5_context context, krb5_error_code code, const char *why);
/* The code for a result of the last operation there, which has the text. */
krb5_error_code fault_of_ldap(
    krb5_context context, const struct directory *directory, int result);

#endif
