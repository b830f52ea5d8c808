/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /sys and loop devices say about what lies on a block device. */
#include "above.h"
#include "users.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct found {
	char (*name)[ABOVE_NAME];
	unsigned count;
};

static void add(struct found *found, const char *name)
{
	if (found->count < ABOVE_MOST && strlen(name) < ABOVE_NAME)
		snprintf(found->name[found->count++], ABOVE_NAME, "%.31s", name);
}

static void add_partitions(const char *name, struct found *found)
{
	struct dirent *file;
	char path[128];
	DIR *folder;

	snprintf(path, sizeof(path), "/sys/class/block/%.31s", name);
	folder = opendir(path);
	while (folder && (file = readdir(folder))) {
		snprintf(path, sizeof(path), "/sys/class/block/%.31s/%.31s/partition", name,
			 file->d_name);
		if (strncmp(file->d_name, name, strlen(name)) == 0 && access(path, F_OK) == 0)
			add(found, file->d_name);
	}
	if (folder)
		closedir(folder);
}

static void add_holders(const char *name, struct found *found)
{
	struct dirent *file;
	char path[96];
	DIR *folder;

	snprintf(path, sizeof(path), "/sys/class/block/%.31s/holders", name);
	folder = opendir(path);
	while (folder && (file = readdir(folder)))
		if (file->d_name[0] != '.')
			add(found, file->d_name);
	if (folder)
		closedir(folder);
}

/* The driver knows what it has below, whatever that is called, and by whom. */
static bool loop_lies_on(const char *loop, dev_t number)
{
	struct loop_info64 info;
	char path[64];
	bool known;
	int fd;

	snprintf(path, sizeof(path), "/dev/%.31s", loop);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	known = ioctl(fd, LOOP_GET_STATUS64, &info) == 0;
	close(fd);
	return known && (info.lo_rdevice ? info.lo_rdevice : info.lo_device) == number;
}

static void add_loops(dev_t number, struct found *found)
{
	DIR *folder = opendir("/sys/block");
	struct dirent *file;
	char path[96];

	while (folder && (file = readdir(folder))) {
		snprintf(path, sizeof(path), "/sys/block/%.31s/loop", file->d_name);
		/* Others are not in use, and are not to be opened. */
		if (access(path, F_OK) == 0 && loop_lies_on(file->d_name, number))
			add(found, file->d_name);
	}
	if (folder)
		closedir(folder);
}

unsigned above_find(const char *name, char above[ABOVE_MOST][ABOVE_NAME])
{
	struct found found = { .name = above };
	dev_t number;

	add_partitions(name, &found);
	add_holders(name, &found);
	if (users_number(name, &number))
		add_loops(number, &found);
	return found.count;
}
