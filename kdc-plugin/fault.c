#include "kdc-plugin/fault.h"

#include <errno.h>

#include <kadm5/kadm5_err.h>

#include "kdc-plugin/compat.h"

krb5_error_code
fault_say(krb5_context context, krb5_error_code code, const char *why)
{
	krb5_set_error_message(context, code, "%s", why);
	return code;
}

krb5_error_code
fault_of_ldap(
    krb5_context context, const struct directory *directory, int result)
{
	const char *why = directory_why(directory);

	if (result == LDAP_ALREADY_EXISTS)
		return fault_say(context, HDB_ERR_EXISTS, why);
	if (result == LDAP_CONSTRAINT_VIOLATION)
		return fault_say(context, KADM5_PASS_Q_DICT, why);
	if (result == LDAP_INSUFFICIENT_ACCESS)
		return fault_say(context, EACCES, why);
	return fault_say(context, EIO, why);
}
