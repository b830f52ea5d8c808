/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names in /dev/disk/by-id.  That udev is done with a device is seen in its database, a file
 * bMAJOR:MINOR for each: it is written after the links were made, with the time of the device's
 * first event (I:) and its properties (E:KEY=VALUE).
 */
#include "udev.h"
#include "registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROPERTY "QCOW2_UBLKD_NAME="
#define WAIT_MS 30000u
#define LOOK_MS 10u

const char *udev_folder = "/run/udev";
const char *udev_disks = "/sys/block";

/* --- what udev is told ------------------------------------------------------------------------------ */

static bool says(const char *path, const char *text)
{
	char found[256];
	FILE *in = fopen(path, "re");
	size_t n;

	if (!in)
		return false;
	n = fread(found, 1, sizeof(found), in);
	fclose(in);
	return n == strlen(text) && memcmp(found, text, n) == 0;
}

/* Replaced in one step, as udev may be reading. */
static int write_file(const char *path, const char *text)
{
	char fresh[PATH_MAX + 8];
	FILE *out;
	int err = 0;

	snprintf(fresh, sizeof(fresh), "%s.new", path);
	out = fopen(fresh, "we");
	if (!out)
		return -errno;
	if (fputs(text, out) < 0)
		err = -EIO;
	if (fclose(out))
		err = -errno;
	if (!err && rename(fresh, path))
		err = -errno;
	if (err)
		unlink(fresh);
	return err;
}

int udev_tell(int32_t id, const char *name, bool *changed)
{
	char path[PATH_MAX], text[NAME_LENGTH + sizeof(PROPERTY) + 1];

	*changed = false;
	registry_device_file(path, id, DEVICE_UDEV);
	if (!name[0])
		return unlink(path) && errno != ENOENT ? -errno : 0;
	snprintf(text, sizeof(text), PROPERTY "%s\n", name);
	if (says(path, text))
		return 0;
	*changed = true;
	return write_file(path, text);
}

/* --- what udev has done ----------------------------------------------------------------------------- */

uint64_t udev_now(void)
{
	return monotonic_ns() / 1000;
}

/* The first line of a file in /sys. */
static bool read_line(const char *path, char *line, int size)
{
	FILE *in = fopen(path, "re");
	bool ok;

	if (!in)
		return false;
	ok = fgets(line, size, in) != NULL;
	fclose(in);
	line[ok ? strcspn(line, "\n") : 0] = '\0';
	return ok;
}

enum known { NOT_YET, NO_RULE, KNOWN };

static enum known look(const char *number, const char *name, uint64_t since)
{
	char path[PATH_MAX], line[512];
	bool fresh = false, ours = false, any = false;
	uint64_t at;
	FILE *in;

	snprintf(path, sizeof(path), "%s/data/b%s", udev_folder, number);
	in = fopen(path, "re");
	if (!in)
		return NOT_YET;
	while (fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "I:%" SCNu64, &at) == 1)
			fresh = at >= since;
		if (strncmp(line, "E:" PROPERTY, strlen("E:" PROPERTY)) != 0)
			continue;
		any = true;
		ours = strcmp(line + strlen("E:" PROPERTY), name) == 0;
	}
	fclose(in);
	if (!fresh)
		return NOT_YET;
	return ours ? KNOWN : any ? NOT_YET : NO_RULE;
}

static enum known look_at(const char *folder, const char *name, uint64_t since)
{
	char path[PATH_MAX], number[32];

	snprintf(path, sizeof(path), "%s/dev", folder);
	return read_line(path, number, sizeof(number)) ? look(number, name, since) : NOT_YET;
}

/*
 * Call @visit for the folder in /sys of device @id and of each partition, until one says
 * something else than KNOWN.
 */
static enum known each(int32_t id,
		       enum known (*visit)(const char *folder, const char *name, uint64_t since),
		       const char *name, uint64_t since)
{
	char disk[PATH_MAX / 2], folder[PATH_MAX], prefix[32];
	enum known known;
	struct dirent *entry;
	DIR *dir;

	snprintf(disk, sizeof(disk), "%s/ublkb%" PRId32, udev_disks, id);
	snprintf(prefix, sizeof(prefix), "ublkb%" PRId32 "p", id);
	known = visit(disk, name, since);
	dir = known == KNOWN ? opendir(disk) : NULL;
	while (dir && known == KNOWN && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(folder, sizeof(folder), "%s/%s", disk, entry->d_name);
		known = visit(folder, name, since);
	}
	if (dir)
		closedir(dir);
	return known;
}

bool udev_wait(int32_t id, const char *name, uint64_t since, bool (*cancelled)(void *arg),
	       void *arg)
{
	char control[PATH_MAX];

	snprintf(control, sizeof(control), "%s/control", udev_folder);
	if (!name[0] || access(control, F_OK))
		return true;
	for (unsigned ms = 0; ms < WAIT_MS && !cancelled(arg); ms += LOOK_MS) {
		enum known known = each(id, look_at, name, since);

		if (known != NOT_YET)
			return known == KNOWN;
		sleep_ms(LOOK_MS);
	}
	return false;
}

static enum known trigger(const char *folder, const char *name, uint64_t since)
{
	char path[PATH_MAX];
	FILE *out;
	int err;

	(void)name;
	(void)since;
	snprintf(path, sizeof(path), "%s/uevent", folder);
	out = fopen(path, "we");
	if (!out)
		return NOT_YET;
	err = fputs("change", out) < 0;
	if (fclose(out) || err)
		return NOT_YET;
	return KNOWN;
}

int udev_trigger(int32_t id)
{
	errno = 0;
	if (each(id, trigger, NULL, 0) == KNOWN)
		return 0;
	return errno ? -errno : -EIO;
}
