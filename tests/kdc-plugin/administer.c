/*
 * administer: what kadmin does, in two steps, with time for others in between.
 *
 *   administer PRINCIPAL LIFE
 *       reads the principal, says so, waits for a line, and stores it with
 *       that max_life; says what came of it
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kdc-plugin/compat.h"

int
main(int argc, char **argv)
{
	unsigned flags = HDB_F_GET_ANY | HDB_F_ADMIN_DATA;
	krb5_context context;
	krb5_principal principal;
	krb5_error_code code;
	compat_entry entry;
	char line[16];
	HDB *db;

	if (argc != 3 || krb5_init_context(&context) != 0)
		errx(64, "PRINCIPAL LIFE");
	memset(&entry, 0, sizeof(entry));
	code = krb5_parse_name(context, argv[1], &principal);
	if (code == 0)
		code = hdb_create(context, &db, "postcell:");
	if (code == 0)
		code = db->hdb_open(context, db, O_RDWR, 0);
	if (code == 0)
		code = db->hdb_fetch_kvno(
		    context, db, principal, flags, 0, &entry);
	if (code != 0)
		krb5_err(context, 1, code, "fetch");
	puts("read");
	(void)fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	*COMPAT_ENTRY(&entry)->max_life = (unsigned)strtoul(argv[2], NULL, 10);
	code = db->hdb_store(context, db, HDB_F_REPLACE, &entry);
	if (code != 0)
		krb5_err(context, 1, code, "store");
	puts("stored");
	return 0;
}
