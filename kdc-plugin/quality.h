/*
 * quality: whether a password may be used, as kpasswdd asks it of a
 * kadm5_password_verifier.
 *
 * It asks what the directory asks: lib/password.h, and pwdMinLength of the
 * password policy (slapo-ppolicy(5)) that `policy` names. History and policies
 * of single accounts are the directory's alone to judge, which it does where
 * modify_passwords is on.
 */
#ifndef KDC_PLUGIN_QUALITY_H
#define KDC_PLUGIN_QUALITY_H

#include <stddef.h>

#include <krb5.h>

/* 0; or 1 with the reason in `message`, of `size` octets. */
int quality_check(krb5_context context, krb5_principal principal,
    krb5_data *password, const char *tuning, char *message, size_t size);

#endif
