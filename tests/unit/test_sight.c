/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines about what is under way. */
#include "check.h"
#include "sight.h"

#define SECOND UINT64_C(1000000000)

static const struct sight_place queue = { .device = "/dev/ublkb3", .queue = 2 };
static const struct sight_place service = { .device = "/dev/ublkb3", .queue = SIGHT_SERVICE };

static void check_line(const struct sight_place *place, const struct live *live, const char *right)
{
	char text[SIGHT_BYTES];

	sight_text(text, place, live, 100 * SECOND);
	CHECK(strcmp(text, right) == 0);
	if (strcmp(text, right) != 0)
		printf("# %s\n# %s\n", text, right);
}

static void test_lines(void)
{
	static const struct req req;
	struct live live = {
		.req = &req,
		.op = REQ_WRITE,
		.guest = { 4096 },
		.len = 512,
		.began = 90 * SECOND,
		.tag = 7,
		.machine = "write",
		.state = "W_DONE",
		.io = "write",
		.file = "a.qcow2",
		.io_off = { 65536 },
		.io_len = 512,
		.since = 91 * SECOND + SECOND / 2,
	};

	check_case("a request that waits for the host");
	check_line(&queue, &live,
		   "/dev/ublkb3: queue 2 tag 7 write of 512 at 4096 for 10.000 s, write in W_DONE, "
		   "waits for the host: write of 512 at 65536 of a.qcow2 for 8.500 s");
	check_case("not timed");
	live.since = 0;
	live.longer = true;
	check_line(
		&queue, &live,
		"/dev/ublkb3: queue 2 tag 7 write of 512 at 4096 for 10.000 s or longer, write in "
		"W_DONE, waits for the host: write of 512 at 65536 of a.qcow2");
	check_case("parked");
	live = (struct live){
		.req = &req,
		.op = REQ_FLUSH,
		.tag = 0,
		.machine = "flush",
		.state = "F_JOIN",
		.waits_for = "&flush->waiters",
		.since = 100 * SECOND,
	};
	check_line(&queue, &live,
		   "/dev/ublkb3: queue 2 tag 0 flush, flush in F_JOIN, waits at flush->waiters for "
		   "0.000 s");
	check_case("the engine's own");
	live = (struct live){ .tag = -1, .machine = "alloc", .state = "A_LOOK" };
	check_line(&service, &live, "/dev/ublkb3: service, alloc in A_LOOK");
}

static void test_length(void)
{
	char file[2048], text[SIGHT_BYTES];
	struct live live = { .machine = "m", .state = "s", .io = "read", .file = file, .tag = -1 };

	check_case("no name is too long");
	memset(file, 'x', sizeof(file) - 1);
	file[sizeof(file) - 1] = '\0';
	memset(text, '!', sizeof(text));
	sight_text(text, &service, &live, SECOND);
	CHECK_EQ(strlen(text), SIGHT_BYTES - 1);
}

int main(void)
{
	test_lines();
	test_length();
	return check_end();
}
