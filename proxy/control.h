/*
 * control: how postcellctl, the health process and the relays talk.
 *
 * On the control socket (UNIX stream, run_dir/proxyd.sock) a client writes one
 * line, a verb, and reads one JSON object to the end of the stream. Between
 * health process and relays the same verbs go as datagrams (SOCK_SEQPACKET),
 * and answers are JSON arrays, a batch each, the last one empty.
 */
#ifndef PROXY_CONTROL_H
#define PROXY_CONTROL_H

#include <jansson.h>

#define CONTROL_SOCKET        "proxyd.sock"
#define CONTROL_QUESTION_SIZE 256   /* octets of a question */
#define CONTROL_ANSWER_SIZE   65536 /* octets of one batch */

/* Sends one value as one datagram, waiting at most a second. 0 or -1. */
int control_send(int fd, const json_t *value);
/* Receives one; NULL when nothing came within the time. Owned by the caller. */
json_t *control_receive(int fd, int timeout_ms);

#endif
