/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kill_at_call N start|stop|leave FILE COMMAND...: SIGKILL for COMMAND just before its Nth system call that
 * changes what outlives it: files, locks, what other processes are told, what the kernel is asked for.
 * Between two of these nothing can be different.
 *
 * Counted are the calls of all its threads, but not of processes that it forks:
 *	start	until it writes to standard output
 *	stop	from the moment on when we get SIGTERM, which it is sent then
 *	leave	from the moment on when we get SIGUSR1
 * Its process number is the first line of FILE; then comes how many calls were counted, when that has ended. Ends
 * with the status of COMMAND, 137 if it was killed. With 0 for N, nothing is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const int lasting[] = {
	SYS_write,	SYS_pwrite64, SYS_ftruncate,	  SYS_fallocate,
	SYS_mkdirat,	SYS_unlinkat, SYS_renameat2,	  SYS_renameat,
	SYS_umount2,	SYS_linkat,   SYS_fchmod,	  SYS_fchown,
	SYS_fcntl,	SYS_flock,    SYS_sendto,	  SYS_sendmsg,
	SYS_bind,	SYS_listen,   SYS_io_uring_enter, SYS_fsync,
	SYS_fdatasync,	SYS_mount,    SYS_kill,		  SYS_pidfd_send_signal,
	SYS_exit_group,
#ifdef SYS_rename /* where there are calls of the first days, too */
	SYS_rename,	SYS_unlink,   SYS_mkdir,	  SYS_link,
#endif
};

static struct {
	volatile pid_t pid;
	long nth;
	long counted;
	volatile sig_atomic_t counting;
	bool until_ready;
	const char *file;
} self;

static void obey_signal(int number)
{
	self.counting = !self.until_ready;
	if (number == SIGTERM)
		kill(self.pid, SIGTERM);
}

static void report(const char *mode, long number)
{
	FILE *out = fopen(self.file, mode);

	if (!out || fprintf(out, "%ld\n", number) < 0 || fclose(out)) {
		perror(self.file);
		exit(2);
	}
}

static bool is_lasting(const struct __ptrace_syscall_info *info)
{
	unsigned long long nr = info->entry.nr;

	if (nr == SYS_openat)
		return info->entry.args[2] & O_CREAT;
	for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
		if (nr == (unsigned long long)lasting[i])
			return true;
	return false;
}

static void end_of_count(void)
{
	if (self.counting)
		report("a", self.counted);
	self.counting = false;
}

static void look_at_call(pid_t thread)
{
	struct __ptrace_syscall_info info;

	if (!self.counting ||
	    ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof(info), &info) <= 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY || !is_lasting(&info))
		return;
	if (self.until_ready && info.entry.nr == SYS_write && info.entry.args[0] == STDOUT_FILENO) {
		end_of_count();
		return;
	}
	if (++self.counted != self.nth)
		return;
	fprintf(stderr, "kill_at_call: before call %ld, of number %llu\n", self.nth,
		(unsigned long long)info.entry.nr);
	kill(self.pid, SIGKILL);
}

/* What the thread gets of the signal that has stopped it. */
static int signal_for(int status)
{
	int number = WSTOPSIG(status);

	return status >> 16 || number == SIGSTOP || number == SIGTRAP ? 0 : number;
}

static void look_at_stop(pid_t thread, int status)
{
	bool calls = self.counting || !self.until_ready;

	if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
		look_at_call(thread);
		status = 0;
	}
	/* Who has been killed meanwhile is not there any more. */
	ptrace(calls ? PTRACE_SYSCALL : PTRACE_DETACH, thread, NULL,
	       (long)(status ? signal_for(status) : 0));
}

static int follow(void)
{
	int status;
	pid_t pid;

	for (;;) {
		pid = waitpid(-1, &status, __WALL);
		if (pid < 0 && errno != EINTR)
			return 2;
		if (pid < 0)
			continue;
		if (WIFSTOPPED(status)) {
			look_at_stop(pid, status);
		} else if (pid == self.pid) {
			end_of_count();
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
	}
}

static pid_t begin(char **command)
{
	const long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEEXEC;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execvp(command[0], command);
		perror(command[0]);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, pid, NULL, options) ||
	    ptrace(PTRACE_SYSCALL, pid, NULL, NULL)) {
		perror("kill_at_call");
		exit(2);
	}
	return pid;
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = obey_signal };

	if (argc < 5)
		return 2;
	self.nth = strtol(argv[1], NULL, 10);
	self.until_ready = strcmp(argv[2], "start") == 0;
	self.counting = self.until_ready;
	self.file = argv[3];
	self.pid = begin(argv + 4);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	report("w", self.pid);
	return follow();
}
