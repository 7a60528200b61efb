/* What all plays of a process share: configuration, certificate, cell. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "lib/record.h"
#include "proxy/tls.h"
#include "replica/store.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/stage.h"

#define RECORD_MAX 4096
#define PATH_SIZE  64

static const char configuration[] =
    "host_name = \"mail.example.org\"\n"
    "tls { certificate = \"%s/cert\" key = \"%s/key\" watch_time = 0 }\n"
    "listen imap {}\nlisten pop3 {}\nlisten submission {}\nlisten sieve {}\n"
    "listen lmtp { addresses = { \"127.0.0.1\" } tls = starttls }\n"
    "listen smtp { addresses = { \"127.0.0.1\" } tls = starttls "
    "hub_networks = { \"127.0.0.0/8\" } }\n"
    "backend { verify = no }\n"
    "limits { line_size = 512 literal_size = 64 }\n";

/* One server speaks plainly, one by STARTTLS, one by TLS from the start and,
 * for mail, by SMTP. */
static const char *const services[STAGE_SERVERS][5] = {
	{ "imap://127.0.0.1?tls=none", "pop3://127.0.0.1?tls=none",
	    "submission://127.0.0.1?tls=none", "sieve://127.0.0.1?tls=none",
	    "lmtp://127.0.0.1?tls=none" },
	{ "imap://127.0.0.2?tls=starttls", "pop3://127.0.0.2?tls=starttls",
	    "submission://127.0.0.2?tls=starttls",
	    "sieve://127.0.0.2?tls=starttls", "lmtp://127.0.0.2?tls=starttls" },
	{ "imaps://127.0.0.3", "pop3s://127.0.0.3", "submissions://127.0.0.3",
	    "sieve://127.0.0.3?tls=none", "smtp://127.0.0.3?tls=none" },
};

struct slice
stage_account(unsigned number)
{
	static char id[LAYOUT_ID_SIZE];

	memset(id, (int)('a' + number), sizeof(id));
	return slice_of(id, sizeof(id));
}

static void
put(struct store *store, enum store_table table, struct slice id,
    struct buf *record)
{
	const char *why = NULL;
	bool changed;

	fuzz_require(
	    !record->failed && store_put(store, table, id, buf_slice(record),
				   &changed, &why) == 0,
	    "the cell can be written");
	buf_free(record);
}

static void
put_host(struct store *store, unsigned number)
{
	struct buf record = buf_bounded(RECORD_MAX);
	char name[] = { 's', (char)('0' + number), '\0' };
	char id[LAYOUT_ID_SIZE];

	memset(id, (int)('A' + number), sizeof(id));
	record_add(&record, CELL_ID, slice_of(id, sizeof(id)));
	record_add(&record, CELL_KIND, slice_from("server"));
	record_add(&record, CELL_NAME, slice_from(name));
	record_add(&record, CELL_STATE, slice_from("up"));
	for (size_t i = 0; i < ARRAY_SIZE(services[number]); i++)
		record_add(
		    &record, CELL_SERVICE, slice_from(services[number][i]));
	put(store, STORE_CELL, slice_of(id, sizeof(id)), &record);
}

static void
put_pool(struct store *store)
{
	struct buf record = buf_bounded(RECORD_MAX);
	char id[LAYOUT_ID_SIZE];

	memset(id, 'P', sizeof(id));
	record_add(&record, CELL_ID, slice_of(id, sizeof(id)));
	record_add(&record, CELL_KIND, slice_from("pool"));
	record_add(&record, CELL_NAME, slice_from("mail"));
	put(store, STORE_CELL, slice_of(id, sizeof(id)), &record);
}

static void
put_account(struct store *store, unsigned number)
{
	struct buf record = buf_bounded(RECORD_MAX);
	struct slice id = stage_account(number);
	char name[32];

	record_add(&record, ACCOUNT_ID, id);
	(void)snprintf(name, sizeof(name), "uid=u%u,o=x", number);
	record_add(&record, ACCOUNT_DN, slice_from(name));
	(void)snprintf(name, sizeof(name), "u%u", number);
	record_add(&record, ACCOUNT_UID, slice_from(name));
	(void)snprintf(name, sizeof(name), "u%u@example.org", number);
	record_add(&record, ACCOUNT_ADDRESS, slice_from(name));
	(void)snprintf(name, sizeof(name), "u%u@CELL.TEST", number);
	record_add(&record, ACCOUNT_PRINCIPAL, slice_from(name));
	(void)snprintf(name, sizeof(name), "s%u", number % STAGE_SERVERS);
	record_add(&record, ACCOUNT_PIN, slice_from(name));
	if (number == 6)
		record_add(&record, ACCOUNT_STATUS, slice_from("disabled"));
	if (number == 7)
		record_add(
		    &record, ACCOUNT_STATUS, slice_from("nologin Moving."));
	if (number == 8)
		record_add(
		    &record, ACCOUNT_ROUTING, slice_from("u0@example.org"));
	put(store, STORE_ACCOUNTS, id, &record);
}

static void
write_cell(const char *path)
{
	struct layout_gate gate = { .complete = true };
	struct store *store = NULL;
	enum store_found found;
	const char *why = NULL;

	fuzz_require(
	    store_open(&store, path, (size_t)4 << 20, &found, &why) == 0 &&
		store_begin(store, &why) == 0,
	    "a replica can be made");
	put_pool(store);
	for (unsigned i = 0; i < STAGE_SERVERS; i++)
		put_host(store, i);
	for (unsigned i = 0; i < 9; i++)
		put_account(store, i);
	fuzz_require(store_put_gate(store, &gate, &why) == 0 &&
			 store_commit(store, &why) == 0,
	    "the cell can be written");
	store_free(&store);
}

static void
write_certificate(const char *folder)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	X509_NAME *name;
	char path[PATH_SIZE];
	FILE *file;

	fuzz_require(key && certificate, "a key can be made");
	name = X509_get_subject_name(certificate);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	    (const unsigned char *)"mail.example.org", -1, -1, 0);
	X509_set_issuer_name(certificate, name);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -86400);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400L * 3650);
	X509_set_pubkey(certificate, key);
	fuzz_require(X509_sign(certificate, key, EVP_sha256()) > 0, "signed");
	(void)snprintf(path, sizeof(path), "%s/cert", folder);
	file = fopen(path, "w");
	fuzz_require(file, "a file for the certificate");
	fuzz_require(
	    PEM_write_X509(file, certificate) == 1 && fclose(file) == 0,
	    "a certificate can be written");
	(void)snprintf(path, sizeof(path), "%s/key", folder);
	file = fopen(path, "w");
	fuzz_require(file, "a file for the key");
	fuzz_require(
	    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
		fclose(file) == 0,
	    "a key can be written");
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void
read_config(struct stage_world *world, const char *folder)
{
	struct buf errors = buf_bounded(65536);
	char path[PATH_SIZE];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/conf", folder);
	file = fopen(path, "w");
	fuzz_require(file && fprintf(file, configuration, folder, folder) > 0 &&
			 fclose(file) == 0,
	    "a configuration can be written");
	if (config_read(&world->config, path, &errors) < 0)
		fuzz_require(false, buf_string(&errors));
	world->front = tls_front_new(&world->config->tls, &errors);
	world->back = tls_back_context(&world->config->backend, &errors);
	fuzz_require(
	    errors.size == 0 && world->front && world->back, "TLS can be had");
	buf_free(&errors);
}

static void
make_peers(struct stage_world *world, const char *folder)
{
	char path[PATH_SIZE];

	world->server = SSL_CTX_new(TLS_server_method());
	world->client = SSL_CTX_new(TLS_client_method());
	fuzz_require(world->server && world->client, "TLS can be had");
	(void)snprintf(path, sizeof(path), "%s/cert", folder);
	SSL_CTX_use_certificate_file(world->server, path, SSL_FILETYPE_PEM);
	(void)snprintf(path, sizeof(path), "%s/key", folder);
	SSL_CTX_use_PrivateKey_file(world->server, path, SSL_FILETYPE_PEM);
	SSL_CTX_set_mode(
	    world->server, SSL_MODE_ENABLE_PARTIAL_WRITE |
			       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_mode(
	    world->client, SSL_MODE_ENABLE_PARTIAL_WRITE |
			       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

struct stage_world *
stage_world(void)
{
	static struct stage_world world;
	char folder[] = "/tmp/postcell-fuzz-XXXXXX";
	const char *why = NULL;

	if (world.stats)
		return &world;
	/* As the proxy does it. */
	(void)signal(SIGPIPE, SIG_IGN);
	fuzz_require(mkdtemp(folder), "a folder can be made");
	write_certificate(folder);
	write_cell(folder);
	read_config(&world, folder);
	make_peers(&world, folder);
	fuzz_require(router_open(&world.router, folder, &world.config->backend,
			 &why) == 0,
	    "the replica can be read");
	fuzz_remove_folder(folder);
	world.stats = mmap(NULL, sizeof(*world.stats), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	fuzz_require(world.stats != MAP_FAILED, "there is memory");
	failures_seed(&world.stats->failures);
	return &world;
}
