/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /sys and /proc say about a block device's users. */
#include "users.h"
#include "keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMESPACES_MAX 256 /* whose mounts are looked at */
#define DESCRIBE_MS 5000 /* for all processes */
#define SEPARATOR "; "
#define SEPARATOR_BYTES (sizeof(SEPARATOR) - 1)

/* --- the disk ---------------------------------------------------------------------------------------- */

bool users_number(const char *name, dev_t *number)
{
	unsigned major, minor;
	char path[96];
	FILE *in;
	bool read;

	snprintf(path, sizeof(path), "/sys/class/block/%.32s/dev", name);
	in = fopen(path, "re");
	if (!in)
		return false;
	read = fscanf(in, "%u:%u", &major, &minor) == 2;
	fclose(in);
	*number = read ? makedev(major, minor) : 0;
	return read;
}

static bool is_on_disk(const struct users_disk *disk, dev_t number)
{
	for (unsigned i = 0; i < disk->devices; i++)
		if (disk->number[i] == number)
			return true;
	return false;
}

static bool add_device(struct users_disk *disk, const char *name)
{
	dev_t number;

	if (disk->devices == USERS_DEVICES || !users_number(name, &number) ||
	    is_on_disk(disk, number))
		return false;
	snprintf(disk->name[disk->devices], sizeof(disk->name[0]), "%.31s", name);
	disk->number[disk->devices++] = number;
	return true;
}

/* All that lies on device @i of them. */
static void add_above(struct users_disk *disk, unsigned i)
{
	char above[ABOVE_MOST][ABOVE_NAME];
	unsigned n = above_find(disk->name[i], above);

	for (unsigned j = 0; j < n; j++)
		add_device(disk, above[j]);
}

bool users_disk(struct users_disk *disk, int32_t id)
{
	char name[ABOVE_NAME], above[ABOVE_MOST][ABOVE_NAME];
	unsigned n;

	disk->devices = 0;
	snprintf(name, sizeof(name), "ublkb%d", id);
	if (!add_device(disk, name))
		return false;
	n = above_partitions(name, above);
	for (unsigned i = 0; i < n; i++)
		add_device(disk, above[i]);
	disk->own = disk->devices;
	for (unsigned i = 0; i < disk->devices; i++)
		add_above(disk, i);
	return true;
}

/* --- the text ---------------------------------------------------------------------------------------- */

struct text {
	char *at;
	size_t size;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *text, const char *fmt, ...)
{
	const char *separator = text->used ? SEPARATOR : "";
	va_list args;
	int len, n;

	len = snprintf(text->at + text->used, text->size - text->used, "%s", separator);
	va_start(args, fmt);
	n = (size_t)len < text->size - text->used ?
		    vsnprintf(text->at + text->used + len, text->size - text->used - (size_t)len,
			      fmt, args) :
		    -1;
	va_end(args);
	/* What does not fit is left out, and so is all that follows. */
	if (n < 0 || (size_t)(len + n) >= text->size - text->used) {
		text->at[text->used] = '\0';
		text->size = text->used + 1;
	} else {
		text->used += (size_t)(len + n);
	}
}

static void program_of(const char *pid, char program[32])
{
	char path[64];
	size_t n = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
	in = fopen(path, "re");
	if (in) {
		n = fread(program, 1, 31, in);
		fclose(in);
	}
	program[n] = '\0';
	program[strcspn(program, "\n")] = '\0';
}

/* --- devices above ----------------------------------------------------------------------------------- */

static void describe_above(const struct users_disk *disk, struct text *text)
{
	char path[96], mapped[64];

	for (unsigned i = disk->own; i < disk->devices; i++) {
		const char *name = disk->name[i];
		FILE *in;

		if (above_is_partition(name))
			continue;
		mapped[0] = '\0';
		snprintf(path, sizeof(path), "/sys/class/block/%.31s/dm/name", name);
		in = fopen(path, "re");
		if (in && fscanf(in, "%63s", mapped) != 1)
			mapped[0] = '\0';
		if (in)
			fclose(in);
		say(text, "%s /dev/%s%s", strncmp(name, "loop", 4) == 0 ? "below" : "part of",
		    mapped[0] ? "mapper/" : "", mapped[0] ? mapped : name);
	}
}

/* --- mounts ------------------------------------------------------------------------------------------ */

/* A path that somebody else's /dev may have had as well. */
static bool is_name_of_ours(const struct users_disk *disk, const char *path)
{
	struct stat st;

	if (strncmp(path, "/dev/", 5) != 0)
		return false;
	for (unsigned i = 0; i < disk->devices; i++)
		if (strcmp(path + 5, disk->name[i]) == 0)
			return true;
	return stat(path, &st) == 0 && S_ISBLK(st.st_mode) && is_on_disk(disk, st.st_rdev);
}

/* Does a line of mountinfo speak of the disk?  Then *@where is the mount point, still escaped. */
static bool line_is_ours(const struct users_disk *disk, char *line, char **where)
{
	unsigned major, minor;
	char *source = strstr(line, " - ");
	int at = 0, end = 0;

	/* id, parent, major:minor, root, mount point */
	if (sscanf(line, "%*d %*d %u:%u %*s %n%*s%n", &major, &minor, &at, &end) < 2 || !end)
		return false;
	*where = line + at;
	if (is_on_disk(disk, makedev(major, minor))) {
		line[end] = '\0';
		return true;
	}
	/* File systems with device numbers of their own name the device as they were told it. */
	if (!source || sscanf(source, " - %*s %n%*s", &at) < 0)
		return false;
	source += at;
	source[strcspn(source, " \n")] = '\0';
	if (!is_name_of_ours(disk, source))
		return false;
	line[end] = '\0';
	return true;
}

/* The first mount that @pid sees; true if there is one. */
static bool describe_mount(const struct users_disk *disk, const char *pid, bool here,
			   struct text *text)
{
	char line[2 * PATH_MAX], path[64], program[32];
	bool found = false;
	char *where;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%.16s/mountinfo", pid);
	in = fopen(path, "re");
	while (in && !found && fgets(line, sizeof(line), in))
		found = line_is_ours(disk, line, &where);
	if (in)
		fclose(in);
	if (found && here) {
		say(text, "mounted on %.200s", where);
	} else if (found) {
		program_of(pid, program);
		say(text, "mounted on %.200s in the mount namespace of %s (%s)", where, program,
		    pid);
	}
	return found;
}

/* --- swap -------------------------------------------------------------------------------------------- */

/* Does the file system with the file lie on the disk? */
static bool file_is_ours(const struct users_disk *disk, const char *path)
{
	FILE *in = fopen("/proc/self/mountinfo", "re");
	char line[2 * PATH_MAX], *where;
	struct statx file = { 0 };
	bool found = false;

	/* Without an answer no mount has that number. */
	statx(AT_FDCWD, path, 0, STATX_MNT_ID, &file);
	while (in && !found && fgets(line, sizeof(line), in))
		found = strtoull(line, NULL, 10) == file.stx_mnt_id &&
			line_is_ours(disk, line, &where);
	if (in)
		fclose(in);
	return found;
}

void users_unescape(char *path)
{
	char *to = path;
	unsigned c;

	for (const char *from = path; *from; from++)
		if (sscanf(from, "\\%3o", &c) == 1) {
			*to++ = (char)c;
			from += 3;
		} else {
			*to++ = *from;
		}
	*to = '\0';
}

int users_sync(const struct users_disk *disk)
{
	FILE *in = fopen("/proc/self/mountinfo", "re");
	char line[2 * PATH_MAX], *where;
	int fd, first = 0;

	while (in && fgets(line, sizeof(line), in)) {
		if (!strstr(line, " - btrfs ") || !line_is_ours(disk, line, &where))
			continue;
		users_unescape(where);
		fd = open(where, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0)
			continue;
		if (syncfs(fd) && !first)
			first = -errno;
		close(fd);
	}
	if (in)
		fclose(in);
	return first;
}

bool users_swap(const struct users_disk *disk)
{
	FILE *in = fopen("/proc/swaps", "re");
	char line[PATH_MAX + 128], path[PATH_MAX];
	bool found = false;
	struct stat st;

	while (in && !found && fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%4095s", path) != 1 || path[0] != '/')
			continue;
		users_unescape(path);
		if (stat(path, &st) == 0)
			found = S_ISBLK(st.st_mode) ? is_on_disk(disk, st.st_rdev) :
						      file_is_ours(disk, path);
	}
	if (in)
		fclose(in);
	return found;
}

/* --- processes --------------------------------------------------------------------------------------- */

/*
 * Is it one of the devices?  Nobody's server is asked, be it of NFS or FUSE: that may have gone.
 * And what is no path is no device.
 */
static bool is_device(const struct users_disk *disk, int folder, const char *file)
{
	struct statx st;
	char first;

	return readlinkat(folder, file, &first, 1) == 1 && first == '/' &&
	       statx(folder, file, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &st) == 0 &&
	       S_ISBLK(st.stx_mode) &&
	       is_on_disk(disk, makedev(st.stx_rdev_major, st.stx_rdev_minor));
}

/* Has it one of the devices open? */
static bool has_open(const struct users_disk *disk, const char *pid)
{
	char path[64];
	struct dirent *file;
	bool found = false;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	folder = opendir(path);
	while (folder && !found && (file = readdir(folder)))
		found = file->d_name[0] != '.' && is_device(disk, dirfd(folder), file->d_name);
	if (folder)
		closedir(folder);
	return found;
}

static ino_t mount_namespace(const char *pid)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.16s/ns/mnt", pid);
	return stat(path, &st) ? 0 : st.st_ino;
}

/* All mount namespaces but our own, by a process of each; what processes but @own have open. */
static void describe_processes(const struct users_disk *disk, pid_t own, struct text *text)
{
	ino_t seen[NAMESPACES_MAX] = { mount_namespace("self") };
	DIR *folder = opendir("/proc");
	unsigned namespaces = 1;
	struct dirent *file;

	while (folder && (file = readdir(folder))) {
		char *end, program[32];
		long pid = strtol(file->d_name, &end, 10);
		ino_t its;
		unsigned i;

		if (*end || pid <= 0 || pid == own || pid == getpid())
			continue;
		if (has_open(disk, file->d_name)) {
			program_of(file->d_name, program);
			say(text, "opened by %s (%ld)", program, pid);
		}
		its = mount_namespace(file->d_name);
		for (i = 0; its && i < namespaces && seen[i] != its; i++)
			;
		if (!its || i < namespaces || namespaces == NAMESPACES_MAX)
			continue;
		seen[namespaces++] = its;
		describe_mount(disk, file->d_name, false, text);
	}
	if (folder)
		closedir(folder);
}

/* --- with patience ----------------------------------------------------------------------------------- */

/* False when the other end of the pipe is still open after that time. */
static bool has_ended(int fd)
{
	struct pollfd end = { .fd = fd };
	int n;

	do
		n = poll(&end, 1, DESCRIBE_MS);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

/*
 * In a process of its own, which may wait for ever: some file systems ask others about a file
 * whatever they are told.  It writes to @shared.  False when it has not come to its end.
 */
static bool describe_apart(const struct users_disk *disk, char *shared, size_t size)
{
	struct text text = { .at = shared, .size = size };
	pid_t own = getpid(), pid;
	bool ended;
	int fd[2];

	if (pipe2(fd, O_CLOEXEC))
		return false;
	pid = fork();
	if (pid == 0) {
		keep_only(fd[1]);
		describe_processes(disk, own, &text);
		_exit(0);
	}
	close(fd[1]);
	ended = pid > 0 && has_ended(fd[0]);
	close(fd[0]);
	if (pid > 0 && !ended)
		kill(pid, SIGKILL);
	if (pid > 0)
		waitpid(pid, NULL, ended ? 0 : WNOHANG);
	return ended;
}

static void describe_others(const struct users_disk *disk, struct text *text)
{
	/* Who has waited once would wait again, and another process with it. */
	static bool hangs;
	size_t room = text->size - text->used;
	char *shared = MAP_FAILED;

	if (room <= SEPARATOR_BYTES)
		return;
	room -= SEPARATOR_BYTES;
	if (!hangs)
		shared =
			mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	hangs = shared == MAP_FAILED || !describe_apart(disk, shared, room);
	if (shared != MAP_FAILED && shared[0])
		say(text, "%.*s", (int)room - 1, shared);
	if (shared != MAP_FAILED)
		munmap(shared, room);
	if (hangs)
		say(text, "perhaps opened by others, as not all processes can be looked at");
}

void users_describe(const struct users_disk *disk, char *out, size_t size)
{
	struct text text = { .at = out, .size = size };

	out[0] = '\0';
	describe_mount(disk, "self", true, &text);
	if (users_swap(disk))
		say(&text, "used as swap");
	describe_above(disk, &text);
	describe_others(disk, &text);
}
