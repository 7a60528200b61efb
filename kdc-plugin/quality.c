#include "kdc-plugin/quality.h"

#include <stdio.h>
#include <stdlib.h>

#include "kdc-plugin/directory.h"
#include "kdc-plugin/options.h"
#include "lib/password.h"

/* 0 where the attribute is absent. */
static uint64_t
quality_number(LDAP *ldap, LDAPMessage *entry, const char *attribute)
{
	struct berval **values = ldap_get_values_len(ldap, entry, attribute);
	uint64_t number = 0;

	if (values && values[0])
		(void)slice_to_uint(
		    slice_of(values[0]->bv_val, values[0]->bv_len), UINT32_MAX,
		    &number);
	ldap_value_free_len(values);
	return number;
}

/* 0, or 1 with the reason. */
static int
quality_ask(struct directory *directory, const char *policy,
    size_t password_size, char *message, size_t size)
{
	static const char *const attributes[] = { "pwdMinLength",
		"pwdCheckQuality", NULL };
	LDAPMessage *answer = NULL, *entry = NULL;
	uint64_t least;
	int refused = 1;

	if (directory_search(directory, policy, LDAP_SCOPE_BASE,
		"(objectClass=*)", attributes, 1, &answer) == LDAP_SUCCESS)
		entry = ldap_first_entry(directory_ldap(directory), answer);
	if (!entry) {
		(void)snprintf(message, size,
		    "the password policy cannot be read now: try again later");
	} else {
		LDAP *ldap = directory_ldap(directory);

		least = quality_number(ldap, entry, "pwdCheckQuality") == 0
			    ? 0
			    : quality_number(ldap, entry, "pwdMinLength");
		refused = password_size < least;
		if (refused)
			(void)snprintf(message, size,
			    "the password is shorter than %u octets",
			    (unsigned)least);
	}
	ldap_msgfree(answer);
	return refused;
}

int
quality_check(krb5_context context, krb5_principal principal,
    krb5_data *password, const char *tuning, char *message, size_t size)
{
	const char *fault = password_fault(
	    slice_of(password->data, password->length), PASSWORD_SIZE_MAX);
	struct directory *directory = NULL;
	struct options options;
	int refused = 1;

	(void)principal;
	(void)tuning;
	if (fault) {
		(void)snprintf(message, size, "%s", fault);
		return 1;
	}
	if (options_read(context, &options) != 0) {
		(void)snprintf(message, size, "the settings are malformed");
	} else if (options.policy[0] == '\0') {
		refused = 0;
	} else {
		directory = directory_new(&options);
		if (directory)
			refused = quality_ask(directory, options.policy,
			    password->length, message, size);
		else
			(void)snprintf(message, size, "out of memory");
	}
	directory_free(&directory);
	options_free(context, &options);
	return refused;
}
