/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When a stop asks the service manager for more time. */
#include "extension.h"
#include "notify.h"

#include "check.h"

static uint64_t bytes;
static unsigned notes;

void image_traffic(const struct image *image, unsigned lane, struct image_traffic *sum)
{
	(void)image;
	sum->host_bytes[IO_WRITE] += lane == 1 ? bytes : 0;
}

void notify(const char *state)
{
	notes += strcmp(state, "EXTEND_TIMEOUT_USEC=300000000") == 0;
}

static void test_when(void)
{
	struct extension extension = { 0 };
	int timeout_ms = -1;

	check_case("at the beginning, whatever was done before");
	CHECK(extension_is_due(&extension, 0, 1000));
	check_case("not at once again, even if something was done");
	CHECK(!extension_is_due(&extension, 5, 1001));
	CHECK(!extension_is_due(&extension, 9, 10999));
	check_case("ten seconds later, for what was done meanwhile");
	CHECK(extension_is_due(&extension, 9, 11000));
	check_case("not while nothing is done");
	CHECK(!extension_is_due(&extension, 9, 21000));
	CHECK(!extension_is_due(&extension, 9, 31000));
	check_case("when it goes on after all");
	CHECK(extension_is_due(&extension, 10, 41000));

	check_case("poll(2) waits no longer than to the next look");
	extension = (struct extension){ .due_ms = monotonic_ms() + 5000 };
	extension_watch(&extension, &timeout_ms);
	CHECK(timeout_ms > 4000 && timeout_ms <= 5000);
}

static void test_turns(void)
{
	struct extension extension = { 0 };

	check_case("a turn asks once, and looks at all lanes");
	extension_turn(&extension, NULL, 2);
	extension_turn(&extension, NULL, 2);
	CHECK_EQ(notes, 1);
	extension.due_ms = 1;
	extension_turn(&extension, NULL, 2);
	CHECK_EQ(notes, 1);
	bytes = 512;
	extension.due_ms = 1;
	extension_turn(&extension, NULL, 2);
	CHECK_EQ(notes, 2);
}

int main(void)
{
	test_when();
	test_turns();
	return check_end();
}
