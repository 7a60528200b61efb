/*
 * portable: what slapd's headers expect from OpenLDAP's configure, for Debian's
 * build of slapd and the GNU C library. Those below "structures" change the
 * layout of what slapd and we share, so they have to be as Debian has them.
 */
#ifndef SLAPD_OVERLAY_PORTABLE_H
#define SLAPD_OVERLAY_PORTABLE_H

/* The system. */
#define HAVE_DIRENT_H         1
#define HAVE_GETADDRINFO      1
#define HAVE_GETTIMEOFDAY     1
#define HAVE_INTTYPES_H       1
#define HAVE_LONG_LONG        1
#define HAVE_MEMRCHR          1
#define HAVE_NETDB_H          1
#define HAVE_NETINET_IN_H     1
#define HAVE_NETINET_TCP_H    1
#define HAVE_POLL             1
#define HAVE_POLL_H           1
#define HAVE_PTHREADS         10
#define HAVE_PTHREAD_H        1
#define HAVE_REGEX_H          1
#define HAVE_SNPRINTF         1
#define HAVE_STDDEF_H         1
#define HAVE_STDINT_H         1
#define HAVE_STDLIB_H         1
#define HAVE_STRDUP           1
#define HAVE_STRERROR         1
#define HAVE_STRING_H         1
#define HAVE_STRPBRK          1
#define HAVE_STRSPN           1
#define HAVE_STRSTR           1
#define HAVE_STRTOLL          1
#define HAVE_SYSLOG_H         1
#define HAVE_SYS_PARAM_H      1
#define HAVE_SYS_SELECT_H     1
#define HAVE_SYS_SOCKET_H     1
#define HAVE_SYS_TIME_H       1
#define HAVE_SYS_TYPES_H      1
#define HAVE_SYS_UN_H         1
#define HAVE_THREAD           1
#define HAVE_UNISTD_H         1
#define HAVE_VPRINTF          1
#define HAVE_VSNPRINTF        1
#define STDC_HEADERS          1
#define TIME_WITH_SYS_TIME    1
#define RETSIGTYPE            void
#define SIZEOF_INT            4
#define SIZEOF_LONG           8
#define SIZEOF_SHORT          2
#define SIZEOF_WCHAR_T        4
#define AC_INT2_TYPE          short
#define AC_INT4_TYPE          int
#define ber_socklen_t         socklen_t
#define LDAP_NEEDS_PROTOTYPES 1

/* Structures. */
#define HAVE_CYRUS_SASL   1
#define HAVE_GNUTLS       1
#define HAVE_SASL_SASL_H  1
#define HAVE_TLS          1
#define LDAP_DEBUG        1
#define LDAP_PF_INET6     1
#define LDAP_PF_LOCAL     1
#define LDAP_SLAPI        1
#define LDAP_SYSLOG       1
#define SLAPD_ACI_ENABLED 1
#define SLAPD_CLEARTEXT   1
#define SLAPD_CRYPT       1
#define SLAPD_MODULES     1
#define SLAPD_MOD_DYNAMIC 2
#define SLAPD_MOD_STATIC  1
#define SLAPD_RLOOKUPS    1
#define SLAPD_SPASSWD     1
#define SLAP_DYNACL       1

#include <ldap_cdefs.h>
#include <ldap_features.h>

#include <ac/assert.h>
#include <ac/localize.h>

#endif
