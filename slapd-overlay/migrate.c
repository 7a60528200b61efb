#include "slapd-overlay/made.h"

/*
 * It is no change of the password, so ppolicy, which takes it for one, must
 * neither ask for a new one nor count its age anew: what it finds written
 * already it leaves alone.
 */
static void
append_policy(Modifications **mods, Operation *op, Entry *entry)
{
	struct slice changed = entry_first(entry, ATTRIBUTE_PWD_CHANGED);
	struct slice reset = entry_first(entry, ATTRIBUTE_PWD_RESET);

	if (!directory_has_overlay(op, "ppolicy"))
		return;
	if (changed.size > 0)
		mods_append(mods, mod_new(attribute(ATTRIBUTE_PWD_CHANGED),
				      LDAP_MOD_REPLACE, changed));
	if (attribute(ATTRIBUTE_PWD_RESET))
		mods_append(mods,
		    mod_new(attribute(ATTRIBUTE_PWD_RESET), LDAP_MOD_REPLACE,
			reset.size > 0 ? reset : slice_from("FALSE")));
}

void
migrate_hash(Operation *op, Entry *entry, struct slice password)
{
	struct keyset_change step;
	Modifications *mods = NULL;
	struct made made;
	const char *why;
	int code;

	if (made_make(&made, op, entry, NULL, 0, password, &step, &why) < 0) {
		overlay_log_dn("migration_failed", &entry->e_name, why);
		made_free(&made);
		return;
	}
	made_append_text(&mods, entry, &made);
	made_append_keys(&mods, entry, &made, NULL, 0);
	append_policy(&mods, op, entry);
	/* Two first binds at one moment: the second finds no hash to delete. */
	code = directory_modify(op, &entry->e_name, &entry->e_nname, mods);
	if (code == LDAP_SUCCESS)
		overlay_log_dn("migrated", &entry->e_name,
		    "keys were made at a bind by a hash");
	else if (code != LDAP_NO_SUCH_ATTRIBUTE)
		overlay_log_dn(
		    "migration_failed", &entry->e_name, ldap_err2string(code));
	made_free(&made);
}
