/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a confined thread can not do any more, tried from inside; and what it still can. */
#include "check.h"
#include "landlock.h"
#include "privileges.h"
#include "syscalls.h"
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/confine.XXXXXX";
static char own[64], other[64];
static int opened; /* a file that was open before */
static bool has_landlock;

/* --- a confined process ---------------------------------------------------------------------------- */

static void be_lane(void)
{
	lane_confine();
}

static void be_main(void)
{
	main_confine(folder);
}

static void be_controller(void)
{
	controller_confine();
}

static void be_helper(void)
{
	helper_confine();
}

/* What @act returns when it is done by a process that @confine has confined. */
static int confined(void (*confine)(void), int (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		/* Warnings of what this machine cannot do. */
		dup2(null, STDERR_FILENO);
		confine();
		_exit(act());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* --- acts: 0 when it was refused -------------------------------------------------------------------- */

static int act_open(void)
{
	return open(other, O_RDONLY) >= 0;
}

static int act_create(void)
{
	return open("/tmp/confine-made", O_WRONLY | O_CREAT, 0600) >= 0;
}

static int act_unlink(void)
{
	return unlink(other) == 0;
}

static int act_unlink_own(void)
{
	return unlink(own) == 0;
}

static int act_rename(void)
{
	return rename(other, "/tmp/confine-renamed") == 0;
}

static int act_link(void)
{
	return link(other, "/tmp/confine-linked") == 0 || errno != EPERM;
}

static int act_mode(void)
{
	return chmod(other, 0666) == 0 || fchmod(opened, 0666) == 0;
}

static int act_owner(void)
{
	return chown(other, 1, 1) == 0 || fchown(opened, 1, 1) == 0 || errno != EPERM;
}

static int act_truncate(void)
{
	return truncate(other, 0) == 0 || open(other, O_WRONLY | O_TRUNC) >= 0 ||
	       open("/tmp", O_WRONLY | O_TMPFILE, 0600) >= 0;
}

/* What a process that can be traced has open. */
static int act_take_file(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	return syscall(SYS_pidfd_getfd, pidfd < 0 ? 0 : pidfd, STDERR_FILENO, 0) >= 0 ||
	       errno != EPERM;
}

static int act_exec(void)
{
	char *argv[] = { "/bin/true", NULL };

	execv(argv[0], argv);
	return errno != EPERM && errno != EACCES;
}

static int act_fork(void)
{
	return fork() >= 0;
}

static int act_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static int act_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static int act_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0 || errno != EPERM;
}

static int act_mount(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL) == 0 || errno != EPERM;
}

static int act_kill(void)
{
	return kill(getppid(), 0) == 0;
}

static int act_ring(void)
{
	struct io_uring_params params = { 0 };

	return syscall(SYS_io_uring_setup, 1, &params) >= 0;
}

static int act_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED;
}

static int act_privileges(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 || setuid(0) == 0;
}

static int act_ioctl(void)
{
	int bytes;

	return syscall(SYS_ioctl, opened, 0x541B /* FIONREAD */, &bytes) == 0;
}

/* The acts that follow must succeed: 0 when they do. */

static int act_read_opened(void)
{
	char byte;

	return pread(opened, &byte, 1, 0) != 1 || byte != 'x';
}

static int act_memory(void)
{
	for (size_t bytes = 16; bytes < 64 * MIB; bytes *= 3) {
		char *memory = malloc(bytes);

		if (!memory)
			return 1;
		memory[bytes - 1] = 1;
		free(memory);
	}
	return 0;
}

static int act_time(void)
{
	struct timespec moment = { .tv_nsec = 1000 }, now;

	return nanosleep(&moment, NULL) || clock_gettime(CLOCK_MONOTONIC, &now);
}

static int act_log(void)
{
	log_error("%s", strerror(ENOENT));
	return 0;
}

/* --- cases ---------------------------------------------------------------------------------------------- */

struct act {
	const char *what;
	int (*act)(void);
	bool main_may;
	bool helper_is_kept;
};

static const struct act refused[] = {
	{ "open a file", act_open, false, false },
	{ "make a file", act_create, false, true },
	{ "remove a file of others", act_unlink, false, true },
	{ "rename a file", act_rename, false, true },
	{ "link a file", act_link, false, true },
	{ "change a file's mode", act_mode, false, true },
	{ "change a file's owner", act_owner, false, true },
	{ "empty a file", act_truncate, false, true },
	{ "take another process's file", act_take_file, false, true },
	{ "run a program", act_exec, false, true },
	{ "make a process", act_fork, false, false },
	{ "make a socket", act_socket, false, true },
	{ "make a local socket", act_unix_socket, false, true },
	{ "trace a process", act_ptrace, false, true },
	{ "mount", act_mount, false, true },
	{ "send a signal", act_kill, true, false },
	{ "make a ring", act_ring, false, false },
	{ "make code", act_code, false, false },
	{ "regain privileges", act_privileges, false, false },
	{ "control a file", act_ioctl, false, false },
};

static const struct act allowed[] = {
	{ "memory", act_memory, true, true },
	{ "time", act_time, true, true },
	{ "messages", act_log, true, true },
};

static void test_roles(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		const struct act *act = &refused[i];

		check_case("refused: %s", act->what);
		CHECK_EQ(confined(be_lane, act->act), 0);
		CHECK_EQ(confined(be_controller, act->act), 0);
		if (!act->main_may && (has_landlock || act->act != act_unlink))
			CHECK_EQ(confined(be_main, act->act), 0);
		if (act->helper_is_kept)
			CHECK_EQ(confined(be_helper, act->act), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		check_case("allowed: %s", allowed[i].what);
		CHECK_EQ(confined(be_lane, allowed[i].act), 0);
		CHECK_EQ(confined(be_main, allowed[i].act), 0);
		CHECK_EQ(confined(be_controller, allowed[i].act), 0);
		CHECK_EQ(confined(be_helper, allowed[i].act), 0);
	}
	check_case("allowed: a file that is open, and one to be removed");
	CHECK_EQ(confined(be_lane, act_read_opened), 0);
	CHECK_EQ(confined(be_main, act_read_opened), 0);
	CHECK_EQ(confined(be_lane, act_unlink_own), 0);
	CHECK_EQ(confined(be_main, act_unlink_own), 1);
}

/* --- rings ------------------------------------------------------------------------------------------------ */

static int32_t result_of(struct uring *uring, uint8_t op, uint8_t flags, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->raw);
	struct io_uring_cqe *cqe;
	int32_t res;
	static char byte;

	if (!sqe)
		abort();
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->flags = flags;
	sqe->fd = fd;
	sqe->addr = op == IORING_OP_OPENAT ? (uintptr_t)other : (uintptr_t)&byte;
	sqe->len = op == IORING_OP_OPENAT ? 0 : 1;
	io_uring_submit_and_wait(&uring->raw, 1);
	if (io_uring_peek_cqe(&uring->raw, &cqe))
		return INT32_MIN;
	res = cqe->res;
	io_uring_cqe_seen(&uring->raw, cqe);
	return res;
}

static void test_ring(void)
{
	struct uring_sizes sizes = { .sq_entries = 8, .cq_entries = 16 };
	struct uring uring;
	int err;

	check_case("a lane's ring does what it is for and nothing else");
	CHECK_EQ(uring_prepare(&uring), 0);
	err = uring_start(&uring, &sizes, &opened, 1);
	if (err == -ENOSYS || err == -EPERM) {
		printf("# no io_uring here\n");
		uring_release(&uring);
		return;
	}
	CHECK_EQ(err, 0);
	CHECK_EQ(result_of(&uring, IORING_OP_READ, IOSQE_FIXED_FILE, 0), 1);
	CHECK_EQ(result_of(&uring, IORING_OP_READ, 0, opened), -EACCES);
	CHECK_EQ(result_of(&uring, IORING_OP_OPENAT, 0, AT_FDCWD), -EACCES);
	CHECK_EQ(result_of(&uring, IORING_OP_OPENAT, IOSQE_FIXED_FILE, 0), -EACCES);
	CHECK_EQ(result_of(&uring, IORING_OP_SOCKET, IOSQE_FIXED_FILE, 0), -EACCES);
	uring_stop(&uring);
	uring_release(&uring);
}

static void make_files(void)
{
	int fd;

	if (!mkdtemp(folder))
		abort();
	snprintf(own, sizeof(own), "%s/own", folder);
	snprintf(other, sizeof(other), "%s.other", folder);
	fd = open(own, O_WRONLY | O_CREAT, 0600);
	close(fd);
	opened = open(other, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || opened < 0 || write(opened, "x", 1) != 1)
		abort();
}

static int probe_landlock(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return landlock_confine(folder) == 0;
}

static int probe_seccomp(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return syscalls_confine(SYSCALLS_LANE) == 0;
}

static void be_nobody(void)
{
}

int main(void)
{
	make_files();
	has_landlock = confined(be_nobody, probe_landlock) == 1;
	printf("# Landlock: %s\n", has_landlock ? "yes" : "no");
	if (confined(be_nobody, probe_seccomp) == 1)
		test_roles();
	else
		printf("# no seccomp here\n");
	test_ring();
	unlink(own);
	unlink(other);
	rmdir(folder);
	return check_end();
}
