/*
 * parent: the process that an administrator starts.
 *
 * It opens listening sockets, keys and the control socket, starts the other
 * processes and starts them again when they die. It reads nothing that
 * strangers send.
 *
 * A reload is the parent replacing itself: a child of it first tries out the
 * program and the configuration as they lie on disk now; if that went well the
 * parent executes the program anew, under the same process id, and hands over
 * by a memfd the listening sockets, the counters and its children. The new
 * program starts a new generation of relays on the same sockets and retires
 * the old ones, whose sessions live on. So a changed option, a changed
 * certificate and a changed program are one thing.
 */
#ifndef PROXY_PARENT_H
#define PROXY_PARENT_H

/*
 * argv: of main, for the reload. check: open all and close it again.
 * Returns the exit status (sysexits.h).
 */
int parent_run(char *const argv[], const char *config_path, int check);

#endif
