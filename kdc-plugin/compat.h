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
#	define COMPAT_ENTRY(ex)   (&(ex)->entry)
#	define COMPAT_CONTEXT(ex) ((ex)->ctx)
#	define COMPAT_FLAG_AS(f)  (((f)&HDB_F_FOR_AS_REQ) != 0)
#	define COMPAT_FLAG_TGS(f) (((f)&HDB_F_FOR_TGS_REQ) != 0)
#elif HDB_INTERFACE_VERSION == 11
typedef hdb_entry compat_entry;
#	define COMPAT_ENTRY(ex)   (ex)
#	define COMPAT_CONTEXT(ex) ((ex)->context)
#	define COMPAT_FLAG_AS(f)  (((f)&HDB_F_FOR_AS_REQ) != 0)
#	define COMPAT_FLAG_TGS(f) (((f)&HDB_F_FOR_TGS_REQ) != 0)
#else
#	error "this interface of libhdb is not known"
#endif

#endif
