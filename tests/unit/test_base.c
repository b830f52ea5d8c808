/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes, lists, messages, and the end of a process that is wrong. */
#include "messages.h"

#include "check.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_bytes(void)
{
	static const uint8_t bytes[] = { 0xff, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef };
	struct be64_atomic cell;
	struct be16 a;
	struct be32 b;
	struct be64 c;

	check_case("big-endian integers at an odd address");
	memcpy(&a, bytes + 1, sizeof(a));
	memcpy(&b, bytes + 1, sizeof(b));
	memcpy(&c, bytes + 1, sizeof(c));
	CHECK_EQ(be16_get(a), 0x0123);
	CHECK_EQ(be32_get(b), 0x01234567);
	CHECK_EQ(be64_get(c), 0x0123456789abcdef);
	a = be16_make(0x0123);
	b = be32_make(0x01234567);
	c = be64_make(0x0123456789abcdef);
	CHECK(memcmp(&a, bytes + 1, 2) == 0);
	CHECK(memcmp(&b, bytes + 1, 4) == 0);
	CHECK(memcmp(&c, bytes + 1, 8) == 0);
	be64_store(&cell, 0x0123456789abcdef);
	CHECK(memcmp(&cell, bytes + 1, 8) == 0);
	CHECK_EQ(be64_load(&cell), 0x0123456789abcdef);

	check_case("rounding");
	CHECK_EQ(round_up(0, 512), 0);
	CHECK_EQ(round_up(1, 512), 512);
	CHECK_EQ(round_down(1023, 512), 512);
	CHECK_EQ(div_round_up(UINT64_MAX, 2), UINT64_C(1) << 63);
	CHECK_EQ(div_round_up(0, 2), 0);
	CHECK(is_aligned(1024, 512) && !is_aligned(1025, 512));
}

struct node {
	int value;
	struct list link;
};

static void test_lists(void)
{
	struct node nodes[4] = { { .value = 1 }, { .value = 2 }, { .value = 3 }, { .value = 4 } };
	struct list one, two;
	int digits = 0;

	check_case("lists");
	list_init(&one);
	list_init(&two);
	CHECK(list_empty(&one));
	list_add_tail(&one, &nodes[0].link);
	list_add_tail(&one, &nodes[1].link);
	list_add_tail(&two, &nodes[2].link);
	list_add_tail(&two, &nodes[3].link);
	list_splice_tail(&one, &two);
	CHECK(list_empty(&two));
	list_splice_tail(&one, &two);
	list_del(&nodes[1].link);
	CHECK(list_empty(&nodes[1].link));
	list_for_each(pos, &one)
		digits = digits * 10 + container_of(pos, struct node, link)->value;
	CHECK_EQ(digits, 134);
}

/* Run @child with standard error going to @text; its wait status. */
static int run(void (*child)(void), char *text, size_t size)
{
	size_t used = 0;
	int status = -1;
	int fds[2];
	ssize_t n;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds))
		abort();
	pid = fork();
	if (pid == 0) {
		struct rlimit no_core = { 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		dup2(fds[1], STDERR_FILENO);
		child();
		_exit(0);
	}
	close(fds[1]);
	while (used < size - 1 && (n = read(fds[0], text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	close(fds[0]);
	waitpid(pid, &status, 0);
	return status;
}

static void say(void)
{
	errno = ENOSPC;
	log_warn("one\ntwo %d", 3);
	if (errno != ENOSPC)
		log_error("errno was not kept");
	log_debug("below the threshold");
}

static void say_much(void)
{
	char much[4096];

	memset(much, 'x', sizeof(much));
	much[sizeof(much) - 1] = '\0';
	log_error("%s", much);
}

static void say_to_the_journal(void)
{
	struct stat st;
	char stream[64];

	fstat(STDERR_FILENO, &st);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_error("e");
	log_warn("w");
	log_info("i");
	log_threshold = LOG_DEBUG;
	log_debug("d");
}

static void say_events(void)
{
	say_to_the_journal();
	log_open_journal();
	log_info("for people");
	log_event(MESSAGE_LEFT, "for\nprograms");
	log_threshold = LOG_ERROR;
	log_event(MESSAGE_NOT_LEFT, "below the threshold");
}

static void say_events_to_nobody(void)
{
	log_journal = "/nowhere/at/all";
	say_events();
}

static void say_past_the_journal(void)
{
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_error("e");
}

static void say_errno(void)
{
	errno = ENOSPC;
	log_error("%m");
}

static void test_events(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char text[2048], path[] = "/tmp/test-base.XXXXXX", name[64];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	ssize_t n;

	check_case("messages with an identifier");
	CHECK(mkdtemp(path) != NULL);
	snprintf(name, sizeof(name), "%s/socket", path);
	memcpy(address.sun_path, name, strlen(name) + 1);
	CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	log_journal = name;
	CHECK_EQ(run(say_events, text, sizeof(text)), 0);
	CHECK(strcmp(text, "<3>e\n<4>w\n<6>i\n<7>d\n<6>for people\n") == 0);
	n = recv(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	CHECK(strcmp(text, "MESSAGE=for?programs\nPRIORITY=6\nSYSLOG_IDENTIFIER=qcow2-ublkd\n"
			   "MESSAGE_ID=de1975ff629444d8994825cd2b6667ff\n") == 0);
	CHECK(recv(fd, text, sizeof(text), 0) < 0);
	unlink(name);
	close(fd);
	rmdir(path);

	check_case("messages with an identifier, and nobody who takes it");
	CHECK_EQ(run(say_events_to_nobody, text, sizeof(text)), 0);
	CHECK(strstr(text, "<6>for people\n<6>for?programs\n") != NULL);
}

static void test_messages(void)
{
	_Atomic uint32_t told = 0;
	char text[8192];
	struct why why;

	unsetenv("JOURNAL_STREAM");
	check_case("a message is one line");
	CHECK_EQ(run(say, text, sizeof(text)), 0);
	CHECK(strcmp(text, "qcow2-ublkd: one?two 3\n") == 0);
	run(say_much, text, sizeof(text));
	CHECK(strlen(text) > 512 && strlen(text) < 4096);
	CHECK(strchr(text, '\n') == text + strlen(text) - 1);
	run(say_errno, text, sizeof(text));
	CHECK_CONTAINS(text, "No space left on device");

	check_case("what comes again and again is said some times");
	for (unsigned i = 0; i < LOG_REPEATS; i++)
		CHECK(log_is_worth(&told));
	CHECK(!log_is_worth(&told) && !log_is_worth(&told));

	check_case("priorities for the journal, and for nobody else");
	run(say_to_the_journal, text, sizeof(text));
	CHECK(strcmp(text, "<3>e\n<4>w\n<6>i\n<7>d\n") == 0);
	run(say_past_the_journal, text, sizeof(text));
	CHECK(strcmp(text, "qcow2-ublkd: e\n") == 0);

	check_case("why");
	CHECK_EQ(why_set(&why, -EIO, "%s: %d", "vm.qcow2", 7), -EIO);
	CHECK(strcmp(why.text, "vm.qcow2: 7") == 0);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	why_set(&why, -EIO, "%s", text);
	CHECK_EQ(strlen(why.text), sizeof(why.text) - 1);
}

static void hook(void)
{
	log_error("the hook");
}

static void hook_that_fails(void)
{
	must(1 + 1 == 3);
}

static void fail(void)
{
	must_fail_hook = hook;
	must(true);
	must(1 + 1 == 4);
}

static void fail_in_hook(void)
{
	must_fail_hook = hook_that_fails;
	must(1 + 1 == 4);
}

static void test_must(void)
{
	char text[8192];
	int status;

	check_case("must");
	status = run(fail, text, sizeof(text));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	CHECK_CONTAINS(text, "test_base.c:");
	CHECK_CONTAINS(text, "1 + 1 == 4");
	CHECK_CONTAINS(text, "the hook");

	check_case("must fails within its own hook");
	status = run(fail_in_hook, text, sizeof(text));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
	test_bytes();
	test_lists();
	test_messages();
	test_events();
	test_must();
	return check_end();
}
