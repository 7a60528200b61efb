#include "proxy/auth_gss.h"

#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

#include "proxy/credential.h"

#define NAME_SIZE 1024
#define WHY_SIZE  256

/* RFC 4752 section 3.3: the first octet of the last two messages. */
#define LAYER_NONE 1
#define LAYER_SIZE 4 /* octets before the authzid */

enum gss_step {
	STEP_CONTEXT, /* the security context is not complete */
	STEP_OFFER,   /* server: the client has our last token */
	STEP_CHOICE,  /* server: its choice of a layer will come */
	STEP_LAYERS,  /* client: the server's offer will come */
	STEP_DONE
};

struct gss_exchange {
	bool accepts, keeps;
	enum gss_step step;
	enum service_kind service;
	gss_cred_id_t credential;        /* owned by acceptors, else borrowed */
	gss_ctx_id_t context;            /* owned */
	gss_name_t server;               /* owned: initiators */
	struct buf name, authorise, why; /* owned */
	struct gss_proof proof;          /* owned: acceptors */
};

const char *
gss_service_name(enum service_kind service)
{
	static const char *const names[SERVICE_KIND_COUNT] = {
		[SERVICE_IMAP] = "imap",
		[SERVICE_POP3] = "pop",
		[SERVICE_SUBMISSION] = "smtp",
		[SERVICE_SIEVE] = "sieve",
	};

	return names[service];
}

static struct slice
slice_of_buffer(const gss_buffer_desc *buffer)
{
	return slice_of(buffer->value, buffer->length);
}

/* What the library says of its last failure. */
static enum gss_result
fail_code(struct gss_exchange *exchange, OM_uint32 major, OM_uint32 minor)
{
	gss_buffer_desc text = { 0, NULL };
	OM_uint32 more = 0, ignored;
	bool is_mechanism = major == GSS_S_FAILURE && minor != 0;

	buf_clear(&exchange->why);
	if (gss_display_status(&ignored, is_mechanism ? minor : major,
		is_mechanism ? GSS_C_MECH_CODE : GSS_C_GSS_CODE, GSS_C_NO_OID,
		&more, &text) == GSS_S_COMPLETE)
		buf_add_slice(&exchange->why,
		    slice_first(slice_of_buffer(&text), WHY_SIZE));
	(void)gss_release_buffer(&ignored, &text);
	return GSS_FAILED;
}

static enum gss_result
fail(struct gss_exchange *exchange, const char *why)
{
	buf_clear(&exchange->why);
	buf_add_string(&exchange->why, why);
	return GSS_FAILED;
}

static int
read_name(gss_name_t name, struct buf *out)
{
	gss_buffer_desc text = { 0, NULL };
	OM_uint32 minor;
	int result = -1;

	buf_clear(out);
	if (gss_display_name(&minor, name, &text, NULL) == GSS_S_COMPLETE &&
	    !slice_is(slice_of_buffer(&text), "") &&
	    slice_find(slice_of_buffer(&text), '\0') == SIZE_MAX)
		result = buf_add_slice(out, slice_of_buffer(&text));
	(void)gss_release_buffer(&minor, &text);
	return result;
}

/* ---- messages within the context ---- */

static enum gss_result
wrap(struct gss_exchange *exchange, struct slice text, struct buf *out)
{
	struct buf plain = buf_bounded(NAME_SIZE + LAYER_SIZE);
	gss_buffer_desc input, output = { 0, NULL };
	enum gss_result result = GSS_CONTINUE;
	OM_uint32 major, minor;

	buf_add_slice(&plain, text);
	input = (gss_buffer_desc){ plain.size, plain.data };
	major = gss_wrap(&minor, exchange->context, 0, GSS_C_QOP_DEFAULT,
	    &input, NULL, &output);
	if (major != GSS_S_COMPLETE)
		result = fail_code(exchange, major, minor);
	else
		buf_add_slice(out, slice_of_buffer(&output));
	(void)gss_release_buffer(&minor, &output);
	buf_free(&plain);
	return result;
}

static int
unwrap(struct gss_exchange *exchange, struct slice message, struct buf *plain)
{
	struct buf copy = buf_bounded(UINT16_MAX);
	gss_buffer_desc input, output = { 0, NULL };
	OM_uint32 major, minor;
	int result = -1;

	buf_add_slice(&copy, message);
	input = (gss_buffer_desc){ copy.size, copy.data };
	major =
	    gss_unwrap(&minor, exchange->context, &input, &output, NULL, NULL);
	if (major != GSS_S_COMPLETE)
		(void)fail_code(exchange, major, minor);
	else if (buf_add_slice(plain, slice_of_buffer(&output)) < 0 ||
		 plain->size < LAYER_SIZE)
		(void)fail(exchange, "the choice of a layer is malformed");
	else
		result = 0;
	(void)gss_release_buffer(&minor, &output);
	buf_free(&copy);
	return result;
}

/* ---- server ---- */

/* The ticket has to be for the service that is spoken here. */
static bool
is_for_service(struct gss_exchange *exchange)
{
	const char *service = gss_service_name(exchange->service);
	struct buf *text = &exchange->proof.service;
	gss_name_t target = GSS_C_NO_NAME;
	OM_uint32 minor;
	bool result = false;

	if (gss_inquire_context(&minor, exchange->context, NULL, &target, NULL,
		NULL, NULL, NULL, NULL) == GSS_S_COMPLETE &&
	    target != GSS_C_NO_NAME && read_name(target, text) == 0)
		result = slice_is_nocase(slice_first(buf_slice(text),
					     slice_find(buf_slice(text), '/')),
		    service);
	(void)gss_release_name(&minor, &target);
	return result;
}

struct slice
gss_token_request(struct slice token)
{
	/* The OID of Kerberos, and the id of an AP-REQ behind it. */
	static const unsigned char kerberos[] = { 0x06, 0x09, 0x2a, 0x86, 0x48,
		0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01, 0x00 };
	const unsigned char *octets = (const unsigned char *)token.data;
	size_t more = token.size > 1 && octets[1] > 0x80 ? octets[1] & 0x7f : 0;
	size_t head = 2 + more, size = 0;

	if (token.size < head || more > 3 || octets[0] != 0x60)
		return slice_from("");
	for (size_t i = 2; i < head; i++)
		size = size << 8 | octets[i];
	if (more == 0)
		size = octets[1];
	if (size != token.size - head || size < sizeof(kerberos) ||
	    memcmp(octets + head, kerberos, sizeof(kerberos)) != 0)
		return slice_from("");
	return slice_from_offset(token, head + sizeof(kerberos));
}

/* What is shown first, before it is known whether it is any good. */
static void
keep_request(struct gss_exchange *exchange, struct slice message)
{
	if (exchange->keeps && exchange->context == GSS_C_NO_CONTEXT) {
		buf_clear(&exchange->proof.evidence);
		buf_add_slice(
		    &exchange->proof.evidence, gss_token_request(message));
	}
}

static void
keep_rest(struct gss_exchange *exchange, gss_cred_id_t forwarded)
{
	OM_uint32 minor, flags = 0;

	if (!exchange->keeps)
		return;
	exchange->proof.forwardable =
	    gss_krb5_get_tkt_flags(&minor, exchange->context, &flags) ==
		GSS_S_COMPLETE &&
	    int2TicketFlags(flags).forwardable;
	if (forwarded != GSS_C_NO_CREDENTIAL &&
	    credential_write_forwarded(&exchange->proof.forwarded, forwarded) <
		0)
		buf_wipe(&exchange->proof.forwarded);
}

static enum gss_result
offer_layers(struct gss_exchange *exchange, struct buf *out)
{
	static const char layers[LAYER_SIZE] = { LAYER_NONE };

	exchange->step = STEP_CHOICE;
	return wrap(exchange, slice_of(layers, sizeof(layers)), out);
}

static enum gss_result
accept_token(
    struct gss_exchange *exchange, struct slice message, struct buf *out)
{
	struct buf copy = buf_bounded(UINT16_MAX);
	gss_buffer_desc input, output = { 0, NULL };
	gss_name_t client = GSS_C_NO_NAME;
	gss_cred_id_t forwarded = GSS_C_NO_CREDENTIAL;
	enum gss_result result = GSS_CONTINUE;
	OM_uint32 major, minor, ignored;

	keep_request(exchange, message);
	buf_add_slice(&copy, message);
	input = (gss_buffer_desc){ copy.size, copy.data };
	major = gss_accept_sec_context(&minor, &exchange->context,
	    exchange->credential, &input, GSS_C_NO_CHANNEL_BINDINGS, &client,
	    NULL, &output, NULL, NULL, exchange->keeps ? &forwarded : NULL);
	buf_add_slice(out, slice_of_buffer(&output));
	if (GSS_ERROR(major))
		result = fail_code(exchange, major, minor);
	else if (major == GSS_S_COMPLETE && !is_for_service(exchange))
		result = fail(exchange, "the ticket is for another service");
	else if (major == GSS_S_COMPLETE &&
		 read_name(client, &exchange->name) < 0)
		result = fail(exchange, "the ticket names nobody");
	else if (major == GSS_S_COMPLETE && output.length > 0)
		exchange->step = STEP_OFFER;
	else if (major == GSS_S_COMPLETE)
		result = offer_layers(exchange, out);
	if (major == GSS_S_COMPLETE)
		keep_rest(exchange, forwarded);
	if (forwarded != GSS_C_NO_CREDENTIAL)
		(void)gss_release_cred(&ignored, &forwarded);
	(void)gss_release_name(&ignored, &client);
	(void)gss_release_buffer(&ignored, &output);
	buf_free(&copy);
	return result;
}

static enum gss_result
take_choice(struct gss_exchange *exchange, struct slice message)
{
	struct buf plain = buf_bounded(NAME_SIZE + LAYER_SIZE);
	enum gss_result result = GSS_FINISHED;
	struct slice authorise;

	if (unwrap(exchange, message, &plain) < 0) {
		result = GSS_FAILED;
	} else if (plain.data[0] != LAYER_NONE) {
		result = fail(
		    exchange, "the client wants a security layer within TLS");
	} else {
		authorise = slice_from_offset(buf_slice(&plain), LAYER_SIZE);
		if (slice_find(authorise, '\0') != SIZE_MAX ||
		    buf_add_slice(&exchange->authorise, authorise) < 0)
			result = fail(exchange, "the authzid has a NUL");
	}
	exchange->step = STEP_DONE;
	buf_free(&plain);
	return result;
}

/* ---- client ---- */

static enum gss_result
initiate_token(
    struct gss_exchange *exchange, struct slice message, struct buf *out)
{
	struct buf copy = buf_bounded(UINT16_MAX);
	gss_buffer_desc input, output = { 0, NULL };
	enum gss_result result = GSS_CONTINUE;
	OM_uint32 major, minor, ignored;

	buf_add_slice(&copy, message);
	input = (gss_buffer_desc){ copy.size, copy.data };
	major = gss_init_sec_context(&minor, exchange->credential,
	    &exchange->context, exchange->server, GSS_KRB5_MECHANISM,
	    GSS_C_MUTUAL_FLAG | GSS_C_SEQUENCE_FLAG | GSS_C_INTEG_FLAG, 0,
	    GSS_C_NO_CHANNEL_BINDINGS, copy.size > 0 ? &input : NULL, NULL,
	    &output, NULL, NULL);
	buf_add_slice(out, slice_of_buffer(&output));
	/* From here on the context has all that it needs of them. */
	exchange->credential = GSS_C_NO_CREDENTIAL;
	if (GSS_ERROR(major))
		result = fail_code(exchange, major, minor);
	else if (major == GSS_S_COMPLETE)
		exchange->step = STEP_LAYERS;
	(void)gss_release_buffer(&ignored, &output);
	buf_free(&copy);
	return result;
}

static enum gss_result
choose_layer(
    struct gss_exchange *exchange, struct slice message, struct buf *out)
{
	struct buf plain = buf_bounded(NAME_SIZE + LAYER_SIZE);
	enum gss_result result;

	if (unwrap(exchange, message, &plain) < 0) {
		result = GSS_FAILED;
	} else if (!(plain.data[0] & LAYER_NONE)) {
		result = fail(exchange, "the server insists on a layer");
	} else {
		buf_clear(&plain);
		buf_add_char(&plain, LAYER_NONE);
		buf_add(&plain, "\0\0\0", LAYER_SIZE - 1);
		buf_add_slice(&plain, buf_slice(&exchange->authorise));
		result = wrap(exchange, buf_slice(&plain), out);
	}
	exchange->step = STEP_DONE;
	buf_free(&plain);
	return result;
}

/* ---- for others ---- */

enum gss_result
gss_exchange_step(struct gss_exchange *exchange, struct slice message,
    struct buf *out, const char **why)
{
	enum gss_result result = GSS_FAILED;

	switch (exchange->step) {
	case STEP_CONTEXT:
		result = exchange->accepts
			     ? accept_token(exchange, message, out)
			     : initiate_token(exchange, message, out);
		break;
	case STEP_OFFER:
		result = offer_layers(exchange, out);
		break;
	case STEP_CHOICE:
		result = take_choice(exchange, message);
		break;
	case STEP_LAYERS:
		result = choose_layer(exchange, message, out);
		break;
	case STEP_DONE:
		result = fail(exchange, "the exchange is over");
		break;
	}
	if (out->failed)
		result = fail(exchange, "a message is too long");
	*why = buf_string(&exchange->why);
	return result;
}

static struct gss_exchange *
exchange_new(void)
{
	struct gss_exchange *exchange = calloc(1, sizeof(*exchange));

	if (!exchange)
		abort();
	exchange->context = GSS_C_NO_CONTEXT;
	exchange->name = buf_bounded(NAME_SIZE);
	exchange->authorise = buf_bounded(NAME_SIZE);
	exchange->why = buf_bounded(WHY_SIZE);
	exchange->proof = (struct gss_proof){ .service = buf_bounded(NAME_SIZE),
		.evidence = buf_bounded(UINT16_MAX),
		.forwarded = buf_bounded(UINT16_MAX) };
	return exchange;
}

/* The file is read anew each time, so that a rotated key counts at once. */
static gss_cred_id_t
open_keytab(const char *path)
{
	gss_cred_id_t credential = GSS_C_NO_CREDENTIAL;
	krb5_context kerberos = NULL;
	krb5_keytab keytab = NULL;
	OM_uint32 minor;

	if (krb5_init_context(&kerberos) != 0)
		return GSS_C_NO_CREDENTIAL;
	if (krb5_kt_resolve(kerberos, path, &keytab) == 0 &&
	    gss_krb5_import_cred(&minor, NULL, NULL, keytab, &credential) !=
		GSS_S_COMPLETE)
		credential = GSS_C_NO_CREDENTIAL;
	if (keytab)
		krb5_kt_close(kerberos, keytab);
	krb5_free_context(kerberos);
	return credential;
}

struct gss_exchange *
gss_accept_new(
    const char *keytab, enum service_kind service, bool keeps, const char **why)
{
	gss_cred_id_t credential = gss_service_name(service)
				       ? open_keytab(keytab)
				       : GSS_C_NO_CREDENTIAL;
	struct gss_exchange *exchange;

	*why = "the keytab cannot be read";
	if (credential == GSS_C_NO_CREDENTIAL)
		return NULL;
	exchange = exchange_new();
	exchange->accepts = true;
	exchange->keeps = keeps;
	exchange->service = service;
	exchange->credential = credential;
	return exchange;
}

struct gss_exchange *
gss_initiate_new(gss_cred_id_t credential, const char *server,
    struct slice authorise, const char **why)
{
	struct buf text = buf_bounded(NAME_SIZE);
	gss_buffer_desc name;
	gss_name_t imported = GSS_C_NO_NAME;
	struct gss_exchange *exchange;
	OM_uint32 minor;

	buf_add_string(&text, server);
	name = (gss_buffer_desc){ text.size, text.data };
	*why = "the server's principal is none";
	if (text.failed ||
	    gss_import_name(&minor, &name, GSS_KRB5_NT_PRINCIPAL_NAME,
		&imported) != GSS_S_COMPLETE) {
		buf_free(&text);
		return NULL;
	}
	buf_free(&text);
	exchange = exchange_new();
	exchange->credential = credential;
	exchange->server = imported;
	buf_add_slice(&exchange->authorise, authorise);
	return exchange;
}

void
gss_exchange_free(struct gss_exchange **exchange)
{
	struct gss_exchange *old = *exchange;
	OM_uint32 minor;

	*exchange = NULL;
	if (!old)
		return;
	if (old->accepts)
		(void)gss_release_cred(&minor, &old->credential);
	if (old->context != GSS_C_NO_CONTEXT)
		(void)gss_delete_sec_context(&minor, &old->context, NULL);
	if (old->server != GSS_C_NO_NAME)
		(void)gss_release_name(&minor, &old->server);
	buf_free(&old->name);
	buf_free(&old->authorise);
	buf_free(&old->why);
	buf_free(&old->proof.service);
	buf_free(&old->proof.evidence);
	buf_wipe(&old->proof.forwarded);
	free(old);
}

const struct gss_proof *
gss_exchange_proof(const struct gss_exchange *exchange)
{
	return &exchange->proof;
}

struct slice
gss_exchange_name(const struct gss_exchange *exchange)
{
	return buf_slice(&exchange->name);
}

struct slice
gss_exchange_authorise(const struct gss_exchange *exchange)
{
	return buf_slice(&exchange->authorise);
}
