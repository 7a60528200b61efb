/*
 * compat: where interface 10 of libhdb (Heimdal 7) and interface 11 (Heimdal's
 * master) differ. Other interfaces are refused at build time, and at run time
 * by hdb.c.
 */
#ifndef KDC_PLUGIN_COMPAT_H
#define KDC_PLUGIN_COMPAT_H

#include <krb5.h>

#include <hdb.h>

#if HDB_INTERFACE_VERSION == 10
typedef hdb_entry_ex compat_entry; /* what the functions of an HDB take */
#	define COMPAT_ENTRY(ex) (&(ex)->entry)
#elif HDB_INTERFACE_VERSION == 11
#	include <heimbase.h>
#	include <krb5/kdc-audit.h>

typedef hdb_entry compat_entry;
#	define COMPAT_ENTRY(ex) (ex)
#else
#	error "this interface of libhdb is not known"
#endif

#endif
