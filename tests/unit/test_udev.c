/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What udev is told of a device, and how it is seen that it has made links of it. */
#include "registry.h"
#include "udev.h"

#include "check.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/test-udev.XXXXXX";

static void write_file(const char *name, const char *text)
{
	FILE *out = fopen(name, "w");

	CHECK(out && fputs(text, out) >= 0);
	CHECK(fclose(out) == 0);
}

static bool holds(const char *name, const char *text)
{
	char found[256] = "";
	FILE *in = fopen(name, "r");
	size_t n = in ? fread(found, 1, sizeof(found) - 1, in) : 0;

	if (in)
		fclose(in);
	return in && n == strlen(text) && memcmp(found, text, n) == 0;
}

/* Looks that are left before somebody wants us to stop. */
static bool patience(void *arg)
{
	unsigned *looks = arg;

	return (*looks)-- == 0;
}

static bool waited(const char *name, uint64_t since, unsigned looks, unsigned *left)
{
	bool known;

	*left = looks;
	known = udev_wait(7, name, since, patience, left);
	*left = looks - *left;
	return known;
}

static void test_tell(void)
{
	bool changed;

	check_case("what udev is told");
	CHECK_EQ(udev_tell(7, "vm", &changed), 0);
	CHECK(changed && holds("ublkb7.udev", "QCOW2_UBLKD_NAME=vm\n"));
	CHECK_EQ(udev_tell(7, "vm", &changed), 0);
	CHECK(!changed);
	CHECK_EQ(udev_tell(7, "vm-2", &changed), 0);
	CHECK(changed && holds("ublkb7.udev", "QCOW2_UBLKD_NAME=vm-2\n"));
	CHECK_EQ(udev_tell(8, "", &changed), 0);
	CHECK(!changed && access("ublkb8.udev", F_OK) != 0);
	unlink("ublkb7.udev");
}

static void test_wait(void)
{
	unsigned looks;

	check_case("without udev nothing is waited for");
	CHECK(waited("vm", 0, 100, &looks) && looks == 0);

	check_case("udev is not done");
	write_file("control", "");
	CHECK(!waited("vm", 0, 3, &looks) && looks == 4);
	write_file("data/b259:1", "E:ID_MODEL=x\n");
	CHECK(!waited("vm", 0, 3, &looks) && looks == 4);

	check_case("what it knows of an earlier device of that number is old");
	write_file("data/b259:1", "S:disk/by-id/qcow2-vm\nI:4999\nE:QCOW2_UBLKD_NAME=vm\n");
	CHECK(!waited("vm", 5000, 3, &looks) && looks == 4);
	CHECK(waited("vm", 4999, 3, &looks) && looks == 1);

	check_case("and so is another name");
	CHECK(!waited("v", 0, 3, &looks) && looks == 4);
	CHECK(!waited("vm-2", 0, 3, &looks) && looks == 4);

	check_case("without the rule there will be no name");
	write_file("data/b259:1", "I:5000\nE:ID_MODEL=x\n");
	CHECK(!waited("vm", 5000, 3, &looks) && looks == 1);

	check_case("partitions are waited for");
	write_file("data/b259:1", "I:5000\nE:QCOW2_UBLKD_NAME=vm\n");
	CHECK_EQ(mkdir("ublkb7/ublkb7p1", 0700), 0);
	write_file("ublkb7/ublkb7p1/dev", "259:2\n");
	CHECK(!waited("vm", 5000, 3, &looks) && looks == 4);
	write_file("data/b259:2", "I:5001\nE:QCOW2_UBLKD_NAME=vm\n");
	CHECK(waited("vm", 5000, 3, &looks) && looks == 1);

	check_case("udev is made to look again");
	CHECK_EQ(udev_trigger(7), 0);
	CHECK(holds("ublkb7/uevent", "change") && holds("ublkb7/ublkb7p1/uevent", "change"));
	CHECK(udev_trigger(8) < 0);
}

int main(void)
{
	if (!mkdtemp(folder) || chdir(folder) || mkdir("data", 0700) || mkdir("ublkb7", 0700))
		return 1;
	write_file("ublkb7/dev", "259:1\n");
	registry_folder = udev_folder = udev_disks = ".";
	test_tell();
	test_wait();
	unlink("ublkb7/ublkb7p1/uevent");
	unlink("ublkb7/ublkb7p1/dev");
	rmdir("ublkb7/ublkb7p1");
	unlink("ublkb7/uevent");
	unlink("ublkb7/dev");
	rmdir("ublkb7");
	unlink("data/b259:1");
	unlink("data/b259:2");
	rmdir("data");
	unlink("control");
	rmdir(folder);
	return check_end();
}
