/*
 * config: what postcell-zoned.conf says, checked.
 *
 * Read once at start and never changed. Every option has its row in config.c
 * and its paragraph in postcell-zoned.conf(5).
 */
#ifndef ZONES_CONFIG_H
#define ZONES_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include <ldns/ldns.h>

#include "daemon/settings.h"
#include "lib/buf.h"
#include "lib/service.h"

#define CONFIG_WEB_PORT 80

enum config_driver {
	CONFIG_DRIVER_UPDATE, /* RFC 2136 to the primaries */
	CONFIG_DRIVER_FILE    /* a zone file */
};

/* What mail programs are told to log in as. */
enum config_login {
	CONFIG_LOGIN_ADDRESS,   /* the whole mail address */
	CONFIG_LOGIN_LOCAL_PART /* what stands before its @ */
};

/* Seconds; all records of a kind have the same. */
struct config_ttl {
	long address, srv, mx, txt, alias, tlsa;
};

struct config_key {
	const char *title; /* its name, as both sides spell it */
	long line;
	int algorithm; /* index into config_algorithms */
	const char *secret_file;

	char *secret; /* owned: base64, from the file */
};

struct config_zone {
	const char *title; /* apex */
	long line;
	int driver;                    /* enum config_driver */
	struct setting_list primaries; /* ADDRESS:PORT */
	const char *key_name;
	const char *epoch; /* label below the apex */
	const char *hosts; /* subtree that is ours whole, or NULL */
	const char *base, *file, *hook;

	ldns_rdf *apex, *epoch_owner, *hosts_apex; /* owned; last: or NULL */
	const struct config_key *key;              /* NULL: unsigned */
};

/* A generic name: the proxies that offer all its services. */
struct config_name {
	const char *title;
	long line;
	struct setting_list service_texts; /* empty: any service */

	uint32_t services; /* bits 1 << enum service_kind; 0: any */
};

/* What clients look for below a domain. */
struct config_domain {
	const char *title;
	long line;
	struct setting_list srv;   /* names of config_srv_rows */
	struct setting_list sites; /* nearest first */
	const char *realm;
	bool mx;
	const char *autoconfig, *autodiscover; /* where they lead; or NULL */
	int login;                             /* enum config_login */
};

struct config_tlsa {
	const char *title;
	long line;
	struct setting_list certificates; /* PEM files */
	struct setting_list ports;
};

/* What the directory does not say of a host. */
struct config_host {
	const char *title; /* cn of a proxy or host */
	long line;
	const char *name;              /* in DNS; NULL: follows */
	struct setting_list addresses; /* empty: follow */
};

struct config {
	const char *path; /* of the file; borrowed */
	const char *replica, *run_dir, *user, *publisher, *metrics;
	int log, log_level;
	struct setting_list dns_servers;
	struct setting_list web; /* ADDRESS:PORT; empty: none */
	long timeout;            /* s */
	long retry_max;          /* s */
	long check_interval;     /* s */
	long fail_open;          /* percent */
	long return_delay;       /* s */
	long change_max;         /* records */
	long change_interval;    /* ms */
	long transfer_max;       /* MiB */
	struct config_ttl ttl;
	struct setting_items keys, zones, names, domains, tlsa, hosts;
	char host_name[256];       /* publisher, else of the machine */
	struct settings *settings; /* owned: the text of all above */
};

/* A word of `srv`, and the names below the domain that it stands for. */
struct config_srv_row {
	const char *word;
	enum service_kind kind;
	bool implicit_tls;       /* the service URL has it, or has it not */
	const char *prefixes[2]; /* "_imap._tcp"; second: or NULL */
};

extern const struct config_srv_row config_srv_rows[];
extern const size_t config_srv_row_count;
/* NULL for a word that is none. */
const struct config_srv_row *config_srv_row(const char *word);

/* As TSIG names them, "hmac-sha256."; static. */
const char *config_algorithm(const struct config_key *key);

/*
 * Reads and checks the file and the secrets it names. 0 with *out; or -1 with
 * every fault as a line "FILE:LINE: text" in errors.
 */
int config_read(struct config **out, const char *path, struct buf *errors);
void config_free(struct config **config);

/* The zone that a name lies in, the deepest one; NULL for none. */
const struct config_zone *config_zone_of(
    const struct config *config, const ldns_rdf *name);

/* The options' rows as text, for tests of the manual page. */
void config_describe(struct buf *out);

#endif
