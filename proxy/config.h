/*
 * config: what postcell-proxyd.conf says, checked.
 *
 * Read once by the parent; the other processes inherit it and never change
 * it. Every option has its row in config.c and its paragraph in
 * postcell-proxyd.conf(5).
 */
#ifndef PROXY_CONFIG_H
#define PROXY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/settings.h"
#include "lib/buf.h"
#include "lib/service.h"
#include "proxy/network.h"

enum config_name {
	CONFIG_NAME_UID,  /* back ends get the account's uid */
	CONFIG_NAME_TYPED /* back ends get what the user typed */
};

enum config_authentication {
	CONFIG_RELAY, /* the back end decides */
	CONFIG_VERIFY /* the proxy does */
};

enum config_client_certificate {
	CONFIG_CLIENT_CERTIFICATE_NONE,
	CONFIG_CLIENT_CERTIFICATE_ASK, /* one that is shown must be good */
	CONFIG_CLIENT_CERTIFICATE_REQUIRE
};

/* Who may get one message by SMTP, where one answer is for all of them. */
enum config_recipients {
	CONFIG_RECIPIENTS_SERVER, /* those of one server */
	CONFIG_RECIPIENTS_ONE,    /* one */
	CONFIG_RECIPIENTS_ALL     /* all: one that fails fails for all */
};

struct config_tls {
	const char *certificate, *key; /* PEM files; NULL: no TLS to clients */
	const char *alt_certificate, *alt_key; /* of another kind of key */
	const char *certificates; /* folder of more of them; NULL: none */
	int protocol_min;         /* 0 TLSv1.2, 1 TLSv1.3 */
	const char *ciphers; /* OpenSSL's list for TLSv1.2; NULL: its own */
	const char *ciphersuites; /* likewise for TLSv1.3 */
	const char *ticket_keys;  /* file; NULL: random ones */
	const char *client_ca;  /* PEM file; NULL: no certificates of clients */
	int client_certificate; /* enum config_client_certificate */
	long watch_time;        /* s between two looks at the files; 0: none */
};

struct config_listener {
	const char *title; /* name in logs */
	long line;
	const char *service_text;      /* scheme; NULL: the title */
	struct setting_list addresses; /* numeric */
	long port;                     /* 0: the scheme's */
	int tls_choice; /* 0: the scheme's, else enum service_tls + 1 */
	bool plaintext; /* credentials without TLS */
	struct setting_list mechanism_names; /* of SASL */
	struct setting_list proxy_texts;     /* networks of load balancers */
	int authentication;                  /* enum config_authentication */
	struct setting_list hub_texts;       /* networks of hubs */
	int certificate_choice;              /* 0: tls's, else enum
						config_client_certificate + 1 */

	/* derived by config_read */
	enum service_kind service;
	enum service_tls tls;
	unsigned mechanisms;    /* a bit 1 << enum sasl_mechanism for each */
	int client_certificate; /* enum config_client_certificate */
	struct networks hub_networks;   /* not empty: no mail from elsewhere */
	struct networks proxy_networks; /* not empty: each connection begins
					   with a header */
};

enum config_plaintext {
	CONFIG_PLAINTEXT_DEFAULT, /* as the listener has it */
	CONFIG_PLAINTEXT_NO,
	CONFIG_PLAINTEXT_YES
};

/* What clients of one network are offered otherwise. */
struct config_network {
	const char *title; /* ADDRESS/BITS */
	long line;
	struct setting_list listeners;       /* titles; none: all */
	struct setting_list mechanism_names; /* none: the listener's */
	int plaintext;                       /* enum config_plaintext */

	/* derived by config_read */
	struct network network;
	unsigned mechanisms;
};

struct config_backend {
	const char *ca_file; /* NULL: the system's */
	bool verify;
	int name;             /* enum config_name */
	long connect_timeout; /* s, for each address */
	long reply_timeout;   /* s, from connected to logged in */
	long retry_time;      /* s that a login is tried again */
	long port; /* 0: the service's; for pins to hosts outside the cell */
	int tls;   /* enum service_tls, likewise */
};

enum config_certificate_name {
	CONFIG_CERTIFICATE_CN,
	CONFIG_CERTIFICATE_EMAIL, /* of subjectAltName, else of the subject */
	CONFIG_CERTIFICATE_UID
};

/* Who verifies a password. */
enum config_passwords {
	CONFIG_PASSWORDS_DIRECTORY,
	CONFIG_PASSWORDS_KDC /* where it gets the user's ticket anyway */
};

/* Who decides about a login where a listener says `authentication = verify`. */
struct config_auth {
	long processes;
	long connections; /* to each directory server, of each process */
	long requests;    /* under way at once, of each process and relay */
	long deadline;    /* s */
	struct setting_list masters;  /* uids that may log in as others */
	const char *master_separator; /* USER*MASTER; "": none */
	int certificate_name;         /* enum config_certificate_name */
	const char *keytab;           /* of this proxy's services; NULL: none */
	const char *realm;            /* of accounts' uids; NULL: none */
	int passwords;                /* enum config_passwords */
	long tickets;          /* of users, kept by each process; 0: none */
	long ticket_time;      /* s that they are kept; 0: not at all */
	long ticket_processes; /* that ask KDCs at once, of each process */
};

enum config_login_as {
	CONFIG_LOGIN_PASSWORD, /* what the client said */
	CONFIG_LOGIN_MASTER,
	CONFIG_LOGIN_GSSAPI, /* our own ticket, for the user */
	CONFIG_LOGIN_TICKET  /* the user's own ticket */
};

/* What the client gave that its user's ticket is got by. */
enum config_source {
	CONFIG_SOURCE_PASSWORD,
	CONFIG_SOURCE_FORWARDED, /* the TGT that it forwarded */
	CONFIG_SOURCE_S4U2PROXY, /* its ticket for us, as evidence */
	CONFIG_SOURCE_PROXY,     /* nothing: our own ticket, for the user */
	CONFIG_SOURCE_COUNT
};

/* How the proxy, having verified a user, logs in at back ends. */
struct config_login {
	const char *title;
	long line;
	struct setting_list pools;         /* empty: all */
	struct setting_list service_names; /* empty: all */
	int as;                            /* enum config_login_as */
	const char *user, *password_file;  /* the master's; or a principal */
	const char *keytab;                /* and its key */
	struct setting_list source_names;  /* of the user's ticket, in order */

	/* derived: the names' values */
	enum config_source sources[CONFIG_SOURCE_COUNT];
	size_t source_count;
	unsigned services; /* derived: a bit 1 << enum service_kind for each */
};

/* What comes of wrong passwords. */
struct config_failures {
	long delay, delay_max; /* ms until a failure is answered */
	long window;           /* s that failures are counted together */
	long session_attempts;
	long address_attempts, account_attempts; /* 0: no limit */
};

struct config_delivery {
	const char *delimiter; /* between user and detail; "" for none */
	bool bare_lf;          /* pass messages with a CR or LF by itself */
	long recipients;       /* of one message */
	long hops;             /* that a message may have behind it */
	long message_size;     /* octets; 0: the servers decide */
	int smtp_recipients;   /* enum config_recipients */
};

struct config_limits {
	long line_size;        /* octets */
	long literal_size;     /* octets */
	long login_time;       /* s */
	long idle_time;        /* s */
	long write_stall_time; /* s */
	long sessions;         /* of each relay */
	long bad_commands;
	/* of the whole host; 0: no limit */
	long address_sessions;                     /* of one address */
	long address_waiting;                      /* of them not logged in */
	long address_bits_ipv4, address_bits_ipv6; /* that make an address */
	long user_sessions; /* of one user at one service */
	long login_memory;  /* MiB, of all sessions before login */
	struct setting_list unlimited_texts;

	/* derived by config_read */
	struct networks unlimited; /* no limit by address here */
};

enum config_directory_tls {
	CONFIG_DIRECTORY_NONE,
	CONFIG_DIRECTORY_STARTTLS
};

enum config_directory_bind {
	CONFIG_DIRECTORY_SIMPLE,
	CONFIG_DIRECTORY_EXTERNAL /* by certificate, or as who we are */
};

/*
 * The directory's servers: auth processes ask them about passwords, and with a
 * name this proxy writes there what it observes.
 */
struct config_directory {
	struct setting_list uris;
	int bind; /* enum config_directory_bind */
	const char *bind_dn, *password_file;
	const char *ca_file;           /* NULL: the system's */
	const char *certificate, *key; /* our own; NULL: none */
	int tls;                       /* enum config_directory_tls */
	const char *name; /* cn of the proxy's own entry; NULL: no observer */
	const char *user; /* whom the auth process becomes */
	long timeout;     /* s */
};

struct config_metrics {
	const char *address; /* numeric */
	long port;           /* 0: no metrics */
	long stale_time;     /* s without a directory until we are ill */
};

struct config_probe {
	const char *user; /* NULL: no login; %s: the server's name */
	const char *password_file;
	long interval; /* ms */
	long timeout;  /* ms */
	long good;     /* probes in a row until up */
};

struct config {
	const char *path; /* of the file; borrowed */
	const char *host_name;
	const char *replica;
	long start_wait; /* s */
	const char *run_dir;
	const char *user;
	const char *chroot;
	long relays; /* 0 was replaced by the number of cores */
	struct setting_list dns_servers;
	int log;       /* enum log_target */
	int log_level; /* enum log_level */
	struct config_tls tls;
	struct setting_items listeners; /* struct config_listener */
	struct setting_items networks;  /* struct config_network */
	struct config_backend backend;
	struct config_auth auth;
	struct setting_items logins; /* struct config_login */
	struct config_failures failures;
	struct config_delivery delivery;
	struct config_limits limits;
	struct config_directory directory;
	struct config_probe probe;
	struct config_metrics metrics;
	struct settings *settings; /* owned: the text of all above */
};

/*
 * Reads and checks the file; opens nothing but it. 0; or -1 with every fault as
 * a line "FILE:LINE: text" in errors.
 */
int config_read(
    struct config **config_out, const char *path, struct buf *errors);
void config_free(struct config **config);

/* Whether this proxy is an observer. */
bool config_observes(const struct config *config);

/* Whether there is a listener of that service. */
bool config_listens(const struct config *config, enum service_kind service);

/* Whether a listener leaves the decision about logins to this proxy. */
bool config_verifies(const struct config *config);

/* Has any row that source? */
bool config_uses_source(const struct config *config, enum config_source source);
bool config_login_uses(
    const struct config_login *login, enum config_source source);

/* The first row for this pool and service; NULL: with the user's password. */
const struct config_login *config_find_login(
    const struct config *config, struct slice pool, enum service_kind service);

const struct config_listener *config_listeners(
    const struct config *config, size_t *count);

/*
 * What a client at that address is offered: a bit 1 << enum sasl_mechanism for
 * each mechanism, and whether credentials may come without TLS. The smallest
 * network that it is in decides, else the listener.
 */
void config_access(const struct config *config,
    const struct config_listener *listener, const union address *client,
    unsigned *mechanisms, bool *plaintext);

/* Does it concern the listener of that title? */
bool config_is_network_of(
    const struct config_network *network, const char *title);
/* What is offered there to anybody, wherever a client is. */
unsigned config_mechanisms(
    const struct config *config, const struct config_listener *listener);
/* Is anybody offered a mechanism there that the back end has to take? */
bool config_relays_mechanisms(
    const struct config *config, const struct config_listener *listener);

/* The options' rows as text, for tests of the manual page. */
void config_describe(struct buf *out);

#endif
