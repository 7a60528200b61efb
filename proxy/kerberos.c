#include "proxy/kerberos.h"

#include <stdlib.h>
#include <string.h>

#include <krb5.h>

#include "proxy/credential.h"
#include "proxy/sasl.h"

/* s that are asked for. Those of users serve one login, or some minutes. */
#define LIFE_OWN  3600
#define LIFE_USER 600

void
kerberos_question_init(struct kerberos_question *question)
{
	*question = (struct kerberos_question){
		.client = buf_bounded(KERBEROS_NAME_MAX),
		.server = buf_bounded(KERBEROS_NAME_MAX),
		.keytab = buf_bounded(KERBEROS_NAME_MAX),
		.password = buf_bounded(SASL_PASSWORD_SIZE_MAX),
		.tgt = buf_bounded(KERBEROS_TICKET_MAX),
		.evidence = buf_bounded(KERBEROS_TICKET_MAX),
	};
}

void
kerberos_question_wipe(struct kerberos_question *question)
{
	buf_free(&question->client);
	buf_free(&question->server);
	buf_free(&question->keytab);
	buf_wipe(&question->password);
	buf_wipe(&question->tgt);
	buf_wipe(&question->evidence);
}

void
kerberos_add_name(struct buf *out, struct slice name)
{
	for (size_t i = 0; i < name.size; i++) {
		if (strchr("/@\\", name.data[i]))
			buf_add_char(out, '\\');
		buf_add_char(out, name.data[i]);
	}
}

/* Straight from the KDC for the service, without a TGT. */
static krb5_error_code
ask_initial(krb5_context kerberos, const struct kerberos_question *question,
    krb5_principal client, krb5_creds *credentials)
{
	bool by_key = question->way == KERBEROS_KEYTAB;
	const char *server = buf_string(&question->server);
	krb5_get_init_creds_opt *options = NULL;
	krb5_keytab keytab = NULL;
	krb5_error_code code =
	    krb5_get_init_creds_opt_alloc(kerberos, &options);

	if (code != 0)
		return code;
	krb5_get_init_creds_opt_set_tkt_life(
	    options, by_key ? LIFE_OWN : LIFE_USER);
	krb5_get_init_creds_opt_set_forwardable(options, 0);
	krb5_get_init_creds_opt_set_proxiable(options, 0);
	if (by_key)
		code = krb5_kt_resolve(
		    kerberos, buf_string(&question->keytab), &keytab);
	if (code == 0 && by_key)
		code = krb5_get_init_creds_keytab(
		    kerberos, credentials, client, keytab, 0, server, options);
	if (code == 0 && !by_key)
		code = krb5_get_init_creds_password(kerberos, credentials,
		    client, buf_string(&question->password), NULL, NULL, 0,
		    server, options);
	if (keytab)
		krb5_kt_close(kerberos, keytab);
	krb5_get_init_creds_opt_free(kerberos, options);
	return code;
}

static krb5_error_code
add_evidence(krb5_context kerberos, const struct kerberos_question *question,
    krb5_get_creds_opt options)
{
	krb5_data octets = { question->evidence.size, question->evidence.data };
	krb5_ap_req request;
	krb5_error_code code = krb5_decode_ap_req(kerberos, &octets, &request);

	if (code != 0)
		return code;
	krb5_get_creds_opt_add_options(
	    kerberos, options, KRB5_GC_CONSTRAINED_DELEGATION);
	code =
	    krb5_get_creds_opt_set_ticket(kerberos, options, &request.ticket);
	free_AP_REQ(&request);
	return code;
}

/* By a TGT; the answer has to be for whom it was asked. */
static krb5_error_code
ask_granting(krb5_context kerberos, const struct kerberos_question *question,
    krb5_principal client, krb5_creds *credentials)
{
	struct credential tgt = { 0 };
	krb5_get_creds_opt options = NULL;
	krb5_principal server = NULL;
	krb5_creds *found = NULL;
	krb5_error_code code =
	    credential_cache(&tgt, kerberos, buf_slice(&question->tgt));

	if (code == 0)
		code = krb5_parse_name(
		    kerberos, buf_string(&question->server), &server);
	if (code == 0)
		code = krb5_get_creds_opt_alloc(kerberos, &options);
	if (code == 0)
		krb5_get_creds_opt_add_options(
		    kerberos, options, KRB5_GC_NO_STORE);
	if (code == 0 && question->way == KERBEROS_EVIDENCE)
		code = add_evidence(kerberos, question, options);
	if (code == 0)
		code = krb5_get_creds(
		    kerberos, options, tgt.cache, server, &found);
	if (code == 0 &&
	    !krb5_principal_compare(kerberos, found->client, client))
		code = KRB5KRB_AP_ERR_BADMATCH;
	if (code == 0)
		code = krb5_copy_creds_contents(kerberos, found, credentials);
	if (found)
		krb5_free_creds(kerberos, found);
	if (options)
		krb5_get_creds_opt_free(kerberos, options);
	if (server)
		krb5_free_principal(kerberos, server);
	credential_free(&tgt, kerberos);
	return code;
}

/* What the KDC says of clients, their tickets and passwords, and not of
 * itself. */
static bool
is_refusal(krb5_error_code code)
{
	static const krb5_error_code codes[] = { KRB5KDC_ERR_PREAUTH_FAILED,
		KRB5KRB_AP_ERR_BAD_INTEGRITY, KRB5KRB_AP_ERR_MODIFIED,
		KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, KRB5KDC_ERR_CLIENT_REVOKED,
		KRB5KDC_ERR_KEY_EXPIRED, KRB5KDC_ERR_NAME_EXP,
		KRB5KDC_ERR_CLIENT_NOTYET, KRB5KRB_AP_ERR_TKT_EXPIRED };

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i] == code)
			return true;
	return false;
}

static enum kerberos_result
explain(krb5_context kerberos, krb5_error_code code, struct buf *out)
{
	const char *text = krb5_get_error_message(kerberos, code);

	buf_clear(out);
	buf_add_string(out, text);
	krb5_free_error_message(kerberos, text);
	return is_refusal(code) ? KERBEROS_REFUSED : KERBEROS_FAILED;
}

enum kerberos_result
kerberos_ask(const struct kerberos_question *question, struct buf *out)
{
	bool initial = question->way == KERBEROS_KEYTAB ||
		       question->way == KERBEROS_PASSWORD;
	enum kerberos_result result = KERBEROS_GOOD;
	krb5_context kerberos = NULL;
	krb5_principal client = NULL;
	krb5_creds credentials = { 0 };
	krb5_error_code code = krb5_init_context(&kerberos);

	if (code != 0) {
		buf_add_string(out, "Kerberos is not set up on this host");
		return KERBEROS_FAILED;
	}
	code =
	    krb5_parse_name(kerberos, buf_string(&question->client), &client);
	if (code == 0 && initial)
		code = ask_initial(kerberos, question, client, &credentials);
	else if (code == 0)
		code = ask_granting(kerberos, question, client, &credentials);
	if (code == 0)
		code = credential_write(out, &credentials);
	if (code != 0)
		result = explain(kerberos, code, out);
	krb5_free_cred_contents(kerberos, &credentials);
	if (client)
		krb5_free_principal(kerberos, client);
	krb5_free_context(kerberos);
	return result;
}
