/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of system calls, by libseccomp.  A call that is missing fails, and its caller says so; it
 * does not end the process, as a disk depends on it.
 *
 * A ring could do what its thread may not, so rings are restricted as well: see uring_start().
 */
#include "syscalls.h"
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define END (-1)

#ifndef __NR_fchmodat2
#define __NR_fchmodat2 452 /* Linux 6.6, on all architectures */
#endif

/* Memory, locks, time, messages, and the end. */
static const int everybody[] = {
	SCMP_SYS(brk),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(close),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(fstat),
	SCMP_SYS(futex),
	SCMP_SYS(getpid),
	SCMP_SYS(getrandom),
	SCMP_SYS(gettid),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(madvise),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(nanosleep),
	SCMP_SYS(newfstatat), /* fstat(3) of newer C libraries */
	SCMP_SYS(pause),
	SCMP_SYS(read),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(write),
	END,
};

static const int lanes[] = {
	SCMP_SYS(io_uring_register),
	SCMP_SYS(pread64), /* bytes of requests, where the ring cannot move them */
	SCMP_SYS(pwrite64),
	END,
};

static const int sockets[] = {
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	END,
};

/* The control socket, the command of --run, jobs for the helper, and what is removed at the end. */
static const int main_thread[] = {
	SCMP_SYS(accept4),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(fcntl),
	SCMP_SYS(getsockopt),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(kill),
	SCMP_SYS(lseek),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(shutdown),
	SCMP_SYS(socketpair),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
	END,
};

/* What would change the machine, or run something else. */
static const int not_for_helpers[] = {
	SCMP_SYS(acct),
	SCMP_SYS(add_key),
	SCMP_SYS(adjtimex),
	SCMP_SYS(bpf),
	SCMP_SYS(chmod),
	SCMP_SYS(chown),
	SCMP_SYS(chroot),
	SCMP_SYS(clock_settime),
	SCMP_SYS(connect),
	SCMP_SYS(creat),
	SCMP_SYS(delete_module),
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fallocate),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(fchmodat2),
	SCMP_SYS(fchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(finit_module),
	SCMP_SYS(fremovexattr),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsetxattr),
	SCMP_SYS(fsmount),
	SCMP_SYS(fsopen),
	SCMP_SYS(ftruncate),
	SCMP_SYS(init_module),
	SCMP_SYS(ioperm),
	SCMP_SYS(iopl),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(kexec_load),
	SCMP_SYS(keyctl),
	SCMP_SYS(lchown),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(lremovexattr),
	SCMP_SYS(lsetxattr),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(mount),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(open_tree),
	SCMP_SYS(openat2), /* its flags are not to be seen */
	SCMP_SYS(perf_event_open),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(pivot_root),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(ptrace),
	SCMP_SYS(quotactl),
	SCMP_SYS(reboot),
	SCMP_SYS(removexattr),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(request_key),
	SCMP_SYS(rmdir),
	SCMP_SYS(setdomainname),
	SCMP_SYS(sethostname),
	SCMP_SYS(setns),
	SCMP_SYS(settimeofday),
	SCMP_SYS(setxattr),
	SCMP_SYS(socket),
	SCMP_SYS(swapoff),
	SCMP_SYS(swapon),
	SCMP_SYS(symlink),
	SCMP_SYS(symlinkat),
	SCMP_SYS(truncate),
	SCMP_SYS(umount2),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(unshare),
	SCMP_SYS(userfaultfd),
	END,
};

/* A call that this architecture does not have is none to be told about. */
static int add_all(scmp_filter_ctx filter, uint32_t action, const int *list)
{
	int err = 0;

	for (; *list != END && !err; list++)
		if (*list >= 0)
			err = seccomp_rule_add(filter, action, *list, 0);
	return err;
}

/* No memory becomes code. */
static int add_memory(scmp_filter_ctx filter)
{
	struct scmp_arg_cmp no_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	int err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, no_code);

	return err ? err : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_code);
}

/* Files are opened as they are: none is made or emptied. */
static int deny_making(scmp_filter_ctx filter)
{
	static const uint64_t flags[] = { O_CREAT, O_TRUNC, O_TMPFILE & ~O_DIRECTORY };
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(flags) && !err; i++) {
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
		if (!err && SCMP_SYS(open) >= 0)
			err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(open), 1,
					       SCMP_A1(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
	}
	return err;
}

/* abort(3) */
static int add_abort(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				SCMP_A2(SCMP_CMP_EQ, SIGABRT, 0));
}

static int fill(scmp_filter_ctx filter, enum syscalls which)
{
	int err;

	if (which == SYSCALLS_HELPER) {
		err = add_all(filter, SCMP_ACT_ERRNO(EPERM), not_for_helpers);
		return err ? err : deny_making(filter);
	}
	err = add_all(filter, SCMP_ACT_ALLOW, everybody);
	if (!err)
		err = add_memory(filter);
	if (!err)
		err = add_abort(filter);
	if (!err && which != SYSCALLS_CONTROLLER)
		err = add_all(filter, SCMP_ACT_ALLOW, lanes);
	if (!err && which != SYSCALLS_LANE)
		err = add_all(filter, SCMP_ACT_ALLOW, sockets);
	if (!err && which == SYSCALLS_MAIN)
		err = add_all(filter, SCMP_ACT_ALLOW, main_thread);
	return err;
}

/* --- programs -------------------------------------------------------------------------------------- */

/* Made by the first thread that needs it, for all: that takes longer than the rest of their start. */
static struct program {
	struct sock_filter *code; /* kept for ever */
	unsigned short length;
} programs[SYSCALLS_HELPER + 1];

static pthread_mutex_t programs_lock = PTHREAD_MUTEX_INITIALIZER;

/* What the library has written to @fd. */
static int read_program(int fd, struct program *program)
{
	off_t bytes = lseek(fd, 0, SEEK_END);
	struct sock_filter *code;

	if (bytes <= 0 || bytes > (off_t)(BPF_MAXINSNS * sizeof(*code)))
		return -EPROTO;
	code = malloc((size_t)bytes);
	if (!code)
		return -ENOMEM;
	if (pread(fd, code, (size_t)bytes, 0) != bytes) {
		free(code);
		return -EIO;
	}
	program->code = code;
	program->length = (unsigned short)((size_t)bytes / sizeof(*code));
	return 0;
}

static int make_program(enum syscalls which, struct program *program)
{
	uint32_t others = which == SYSCALLS_HELPER ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM);
	scmp_filter_ctx filter = seccomp_init(others);
	int fd = memfd_create("seccomp", MFD_CLOEXEC);
	int err = fd < 0 ? -errno : filter ? 0 : -ENOMEM;

	if (!err)
		err = fill(filter, which);
	if (!err)
		err = seccomp_export_bpf(filter, fd);
	if (!err)
		err = read_program(fd, program);
	seccomp_release(filter);
	if (fd >= 0)
		close(fd);
	return err;
}

static int get_program(enum syscalls which, struct sock_fprog *out)
{
	struct program *program = &programs[which];
	int err = 0;

	pthread_mutex_lock(&programs_lock);
	if (!program->code)
		err = make_program(which, program);
	*out = (struct sock_fprog){ .len = program->length, .filter = program->code };
	pthread_mutex_unlock(&programs_lock);
	return err;
}

int syscalls_confine(enum syscalls which)
{
	struct sock_fprog program;
	int err = get_program(which, &program);

	if (!err && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		err = -errno;
	return err == -EINVAL || err == -ENOSYS ? -EOPNOTSUPP : err;
}
