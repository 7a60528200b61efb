#include "proxy/tls.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "proxy/tls_files.h"

/* Adds "FILE: text" with OpenSSL's own reason, or the system's. */
static void
complain(struct buf *errors, const char *file, const char *text)
{
	unsigned long error = ERR_peek_error();
	const char *reason = ERR_reason_error_string(error);

	if (ERR_SYSTEM_ERROR(error))
		reason = strerrordesc_np(ERR_GET_REASON(error));
	buf_printf(errors, "%s: %s: %s\n", file, text,
	    reason ? reason : "unknown reason");
	ERR_clear_error();
}

static SSL_CTX *
new_context(const SSL_METHOD *method)
{
	SSL_CTX *context = SSL_CTX_new(method);

	if (!context)
		return NULL;
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
		SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* Idle sessions hold no record buffers, and writes may resume from
	 * elsewhere. */
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS |
				      SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* Header and body of a record by one call of the system. */
	SSL_CTX_set_read_ahead(context, 1);
	return context;
}

/* ---- what a client asks for in its first message ---- */

/* The registered name of a service, its length before it; NULL: it has none. */
static const char *
alpn_name(enum service_kind service)
{
	static const char *const names[SERVICE_KIND_COUNT] = {
		[SERVICE_IMAP] = "\4imap",
		[SERVICE_POP3] = "\4pop3",
		[SERVICE_SIEVE] = "\13managesieve",
	};

	return names[service];
}

/* A client that means another protocol was led here by an attacker, or by
 * mistake (RFC 9325 section 3.7). */
static int
on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_size,
    const unsigned char *offered, unsigned offered_size, void *context)
{
	const char *ours = SSL_get_app_data(ssl);

	(void)context;
	if (!ours)
		return SSL_TLSEXT_ERR_NOACK;
	for (unsigned at = 0; at < offered_size; at += offered[at] + 1U) {
		if (offered[at] != (unsigned char)ours[0] ||
		    offered_size - at <= offered[at] ||
		    memcmp(offered + at, ours, offered[at] + 1U) != 0)
			continue;
		*chosen = offered + at + 1;
		*chosen_size = offered[at];
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int
/* OpenSSL says what its arguments are. */
/* NOLINTNEXTLINE(readability-non-const-parameter) */
on_server_name(SSL *ssl, int *alert, void *context)
{
	const struct tls_front *front = context;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	const struct tls_name *found =
	    name ? tls_names_find(&front->names, name) : NULL;

	(void)alert;
	if (!found)
		return SSL_TLSEXT_ERR_NOACK;
	SSL_set_SSL_CTX(ssl, front->sets[found->context].context);
	return SSL_TLSEXT_ERR_OK;
}

static int
verify_mode(int certificate)
{
	switch ((enum config_client_certificate)certificate) {
	case CONFIG_CLIENT_CERTIFICATE_ASK:
		return SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE;
	case CONFIG_CLIENT_CERTIFICATE_REQUIRE:
		return SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE |
		       SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	case CONFIG_CLIENT_CERTIFICATE_NONE:
		break;
	}
	return SSL_VERIFY_NONE;
}

void
tls_front_expect(SSL *ssl, enum service_kind service, int certificate)
{
	/* Declared without const, never written. */
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	SSL_set_app_data(ssl, (void *)(uintptr_t)alpn_name(service));
	SSL_set_verify(ssl, verify_mode(certificate), NULL);
}

/* ---- contexts for clients ---- */

/* Who may sign certificates of clients. */
static void
trust_clients(
    SSL_CTX *context, const struct config_tls *tls, struct buf *errors)
{
	STACK_OF(X509_NAME) * names;

	if (!tls->client_ca)
		return;
	names = SSL_load_client_CA_file(tls->client_ca);
	if (!names || SSL_CTX_load_verify_file(context, tls->client_ca) != 1) {
		complain(
		    errors, tls->client_ca, "no usable CA certificates in PEM");
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return;
	}
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, verify_mode(tls->client_certificate), NULL);
}

static SSL_CTX *
new_front_context(struct tls_front *front, const struct config_tls *tls)
{
	SSL_CTX *context = new_context(TLS_server_method());

	if (!context)
		abort();
	if (tls->protocol_min == 1)
		SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	/* One ticket, and no cache: sessions live with the clients. */
	SSL_CTX_set_num_tickets(context, 1);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(
	    context, (const unsigned char *)"postcell", 8);
	SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
	SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
	SSL_CTX_set_tlsext_servername_arg(context, front);
	if (front->tickets.count > 0)
		tls_tickets_set(context, &front->tickets);
	return context;
}

/* What is said once and holds for all contexts alike. */
static void
check_words(SSL_CTX *context, const struct config_tls *tls, struct buf *errors)
{
	if (tls->ciphers && SSL_CTX_set_cipher_list(context, tls->ciphers) != 1)
		complain(errors, tls->ciphers, "not a list of ciphers");
	if (tls->ciphersuites &&
	    SSL_CTX_set_ciphersuites(context, tls->ciphersuites) != 1)
		complain(
		    errors, tls->ciphersuites, "not a list of ciphersuites");
}

/* A password would be asked for at the terminal. */
static int
/* OpenSSL says what its arguments are. */
/* NOLINTNEXTLINE(readability-non-const-parameter) */
no_password(char *room, int size, int writing, void *context)
{
	(void)room;
	(void)size;
	(void)writing;
	(void)context;
	return -1;
}

static int
load_certificate(SSL_CTX *context, const char *certificate, const char *key,
    struct buf *errors)
{
	SSL_CTX_set_default_passwd_cb(context, no_password);
	if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) {
		complain(
		    errors, certificate, "not a usable certificate in PEM");
		return -1;
	}
	if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
		complain(errors, key, "not the certificate's key in PEM");
		return -1;
	}
	return 0;
}

static time_t
not_after(const X509 *certificate)
{
	struct tm broken = { 0 };

	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &broken) != 1)
		return 0;
	return timegm(&broken);
}

static enum tls_key
key_of(const X509 *certificate)
{
	switch (EVP_PKEY_get_base_id(X509_get0_pubkey(certificate))) {
	case EVP_PKEY_RSA:
		return TLS_KEY_RSA;
	case EVP_PKEY_EC:
		return TLS_KEY_ECDSA;
	default:
		return TLS_KEY_OTHER;
	}
}

/* Loads it into a context of its own. 0, or -1 with a line in errors. */
static int
add_certificate(struct tls_front *front, const struct config_tls *tls,
    const char *file, const char *key, struct buf *errors)
{
	struct tls_certificate *more = reallocarray(
	    front->certificates, front->certificate_count + 1, sizeof(*more));
	SSL_CTX *context = new_front_context(front, tls);

	if (!more)
		abort();
	front->certificates = more;
	more += front->certificate_count++;
	*more = (struct tls_certificate){ .file = strdup(file),
		.context = context };
	if (!more->file)
		abort();
	trust_clients(context, tls, errors);
	if (load_certificate(context, file, key, errors) < 0)
		return -1;
	more->not_after = not_after(SSL_CTX_get0_certificate(context));
	more->key = key_of(SSL_CTX_get0_certificate(context));
	return 0;
}

/* ---- sets of certificates ---- */

static bool
is_set(const struct tls_set *set, const int certificates[TLS_KEY_COUNT])
{
	for (size_t i = 0; i < TLS_KEY_COUNT; i++)
		if (set->certificates[i] != certificates[i])
			return false;
	return true;
}

static void
share_certificate(SSL_CTX *context, SSL_CTX *with)
{
	STACK_OF(X509) *chain = NULL;

	SSL_CTX_get0_chain_certs(with, &chain);
	if (SSL_CTX_use_cert_and_key(context, SSL_CTX_get0_certificate(with),
		SSL_CTX_get0_privatekey(with), chain, 1) != 1)
		abort();
}

/* The number of the set of those certificates, made when it is a new one. */
static unsigned
find_set(struct tls_front *front, const struct config_tls *tls,
    const int certificates[TLS_KEY_COUNT], struct buf *errors)
{
	struct tls_set *more;

	for (size_t i = 0; i < front->set_count; i++)
		if (is_set(&front->sets[i], certificates))
			return (unsigned)i;
	more = reallocarray(
	    front->sets, front->set_count + 1, sizeof(*front->sets));
	if (!more)
		abort();
	front->sets = more;
	more += front->set_count;
	more->context = new_front_context(front, tls);
	trust_clients(more->context, tls, errors);
	for (size_t i = 0; i < TLS_KEY_COUNT; i++) {
		more->certificates[i] = certificates[i];
		if (certificates[i] != TLS_NO_CERTIFICATE)
			share_certificate(more->context,
			    front->certificates[certificates[i]].context);
	}
	return (unsigned)front->set_count++;
}

/* Of whoever asks for no name, or one that nobody has. */
static void
add_default(
    struct tls_front *front, const struct config_tls *tls, struct buf *errors)
{
	int certificates[TLS_KEY_COUNT];
	const struct tls_certificate *last;

	for (size_t i = 0; i < TLS_KEY_COUNT; i++)
		certificates[i] = TLS_NO_CERTIFICATE;
	if (add_certificate(front, tls, tls->certificate, tls->key, errors) < 0)
		return;
	certificates[front->certificates[0].key] = 0;
	if (tls->alt_certificate &&
	    add_certificate(
		front, tls, tls->alt_certificate, tls->alt_key, errors) < 0)
		return;
	last = &front->certificates[front->certificate_count - 1];
	if (tls->alt_certificate && last->key == front->certificates[0].key) {
		buf_printf(errors, "%s: has the same kind of key as %s\n",
		    tls->alt_certificate, tls->certificate);
		return;
	}
	certificates[last->key] = (int)front->certificate_count - 1;
	(void)find_set(front, tls, certificates, errors);
}

/* ---- the folder of certificates ---- */

static void
add_name(struct tls_front *front, const ASN1_STRING *text)
{
	size_t last = front->certificate_count - 1;

	/* What is no name of a host nobody can ask for. */
	(void)tls_names_add(&front->names,
	    slice_of(
		ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)),
	    front->certificates[last].key, (int)last);
}

/* By the names of hosts that it is for; of an old one without any, its CN (RFC
 * 6125 section 6.4.4). */
static void
add_names(struct tls_front *front)
{
	const struct tls_certificate *last =
	    &front->certificates[front->certificate_count - 1];
	X509 *certificate = SSL_CTX_get0_certificate(last->context);
	const X509_NAME *subject = X509_get_subject_name(certificate);
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_DNS)
			add_name(front, name->d.dNSName);
	}
	if (!names && at >= 0)
		add_name(front,
		    X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	GENERAL_NAMES_free(names);
}

struct folder {
	struct tls_front *front;
	const struct config_tls *tls;
	struct buf *errors;
};

static void
add_file(void *context, const char *certificate, const char *key)
{
	struct folder *folder = context;

	if (add_certificate(folder->front, folder->tls, certificate, key,
		folder->errors) == 0)
		add_names(folder->front);
}

static void
add_folder(
    struct tls_front *front, const struct config_tls *tls, struct buf *errors)
{
	struct folder folder = { front, tls, errors };
	struct tls_names_clash clash;
	const char *why;

	if (tls_files_each(tls->certificates, add_file, &folder, &why) < 0) {
		buf_printf(errors, "%s: %s\n", tls->certificates, why);
		return;
	}
	if (!tls_names_seal(&front->names, &clash)) {
		buf_printf(errors,
		    "%s: is for %s, and so is %s, with the same kind of key\n",
		    front->certificates[clash.certificates[1]].file, clash.name,
		    front->certificates[clash.certificates[0]].file);
		return;
	}
	for (size_t i = 0; i < front->names.count; i++)
		front->names.names[i].context = find_set(
		    front, tls, front->names.names[i].certificates, errors);
}

struct tls_front *
tls_front_new(const struct config_tls *tls, struct buf *errors)
{
	struct tls_front *front = calloc(1, sizeof(*front));

	if (!front)
		abort();
	if (!tls->certificate)
		return front;
	if (tls->ticket_keys)
		(void)tls_tickets_read(
		    &front->tickets, tls->ticket_keys, errors);
	add_default(front, tls, errors);
	if (tls->certificates)
		add_folder(front, tls, errors);
	front->context = front->set_count > 0 ? front->sets[0].context
					      : front->certificates[0].context;
	/* Ciphers are those of the first context, whatever the name. */
	check_words(front->context, tls, errors);
	return front;
}

void
tls_front_free(struct tls_front **front)
{
	struct tls_front *old = *front;

	*front = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < old->certificate_count; i++) {
		SSL_CTX_free(old->certificates[i].context);
		free(old->certificates[i].file);
	}
	for (size_t i = 0; i < old->set_count; i++)
		SSL_CTX_free(old->sets[i].context);
	free(old->certificates);
	free(old->sets);
	tls_names_free(&old->names);
	OPENSSL_cleanse(&old->tickets, sizeof(old->tickets));
	free(old);
}

/* ---- who a client is ---- */

/* A name with a NUL in it would be cut short by whoever reads it. */
static int
add_string(struct buf *out, const ASN1_STRING *text)
{
	unsigned char *octets = NULL;
	int size = ASN1_STRING_to_UTF8(&octets, text);
	int result = -1;

	if (size > 0 &&
	    slice_find(slice_of(octets, (size_t)size), '\0') == SIZE_MAX)
		result = buf_add(out, octets, (size_t)size);
	OPENSSL_free(octets);
	return result;
}

static int
add_mail(struct buf *out, const X509 *certificate)
{
	GENERAL_NAMES *names =
	    X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int result = -1;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && result < 0; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_EMAIL)
			result = add_string(out, name->d.rfc822Name);
	}
	GENERAL_NAMES_free(names);
	return result;
}

static int
add_entry(struct buf *out, const X509_NAME *subject, int kind)
{
	int at = X509_NAME_get_index_by_NID(subject, kind, -1);

	return at < 0 ? -1
		      : add_string(out, X509_NAME_ENTRY_get_data(
					    X509_NAME_get_entry(subject, at)));
}

static int
add_subject(struct buf *out, const X509_NAME *subject)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *text = NULL;
	int result = -1;
	long size;

	if (!memory)
		return -1;
	if (X509_NAME_print_ex(memory, subject, 0,
		XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) > 0) {
		size = BIO_get_mem_data(memory, &text);
		if (size > 0)
			result = buf_add(out, text, (size_t)size);
	}
	BIO_free(memory);
	return result;
}

int
tls_client_name(const SSL *ssl, enum tls_client_part part, struct buf *out)
{
	const X509 *certificate = ssl ? SSL_get0_peer_certificate(ssl) : NULL;
	const X509_NAME *subject;

	if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK)
		return -1;
	subject = X509_get_subject_name(certificate);
	switch (part) {
	case TLS_CLIENT_SUBJECT:
		return add_subject(out, subject);
	case TLS_CLIENT_COMMON_NAME:
		return add_entry(out, subject, NID_commonName);
	case TLS_CLIENT_UID:
		return add_entry(out, subject, NID_userId);
	case TLS_CLIENT_MAIL:
		return add_mail(out, certificate);
	}
	return -1;
}

/* ---- towards back ends ---- */

SSL_CTX *
tls_back_context(const struct config_backend *backend, struct buf *errors)
{
	SSL_CTX *context = new_context(TLS_client_method());

	if (!context) {
		buf_add_string(errors, "out of memory\n");
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	if (backend->ca_file) {
		if (SSL_CTX_load_verify_file(context, backend->ca_file) != 1)
			complain(errors, backend->ca_file,
			    "no usable CA certificates in PEM");
	} else {
		SSL_CTX_set_default_verify_paths(context);
	}
	if (backend->verify)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	return context;
}
