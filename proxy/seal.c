#include "proxy/seal.h"

#include <errno.h>
#include <stddef.h>

#include <seccomp.h>

#include "lib/slice.h"

#if defined(__has_feature)
#	if __has_feature(address_sanitizer)
#		define SEAL_SANITIZED 1
#	endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#	define SEAL_SANITIZED 1
#endif
#ifndef SEAL_SANITIZED
#	define SEAL_SANITIZED 0
#endif

static const int allowed[] = {
	/* connections */
	SCMP_SYS(accept4),
	SCMP_SYS(socket),
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(shutdown),
	SCMP_SYS(close),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(ioctl),
	SCMP_SYS(fcntl),
	/* octets */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendto),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(splice),
	SCMP_SYS(pipe2),
	/* the event loop */
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	/* answers to the health process */
	SCMP_SYS(memfd_create),
	SCMP_SYS(lseek),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	/* memory, and the replica growing under its readers */
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(mprotect),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(pread64),
	/* time, chance and identity */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
	/* signals and the end */
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(tgkill),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(prctl),
};

static const int absent[] = { SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat),
	SCMP_SYS(access), SCMP_SYS(readlink) };

static int
add_rules(scmp_filter_ctx filter)
{
	int code = 0;

	for (size_t i = 0; code == 0 && i < ARRAY_SIZE(allowed); i++)
		code = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; code == 0 && i < ARRAY_SIZE(absent); i++)
		code = seccomp_rule_add(
		    filter, SCMP_ACT_ERRNO(ENOENT), absent[i], 0);
	return code;
}

int
seal_process(const char **why)
{
	scmp_filter_ctx filter;
	int code;

	if (SEAL_SANITIZED)
		return 0;
	filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter) {
		*why = "out of memory";
		return -1;
	}
	code = add_rules(filter);
	if (code == 0)
		code = seccomp_load(filter);
	seccomp_release(filter);
	if (code == 0)
		return 0;
	*why = "the system refuses to filter system calls";
	return -1;
}
