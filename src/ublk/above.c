/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /sys and loop devices say about what lies on a block device. */
#include "above.h"
#include "users.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
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

/* A name may be another node's by now, but the driver knows the number of what it has below. */
static bool loop_is_over(const char *loop, dev_t number)
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
	return known && info.lo_rdevice == number;
}

/*
 * Does the file lie where one of our file systems is mounted?  By the names alone: whoever asks for the
 * file itself waits for its server, if that has gone.
 */
static bool mount_has(const char *file, const char *name, dev_t number)
{
	FILE *in = fopen("/proc/self/mountinfo", "re");
	char line[2 * PATH_MAX], where[PATH_MAX];
	bool is_ours = false;
	size_t longest = 0;

	while (in && fgets(line, sizeof(line), in)) {
		const char *source = strstr(line, " - ");
		char device[ABOVE_NAME + 5] = "";
		unsigned major, minor;
		size_t len;

		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major, &minor, where) < 3)
			continue;
		users_unescape(where);
		len = strcmp(where, "/") == 0 ? 0 : strlen(where);
		if (len < longest || strncmp(file, where, len) != 0 || file[len] != '/')
			continue;
		longest = len;
		if (source)
			sscanf(source, " - %*s /dev/%36s", device);
		is_ours = makedev(major, minor) == number || strcmp(device, name) == 0;
	}
	if (in)
		fclose(in);
	return is_ours;
}

/* Only loop devices over block devices are opened: what lies on a file may wait for a server. */
static bool loop_lies_on(const char *loop, const char *name, dev_t number)
{
	char path[96], file[PATH_MAX];
	bool read;
	FILE *in;

	snprintf(path, sizeof(path), "/sys/block/%.31s/loop/backing_file", loop);
	in = fopen(path, "re");
	/* Without the file it is not in use. */
	if (!in)
		return false;
	read = fgets(file, sizeof(file), in);
	fclose(in);
	if (!read)
		return false;
	file[strcspn(file, "\n")] = '\0';
	return strncmp(file, "/dev/", 5) == 0 ? loop_is_over(loop, number) :
						mount_has(file, name, number);
}

static void add_loops(const char *name, dev_t number, struct found *found)
{
	DIR *folder = opendir("/sys/block");
	struct dirent *file;

	while (folder && (file = readdir(folder)))
		if (strncmp(file->d_name, "loop", 4) == 0 &&
		    loop_lies_on(file->d_name, name, number))
			add(found, file->d_name);
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
		add_loops(name, number, &found);
	return found.count;
}
