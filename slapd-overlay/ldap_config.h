/* ldap_config: folders of Debian's slapd, which its headers ask for. */
#ifndef SLAPD_OVERLAY_LDAP_CONFIG_H
#define SLAPD_OVERLAY_LDAP_CONFIG_H

#include <stddef.h> /* a header of macros alone would not compile alone */

#define LDAP_DIRSEP     "/"
#define LDAP_DATADIR    "/usr/share/ldap"
#define LDAP_MODULEDIR  "/usr/lib/ldap"
#define LDAP_RUNDIR     "/var"
#define LDAP_SYSCONFDIR "/etc/ldap"

#endif
