/*
 * ask: which of some servers answers now.
 *
 * Each is sent one datagram whose answer tells nothing (lib/query.h), all at
 * once. It is over with the first answer of whom nobody better is left, or,
 * once somebody has answered, after as long again as that took: a near server
 * gets its chance, a dead one costs next to nothing. When nobody answers it
 * takes the patience, and no more.
 */
#ifndef KDC_PLUGIN_ASK_H
#define KDC_PLUGIN_ASK_H

#include "kdc-plugin/nearest.h"

#define ASK_MAX 16 /* servers; those after them are not asked */

/*
 * Sets `said` of those that answered, that refused (silent), and that had all
 * of the patience (silent). Who is known to be silent is not asked.
 */
void ask_servers(struct nearest *servers, size_t count,
    enum service_kind service, int patience_ms);

#endif
