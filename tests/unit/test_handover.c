/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process leaves behind: which image it was, its memory, and whose the device is. */
#include "handover_file.h"
#include "ownership.h"
#include "registry.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES 8192u

static char folder[] = "/tmp/test-handover.XXXXXX";

static int make_image(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0);
	return fd;
}

static bool same(const struct identity *a, const struct identity *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* --- identity ------------------------------------------------------------------------------------ */

static void test_identity(void)
{
	struct identity first, again, other;
	int fd = make_image("image");

	check_case("an image is the same by whatever path, and its successor is another");
	CHECK_EQ(identity_of(&first, fd), 0);
	CHECK_EQ(link("image", "link"), 0);
	CHECK_EQ(write(fd, "x", 1), 1);
	close(fd);
	fd = open("link", O_RDONLY);
	CHECK_EQ(identity_of(&again, fd), 0);
	CHECK(same(&first, &again) && strcmp(first.name, again.name) == 0);
	CHECK(identity_mark(&first, "image") == identity_mark(&again, "image"));
	CHECK(identity_mark(&first, "image") != identity_mark(&first, "read-only"));
	CHECK(identity_is_mark(identity_mark(&first, "image")) && !identity_is_mark(0));
	close(fd);
	unlink("link");
	unlink("image");
	fd = make_image("image");
	CHECK_EQ(identity_of(&other, fd), 0);
	CHECK(!same(&first, &other));
	CHECK(identity_mark(&first, "image") != identity_mark(&other, "image"));
	close(fd);
}

/* The facts in an identity that change when a number is used again. */
enum { MADE = 40, HANDLE = 48 };

static uint64_t fact(const struct identity *identity, unsigned at)
{
	uint64_t value;

	memcpy(&value, identity->bytes + at, sizeof(value));
	return value;
}

static void set_fact(struct identity *identity, unsigned at, uint64_t value)
{
	memcpy(identity->bytes + at, &value, sizeof(value));
}

static void test_replaced(void)
{
	struct identity left, now;
	int fd = make_image("image");

	check_case("a file has replaced another one if that is proved, and not otherwise");
	CHECK_EQ(identity_of(&left, fd), 0);
	close(fd);
	set_fact(&left, MADE, 1000);
	set_fact(&left, HANDLE, 7);
	left.place = (struct identity_place){ .file_system = "UUID", .disk = 5 };
	now = left;
	CHECK(!identity_has_replaced(&now, &left));
	set_fact(&now, MADE, fact(&left, MADE) + 1);
	CHECK(!identity_has_replaced(&now, &left));
	set_fact(&now, HANDLE, 8);
	CHECK(identity_has_replaced(&now, &left));
	CHECK(!identity_has_replaced(&left, &now));
	set_fact(&now, MADE, fact(&left, MADE));
	CHECK(!identity_has_replaced(&now, &left));
	set_fact(&now, MADE, 1001);
	set_fact(&now, HANDLE, 0);
	CHECK(!identity_has_replaced(&now, &left));
	set_fact(&now, HANDLE, 8);

	check_case("in the same place, which is known");
	for (unsigned at = 0; at < MADE; at += sizeof(uint64_t)) {
		set_fact(&now, at, fact(&left, at) + 1);
		CHECK(!identity_has_replaced(&now, &left));
		set_fact(&now, at, fact(&left, at));
	}
	now.place.disk = 6;
	CHECK(!identity_has_replaced(&now, &left));
	now.place.disk = 5;
	now.place.file_system[0] = 'u';
	CHECK(!identity_has_replaced(&now, &left));
	now.place = left.place;
	CHECK(identity_has_replaced(&now, &left));
	now.place.disk = left.place.disk = 0;
	CHECK(!identity_has_replaced(&now, &left));
}

/* --- the memory ---------------------------------------------------------------------------------- */

/* A process that has memory with @byte in it, and takes over what there is, or does not come so far. */
static uint8_t serve(const struct identity *identity, uint8_t byte, bool keeps)
{
	struct handover_file file;
	const struct handover *handover = &file.handover;
	uint8_t before = 0;
	uint64_t bytes;
	void *memory;
	struct why why;

	handover_file_init(&file, identity, "image");
	CHECK_EQ(handover->inherit(handover->arg, &memory, &bytes, &why), 0);
	if (bytes) {
		CHECK_EQ(bytes, BYTES);
		before = *((uint8_t *)memory + BYTES - 1);
	}
	CHECK_EQ(handover->make(handover->arg, BYTES, &memory, &why), 0);
	CHECK_EQ(*((uint8_t *)memory + BYTES - 1), 0);
	memset(memory, byte, BYTES);
	if (keeps)
		CHECK_EQ(handover->keep(handover->arg, &why), 0);
	return before;
}

static void test_memory(void)
{
	struct handover_file file;
	struct identity identity;
	int fd = make_image("image");
	char path[PATH_MAX];
	struct stat st;
	uint64_t bytes;
	void *memory;
	struct why why;

	CHECK_EQ(identity_of(&identity, fd), 0);
	close(fd);
	handover_file_init(&file, &identity, "image");

	check_case("memory outlives its process, whole, from keep() to the next keep()");
	CHECK(!handover_file_is_pending(&file));
	CHECK_EQ(serve(&identity, 1, false), 0);
	CHECK(!handover_file_is_pending(&file));
	CHECK_EQ(serve(&identity, 2, true), 0);
	CHECK(handover_file_is_pending(&file));
	snprintf(path, sizeof(path), "%s/%s.writes", registry_folder, identity.name);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_size == BYTES);
	CHECK_EQ(serve(&identity, 3, false), 2);
	CHECK_EQ(serve(&identity, 4, true), 2);
	CHECK_EQ(serve(&identity, 5, false), 4);

	check_case("a start that fails removes nothing but its own");
	CHECK_EQ(file.handover.make(file.handover.arg, BYTES, &memory, &why), 0);
	handover_file_done(&file);
	CHECK_EQ(serve(&identity, 6, true), 4);

	check_case("what was cut off is refused, and can be given up");
	CHECK_EQ(truncate(path, 0), 0);
	CHECK(file.handover.inherit(file.handover.arg, &memory, &bytes, &why) == -EINVAL);
	CHECK(strstr(why.text, "--abandon") != NULL);
	CHECK_EQ(handover_file_abandon(&file), 0);
	CHECK_EQ(handover_file_abandon(&file), 0);
	CHECK(!handover_file_is_pending(&file));

	check_case("a clean end leaves nothing");
	CHECK_EQ(file.handover.make(file.handover.arg, BYTES, &memory, &why), 0);
	CHECK_EQ(file.handover.keep(file.handover.arg, &why), 0);
	CHECK(handover_file_is_pending(&file));
	handover_file_done(&file);
	CHECK(!handover_file_is_pending(&file));
}

static uint64_t inode_of(int fd, const char *path)
{
	struct stat st = { 0 };

	CHECK_EQ(path ? stat(path, &st) : fstat(fd, &st), 0);
	return st.st_ino;
}

/*
 * Where the file system has no files without names, nothing is prepared, and all the rest holds.  As long as
 * one is held, no other file gets its number.
 */
static void test_prepared(void)
{
	struct handover_file file;
	struct identity identity;
	int fd = make_image("image");
	struct rlimit limit, little;
	uint64_t inode;
	int held;
	void *memory;
	struct why why;

	CHECK_EQ(identity_of(&identity, fd), 0);
	close(fd);
	handover_file_init(&file, &identity, "image");

	check_case("nothing is prepared when there is nothing to take over");
	CHECK_EQ(handover_file_prepare(&file, &why), 0);
	CHECK(file.spare < 0);

	check_case("memory that was prepared is used");
	CHECK_EQ(serve(&identity, 1, true), 0);
	CHECK_EQ(handover_file_prepare(&file, &why), 0);
	inode = file.spare >= 0 ? inode_of(file.spare, NULL) : 0;
	held = dup(file.spare);
	CHECK_EQ(serve(&identity, 2, true), 1);
	CHECK_EQ(file.handover.make(file.handover.arg, BYTES, &memory, &why), 0);
	CHECK(file.spare < 0 && *((uint8_t *)memory + BYTES - 1) == 0);
	CHECK(!inode || inode_of(-1, file.fresh) == inode);
	CHECK_EQ(file.handover.keep(file.handover.arg, &why), 0);
	CHECK(!inode || inode_of(-1, file.path) == inode);
	close(held);

	check_case("also where it is to be more, or less");
	for (uint64_t bytes = BYTES / 2; bytes <= 2 * BYTES; bytes *= 4) {
		CHECK_EQ(handover_file_prepare(&file, &why), 0);
		inode = file.spare >= 0 ? inode_of(file.spare, NULL) : 0;
		held = dup(file.spare);
		CHECK_EQ(file.handover.make(file.handover.arg, bytes, &memory, &why), 0);
		CHECK(file.spare < 0 && *((uint8_t *)memory + bytes - 1) == 0);
		CHECK(!inode || inode_of(-1, file.fresh) == inode);
		close(held);
		CHECK_EQ(unlink(file.fresh), 0);
	}

	check_case("that there is not enough of it is known before");
	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
	little = (struct rlimit){ .rlim_cur = BYTES / 2, .rlim_max = limit.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &little), 0);
	CHECK_EQ(handover_file_prepare(&file, &why), inode ? -EFBIG : 0);
	CHECK(file.spare < 0 &&
	      (!inode ||
	       strstr(why.text, "takes 8 KiB beside what the process before has there, and ")));
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
	handover_file_done(&file);
}

/* --- the device ---------------------------------------------------------------------------------- */

static void wait_for_child(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void test_ownership(void)
{
	struct ownership mine = { .fd = -1 }, other = { .fd = -1 };
	struct identity identity, other_identity;
	int fd = make_image("image");
	pid_t holder, child;

	CHECK_EQ(identity_of(&identity, fd), 0);
	close(fd);

	check_case("a device has one owner at a time, who shows what it shows");
	CHECK_EQ(ownership_take(&mine, 7, &identity, "image", &holder), -ENOENT);
	CHECK_EQ(ownership_make(&mine, 7, &identity, "image", 1), 0);
	CHECK_EQ(ownership_holder(7), getpid());
	CHECK_EQ(ownership_take(&other, 7, &identity, "image", &holder), -EBUSY);
	CHECK_EQ(holder, getpid());
	CHECK_EQ(ownership_take(&other, 7, &identity, "read-only", &holder), -ENOENT);
	ownership_drop(&mine);
	CHECK_EQ(ownership_holder(7), 0);
	CHECK_EQ(ownership_take(&other, 7, &identity, "image", &holder), -ENOENT);

	check_case("a device of an image is there until the kernel has none");
	CHECK_EQ(mkdir("devices", 0700), 0);
	registry_devices = "devices/ublk-char";
	CHECK(!ownership_is_left(&identity));
	registry_devices = "nowhere/ublk-char";
	CHECK(ownership_is_left(&identity));
	registry_devices = "devices/ublk-char";
	CHECK(mkdir("devices/ublk-char", 0700) == 0 &&
	      mkdir("devices/ublk-char/ublkc9", 0700) == 0);
	CHECK_EQ(ownership_make(&mine, 9, &identity, "any view", 1), 0);
	CHECK(ownership_is_left(&identity));
	other_identity = identity;
	other_identity.bytes[0] ^= 1;
	CHECK(!ownership_is_left(&other_identity));
	CHECK(rmdir("devices/ublk-char/ublkc9") == 0 && !ownership_is_left(&identity));
	ownership_drop(&mine);
	CHECK(rmdir("devices/ublk-char") == 0 && rmdir("devices") == 0);
	registry_devices = "/sys/class/ublk-char";

	check_case("a dead owner's device can be claimed, with its image only");
	fflush(stdout);
	child = fork();
	if (child == 0)
		_exit(ownership_make(&mine, 8, &identity, "image", 1) != 0);
	wait_for_child(child);
	CHECK_EQ(ownership_holder(8), 0);
	CHECK_EQ(ownership_take(&other, 8, &identity, "read-only", &holder), -ENOENT);
	CHECK_EQ(ownership_take(&other, 8, &identity, "image", &holder), 0);
	CHECK_EQ(ownership_holder(8), getpid());
	check_case("and with the files below it only");
	CHECK_EQ(ownership_match_below(&other, 2), -ESTALE);
	CHECK_EQ(ownership_match_below(&other, 1), 0);
	check_case("whether it was ever served is known to the next one");
	CHECK(other.fresh);
	CHECK_EQ(ownership_served(&other), 0);
	close(other.fd);
	CHECK_EQ(ownership_take(&other, 8, &identity, "image", &holder), 0);
	CHECK(!other.fresh);
	close(other.fd);
	other.fd = -1;

	check_case("where no devices are to be seen, what is known of them stays");
	registry_devices = "/nowhere/ublk-char";
	ownership_clear_away();
	CHECK_EQ(ownership_take(&other, 8, &identity, "image", &holder), 0);
	close(other.fd);
	other.fd = -1;
	check_case("what is known of devices that are gone goes");
	registry_devices = "/proc/ublk-char";
	ownership_clear_away();
	CHECK_EQ(ownership_take(&other, 8, &identity, "image", &holder), -ENOENT);
}

int main(void)
{
	char registry[PATH_MAX];
	struct why why;

	CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0);
	snprintf(registry, sizeof(registry), "%s/run", folder);
	registry_folder = registry;
	CHECK_EQ(registry_folder_make(&why), 0);
	test_identity();
	test_replaced();
	test_memory();
	test_prepared();
	test_ownership();
	unlink("image");
	rmdir(registry);
	CHECK(chdir("/") == 0 && rmdir(folder) == 0);
	return check_end();
}
