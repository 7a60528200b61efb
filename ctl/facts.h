/*
 * facts: what a host of the cell is called and where its things are.
 *
 * A JSON object of strings, from which templates are filled in. What outlives
 * a run is kept in cell.json beside the host's configuration.
 *
 *   realm domain suffix admin   of the cell; admin is a uid
 *   name uri host number        of this provider; host: of its URI; number:
 *                               its server ID
 *   kdc_port kpasswd_port mail_host user auth_user
 *   uris kdcs                   all providers; lines of krb5.conf for all KDCs
 *   etc state data run log      folders of this host; data: slapd's
 *   prefix share modules        where Postcell is installed
 */
#ifndef CTL_FACTS_H
#define CTL_FACTS_H

#include <jansson.h>

#include "ctl/ctl.h"
#include "lib/buf.h"

#define FACTS_TEXT_MAX ((size_t)262144)
#define FACTS_FILE     "cell.json"

/* Lines of krb5.conf for the KDC of a host, by its facts. */
#define FACTS_KDC                                                              \
	"\t\tkdc = ${host}:${kdc_port}\n"                                      \
	"\t\tkpasswd_server = ${host}:${kpasswd_port}"

/*
 * From the options, from what is typed at a terminal, from the name of this
 * host. EX_OK and a new object; or EX_USAGE after a complaint.
 */
int facts_ask(json_t **out, const struct ctl *ctl);

/* Of a cell that this host is in. EX_OK; or EX_NOINPUT, EX_DATAERR. */
int facts_load(json_t **out, const struct ctl *ctl);

/* Sets the folders by `--root` and `--prefix`. EX_OK or EX_USAGE. */
int facts_set_place(json_t *facts, const struct ctl *ctl);

/* What cell.json holds of them; a new object. */
json_t *facts_kept(const json_t *facts);

/* "" where there is none; borrowed. */
const char *facts_get(const json_t *facts, const char *name);
void facts_set(json_t *facts, const char *name, const char *text);
/* By a template (ctl/template.h) that the facts themselves fill in. */
void facts_fill(json_t *facts, const char *name, const char *text);

/* Is it a name that may stand in configuration files? NULL, or why not. */
const char *facts_name_fault(const char *name);
const char *facts_uri_fault(const char *uri);
/* The same for a host that joins: kerberos:// where it is a KDC alone. */
const char *facts_member_fault(const char *uri);
bool facts_is_kdc(const json_t *facts);
/* Sets user and auth_user, whom daemons become. */
void facts_set_users(json_t *facts, const char *user);
/* Sets host by uri. */
void facts_set_host(json_t *facts);

#endif
