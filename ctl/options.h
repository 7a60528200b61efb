/*
 * options: what may stand behind a verb, one row an option.
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <getopt.h>
#include <stdint.h>

#include "ctl/ctl.h"
#include "lib/slice.h"

/* Sets of them are sums of bits. */
#define OPTIONS_BIT(number)     (UINT64_C(1) << (number))
#define OPTIONS_POOL            OPTIONS_BIT(0)
#define OPTIONS_SITE            OPTIONS_BIT(1)
#define OPTIONS_SERVICE         OPTIONS_BIT(2)
#define OPTIONS_WEIGHT          OPTIONS_BIT(3)
#define OPTIONS_RAMP            OPTIONS_BIT(4)
#define OPTIONS_HOST            OPTIONS_BIT(5)
#define OPTIONS_WAIT            OPTIONS_BIT(6)
#define OPTIONS_ONCE            OPTIONS_BIT(7)
#define OPTIONS_SUFFIX          OPTIONS_BIT(8)
#define OPTIONS_PROXYD          OPTIONS_BIT(9)
#define OPTIONS_FOR             OPTIONS_BIT(10)
#define OPTIONS_MAIL            OPTIONS_BIT(11)
#define OPTIONS_NAME            OPTIONS_BIT(12)
#define OPTIONS_GROUP           OPTIONS_BIT(13)
#define OPTIONS_REASON          OPTIONS_BIT(14)
#define OPTIONS_FORMAT          OPTIONS_BIT(15)
#define OPTIONS_DRY_RUN         OPTIONS_BIT(16)
#define OPTIONS_REALM           OPTIONS_BIT(17)
#define OPTIONS_DOMAIN          OPTIONS_BIT(18)
#define OPTIONS_URI             OPTIONS_BIT(19)
#define OPTIONS_ADMIN           OPTIONS_BIT(20)
#define OPTIONS_MAIL_HOST       OPTIONS_BIT(21)
#define OPTIONS_KDC_PORT        OPTIONS_BIT(22)
#define OPTIONS_KPASSWD_PORT    OPTIONS_BIT(23)
#define OPTIONS_USER            OPTIONS_BIT(24)
#define OPTIONS_ROOT            OPTIONS_BIT(25)
#define OPTIONS_PREFIX          OPTIONS_BIT(26)
#define OPTIONS_GENERATE        OPTIONS_BIT(27)
#define OPTIONS_PREPARE         OPTIONS_BIT(28)
#define OPTIONS_PEERS           OPTIONS_BIT(29)
#define OPTIONS_WITH_MASTER_KEY OPTIONS_BIT(30)
#define OPTIONS_KEYS_FROM       OPTIONS_BIT(31)

#define OPTIONS_COUNT 32

/* What getopt_long() returns for the first of them. */
#define OPTIONS_LETTER 512

/* Adds them all to a table of getopt_long(): OPTIONS_COUNT rows. */
void options_list(struct option *out);

/*
 * Takes one by what getopt_long() says of it, `value` NULL for a switch, and
 * adds its bit to *set. EX_OK, or EX_USAGE after a complaint.
 */
int options_take(
    struct ctl_options *options, int letter, const char *value, uint64_t *set);

/* The name of the first one of a set; NULL for none. */
const char *options_name(uint64_t set);

#endif
