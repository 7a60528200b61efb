/*
 * control: how postcellctl, the health process and the relays talk.
 *
 * On the control socket (UNIX stream, run_dir/proxyd.sock) a client writes one
 * line, a verb and its arguments, and reads one JSON object to the end of the
 * stream; on failure the object has "error". Between health process and
 * relays a question ("who 17", "flush 18 mbox1") is one datagram
 * (SOCK_SEQPACKET), and so is the answer: the question again and a memfd with
 * the JSON text, so that neither ever has to wait for the other to read.
 * Unasked, a relay says which server it failed at ("failed mbox2").
 */
#ifndef PROXY_CONTROL_H
#define PROXY_CONTROL_H

#include <jansson.h>

#define CONTROL_SOCKET        "proxyd.sock"
#define CONTROL_FAILED        "failed "
#define CONTROL_QUESTION_SIZE 256 /* octets of a question */

/* Sends a descriptor with a short text; never waits. 0 or -1 (errno). */
int control_send_fd(int channel, int fd, const char *text);
/*
 * Receives at most CONTROL_QUESTION_SIZE - 1 octets into text, ending in NUL,
 * and a descriptor if one came (else -1), which the caller owns. The number of
 * octets; 0 at the end; -1 (errno).
 */
long control_receive_fd(int channel, int *fd, char *text);

/* Answers a question with a value, the question beside it; never waits. 0 or
 * -1. */
int control_answer(int channel, const char *question, const json_t *value);
/* Reads the text behind a descriptor of an answer and closes it. NULL: no JSON.
 */
json_t *control_read_answer(int fd);

#endif
