/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program started in the place of another: this one, which says how it was started. */
#include "client.h"
#include "control.h"
#include "registry.h"
#include "restart.h"
#include "successor.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIABLE "QCOW2_UBLKD_TEST"
#define LEAK 77 /* what nobody has asked to be inherited */

static char folder[] = "/tmp/test-restart.XXXXXX";

/* --- the program that is started ------------------------------------------------------------------- */

static void say_how(int fd, char *const *argv, const char *value)
{
	char path[PATH_MAX];
	struct stat st = { 0 };
	FILE *out = fdopen(fd, "w");
	struct rlimit limit;
	sigset_t blocked;

	report_text(out, "directory", getcwd(path, sizeof(path)));
	report_text(out, "argument", argv[1]);
	report_flag(out, "last", argv[2] == NULL);
	report_text(out, "value", value);
	report_flag(out, "leader", getsid(0) == getpid());
	fstat(STDERR_FILENO, &st);
	report_number(out, "stderr", st.st_ino);
	report_flag(out, "leak", fcntl(LEAK, F_GETFD) >= 0);
	getrlimit(RLIMIT_NOFILE, &limit);
	report_number(out, "files-now", limit.rlim_cur);
	report_number(out, "files-most", limit.rlim_max);
	report_flag(out, "notify", getenv("NOTIFY_SOCKET") != NULL);
	report_flag(out, "ignores-hangup", signal(SIGHUP, SIG_DFL) == SIG_IGN);
	report_flag(out, "ignores-children", signal(SIGCHLD, SIG_DFL) == SIG_IGN);
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	report_flag(out, "blocks", sigismember(&blocked, SIGTERM));
	fputs("ok\n", out);
	fclose(out);
}

/* --- the one that starts it ------------------------------------------------------------------------- */

static struct report origin_of(const char *argument, const char *directory)
{
	struct report report;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	report_text(out, "directory", directory);
	report_text(out, "arguments.0", "a name of its own");
	report_text(out, "arguments.1", argument);
	fclose(out);
	CHECK_EQ(report_parse(&report, text), 0);
	return report;
}

/* In the place of process @pid. */
static int start_for(pid_t pid, const char *directory, struct report *answer, struct why *why)
{
	struct report origin = origin_of("an \"argument\"\n\xc3\xa4", directory);
	struct restart restart;
	int fd, err = restart_prepare(&restart, pid, &origin, why);

	CHECK_EQ(err, 0);
	CHECK_EQ(restart_program(&restart, -1, VARIABLE, "vm-2", &fd, why), 0);
	restart_free(&restart);
	report_free(&origin);
	err = client_receive(fd, answer, why);
	close(fd);
	wait(NULL);
	return err;
}

static int start(const char *directory, struct report *answer, struct why *why)
{
	return start_for(getpid(), directory, answer, why);
}

/* As nohup(1) does with the first, for the process that is replaced here too; others are but ours. */
static void ignore_and_block(void)
{
	sigset_t mask;

	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
}

static void heed_again(void)
{
	sigset_t none;

	signal(SIGHUP, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* They are not those of who starts it. */
static void check_limits(void)
{
	struct rlimit limit = { .rlim_cur = 97, .rlim_max = 98 };
	struct report answer;
	struct why why;
	pid_t pid;
	int fd[2];

	check_case("limits");
	CHECK_EQ(pipe(fd), 0);
	pid = fork();
	if (pid == 0) {
		close(fd[1]);
		_exit(read(fd[0], &limit, 1) != 0);
	}
	close(fd[0]);
	CHECK_EQ(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), 0);
	CHECK_EQ(start_for(pid, folder, &answer, &why), 0);
	CHECK_EQ(report_get(&answer, "files-now"), 97);
	CHECK_EQ(report_get(&answer, "files-most"), 98);
	report_free(&answer);
	close(fd[1]);
	wait(NULL);
}

static void test_start(void)
{
	char text[PATH_MAX];
	struct report answer;
	struct stat st;
	struct why why;

	check_case("arguments, directory, streams and session");
	signal(SIGHUP, SIG_DFL); /* whoever runs the tests may ignore it */
	dup2(STDERR_FILENO, LEAK);
	setenv("NOTIFY_SOCKET", "/nowhere", 1);
	CHECK_EQ(start(folder, &answer, &why), 0);
	CHECK(strcmp(report_get_text(&answer, "directory", text, sizeof(text)), folder) == 0);
	CHECK(strcmp(report_get_text(&answer, "argument", text, sizeof(text)),
		     "an \"argument\"\n\xc3\xa4") == 0);
	CHECK(report_is(&answer, "last") && report_is(&answer, "leader"));
	CHECK(!report_is(&answer, "notify") && !report_is(&answer, "leak"));
	CHECK(strcmp(report_get_text(&answer, "value", text, sizeof(text)), "vm-2") == 0);
	fstat(STDERR_FILENO, &st);
	CHECK_EQ(report_get(&answer, "stderr"), st.st_ino);
	CHECK(!report_is(&answer, "ignores-hangup"));
	report_free(&answer);

	check_case("signals that are ignored and blocked");
	ignore_and_block();
	CHECK_EQ(start(folder, &answer, &why), 0);
	CHECK(report_is(&answer, "ignores-hangup") && !report_is(&answer, "ignores-children"));
	CHECK(!report_is(&answer, "blocks"));
	report_free(&answer);
	heed_again();

	check_limits();

	check_case("a directory that is gone");
	CHECK_EQ(start("/nowhere/at/all", &answer, &why), -EREMOTEIO);
	CHECK(strcmp(why.text, "/nowhere/at/all: No such file or directory") == 0);
}

static void test_origins(void)
{
	struct report origin = origin_of("\xff", "/");
	struct restart restart;
	struct why why;

	check_case("what cannot be told");
	CHECK_EQ(restart_prepare(&restart, getpid(), &origin, &why), -EILSEQ);
	restart_free(&restart);
	report_free(&origin);
	CHECK_EQ(report_parse(&origin, strdup("directory \"/\"\n")), 0);
	CHECK_EQ(restart_prepare(&restart, getpid(), &origin, &why), -EPROTO);
	restart_free(&restart);
	report_free(&origin);
}

static void test_successor(void)
{
	struct successor successor;
	struct why why;
	char text[32];
	int fd[2], other;
	ssize_t n;

	check_case("what the environment says");
	successor_init(&successor);
	CHECK_EQ(successor.fd, -1);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	other = dup(fd[1]);
	snprintf(text, sizeof(text), "%d vm-2", fd[1]);
	setenv(SUCCESSOR_VARIABLE, text, 1);
	successor_init(&successor);
	CHECK_EQ(successor.fd, fd[1]);
	CHECK(strcmp(successor.name, "vm-2") == 0 && !getenv(SUCCESSOR_VARIABLE));
	CHECK_EQ(fcntl(fd[1], F_GETFD), FD_CLOEXEC);
	/* A name of a file may hold anything; the answer ends with its last line. */
	why_set(&why, -ENOENT, "%s", "n\no");
	successor_tell(&successor, why.text);
	n = read(fd[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	CHECK(strcmp(text, "error n?o\n") == 0 && successor.fd < 0);
	CHECK_EQ(read(fd[0], text, sizeof(text)), 0);
	close(fd[0]);
	close(other);
	for (int i = 0; i < 5; i++) {
		static const char *const nonsense[] = { "", "1 vm", "999 vm", "x vm", "-1" };

		setenv(SUCCESSOR_VARIABLE, nonsense[i], 1);
		successor_init(&successor);
		CHECK(successor.fd < 0 && !getenv(SUCCESSOR_VARIABLE));
	}
}

/* --- who is to leave ---------------------------------------------------------------------------------- */

static enum control_verdict leave(void *arg, const char *request, FILE *out, struct why *why)
{
	(void)out;
	(void)why;
	*(bool *)arg = strcmp(request, "leave") == 0;
	return CONTROL_ANSWERED;
}

/* A daemon that has its name, and that can be asked when the other side of @fd says so. */
_Noreturn static void serve_and_leave(int fd)
{
	struct pollfd fds[CONTROL_FDS];
	struct registration own;
	struct control control;
	char path[PATH_MAX], byte = 'x';
	bool left = false;
	struct why why;
	int timeout_ms;

	if (registry_enter(&own, "vm-2", "/image", false, &why) || write(fd, &byte, 1) != 1 ||
	    read(fd, &byte, 1) != 1)
		_exit(1);
	registry_socket(path, "vm-2");
	if (control_open(&control, path, leave, &left, &why))
		_exit(1);
	while (!left) {
		unsigned n = control_watch(&control, fds, &timeout_ms);

		poll(fds, n, 100);
		control_turn(&control);
	}
	control_end(&control, NULL);
	registry_leave(&own);
	_exit(0);
}

/* The first look finds it silent, and lets it speak. */
static bool looked(void *arg)
{
	const int *fd = arg;
	char byte = 'x';

	CHECK_EQ(write(*fd, &byte, 1), 1);
	return false;
}

static void test_late_leaver(void)
{
	struct successor successor = { .name = "vm-2" };
	char path[PATH_MAX], byte;
	int fd[2], status;
	struct why why;
	pid_t pid;

	check_case("who is to leave has only just begun to serve");
	registry_folder = folder;
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	pid = fork();
	if (pid == 0)
		serve_and_leave(fd[1]);
	CHECK_EQ(read(fd[0], &byte, 1), 1);
	successor.fd = fd[0];
	CHECK_EQ(successor_step_in(&successor, looked, &fd[0], &why), 0);
	CHECK(waitpid(pid, &status, WNOHANG) == pid && status == 0);
	CHECK(successor.left_ns != 0);
	snprintf(path, sizeof(path), "%s/.lock", folder);
	unlink(path);
	close(fd[0]);
	close(fd[1]);
}

int main(int argc, char **argv)
{
	const char *variable = getenv(VARIABLE);
	char *value;

	if (variable && argc > 1) {
		int fd = (int)strtol(variable, &value, 10);

		say_how(fd, argv, value + 1);
		return 0;
	}
	if (!mkdtemp(folder))
		return 1;
	test_start();
	test_origins();
	test_successor();
	test_late_leaver();
	rmdir(folder);
	return check_end();
}
