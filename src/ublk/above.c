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

/* What is below, and what was found to lie on it. */
struct found {
	const char *below;
	dev_t number; /* of it */
	char (*name)[ABOVE_NAME];
	unsigned count;
};

/* Of the entries in a folder of /sys those that lie on it. */
static void add_from(const char *folder,
		     bool (*lies_on)(const char *name, const struct found *found),
		     struct found *found)
{
	DIR *entries = opendir(folder);
	struct dirent *entry;

	while (entries && found->count < ABOVE_MOST && (entry = readdir(entries)))
		if (strlen(entry->d_name) < ABOVE_NAME && lies_on(entry->d_name, found))
			snprintf(found->name[found->count++], ABOVE_NAME, "%.31s", entry->d_name);
	if (entries)
		closedir(entries);
}

bool above_is_partition(const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/class/block/%.31s/partition", name);
	return access(path, F_OK) == 0;
}

static bool is_part(const char *name, const struct found *found)
{
	return strncmp(name, found->below, strlen(found->below)) == 0 && above_is_partition(name);
}

static bool is_holder(const char *name, const struct found *found)
{
	(void)found;
	return name[0] != '.';
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
static bool is_loop(const char *name, const struct found *found)
{
	char path[96], file[PATH_MAX];
	bool read;
	FILE *in;

	snprintf(path, sizeof(path), "/sys/block/%.31s/loop/backing_file", name);
	in = fopen(path, "re");
	/* It is none, or not in use. */
	if (!in)
		return false;
	read = fgets(file, sizeof(file), in);
	fclose(in);
	if (!read)
		return false;
	file[strcspn(file, "\n")] = '\0';
	return strncmp(file, "/dev/", 5) == 0 ? loop_is_over(name, found->number) :
						mount_has(file, found->below, found->number);
}

static void add_partitions(struct found *found)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/class/block/%.31s", found->below);
	add_from(path, is_part, found);
}

unsigned above_partitions(const char *name, char above[ABOVE_MOST][ABOVE_NAME])
{
	struct found found = { .below = name, .name = above };

	add_partitions(&found);
	return found.count;
}

unsigned above_find(const char *name, char above[ABOVE_MOST][ABOVE_NAME])
{
	struct found found = { .below = name, .name = above };
	char path[96];

	add_partitions(&found);
	snprintf(path, sizeof(path), "/sys/class/block/%.31s/holders", name);
	add_from(path, is_holder, &found);
	if (users_number(name, &found.number))
		add_from("/sys/block", is_loop, &found);
	return found.count;
}
