/*
 * seal: the system calls that a relay may still make, once it has opened all
 * that it needs: sockets to clients and back ends, memory, time. A call that is
 * not on the list fails with EPERM (opening a file with ENOENT, since libraries
 * look for configuration at odd moments), so that a library which tries one
 * does without instead of taking all sessions with it.
 *
 * Not in builds with sanitizers, which need more.
 */
#ifndef PROXY_SEAL_H
#define PROXY_SEAL_H

/* For good, for this process. 0; or -1 with *why. */
int seal_process(const char **why);

#endif
