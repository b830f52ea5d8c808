/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The register: lock files in a folder. */
#include "registry.h"
#include "janitor.h"
#include "lockfile.h"
#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define LOCK_ENDING ".lock"
#define SOCKET_ENDING ".socket"
#define RECORD_BYTES (6 * PATH_MAX + 256) /* a byte of a path becomes six at most */
#define ALTERNATIVES_MAX 10000u

/* How long a process takes at most to end when its device is gone. */
#define LEAVE_MS 5000u

const char *registry_folder = REGISTRY_FOLDER;
const char *registry_devices = "/sys/class/ublk-char";

static void path_of(char *path, const char *name, const char *ending)
{
	snprintf(path, PATH_MAX, "%s/%s%s", registry_folder, name, ending);
}

void registry_socket(char *path, const char *name)
{
	path_of(path, name, SOCKET_ENDING);
}

void registry_device_file(char *path, int32_t id, const char *ending)
{
	snprintf(path, PATH_MAX, "%s/ublkb%" PRId32 "%s", registry_folder, id, ending);
}

/* --- records ------------------------------------------------------------------------------------- */

static int read_record(int fd, struct registry_entry *entry)
{
	struct report report;
	char *text = malloc(RECORD_BYTES + 1);
	ssize_t n;
	int err;

	if (!text)
		return -ENOMEM;
	n = pread(fd, text, RECORD_BYTES, 0);
	text[n > 0 ? n : 0] = '\0';
	err = report_parse(&report, text);
	if (err)
		return err;
	entry->pid = (pid_t)report_get(&report, "pid");
	report_get_text(&report, "device", entry->device, sizeof(entry->device));
	report_get_text(&report, "image", entry->image, sizeof(entry->image));
	entry->file.device = report_get(&report, "file.device");
	entry->file.number = report_get(&report, "file.number");
	report_free(&report);
	return 0;
}

static int write_record(int fd, const struct registry_entry *entry)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int err = 0;

	if (!out)
		return -errno;
	report_number(out, "pid", (uint64_t)getpid());
	if (entry->device[0])
		report_text(out, "device", entry->device);
	if (entry->image[0])
		report_text(out, "image", entry->image);
	report_number(out, "file.device", entry->file.device);
	report_number(out, "file.number", entry->file.number);
	if (fclose(out))
		err = -errno;
	if (!err)
		err = lockfile_write(fd, text);
	free(text);
	return err;
}

static void look_at(int fd, const char *name, struct registry_entry *entry)
{
	*entry = (struct registry_entry){ .alive = lockfile_is_locked(fd) };
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	/* What is empty or half written says nothing yet. */
	read_record(fd, entry);
}

int registry_look(const char *name, struct registry_entry *entry)
{
	char path[PATH_MAX];
	int fd;

	path_of(path, name, LOCK_ENDING);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	look_at(fd, name, entry);
	close(fd);
	return 0;
}

/* --- the folder ---------------------------------------------------------------------------------- */

/* The length of the name in NAME.lock, or 0. */
static size_t name_in(const char *file, char name[NAME_LENGTH + 1])
{
	size_t len = strlen(file), ending = strlen(LOCK_ENDING);

	if (len <= ending || len - ending > NAME_LENGTH ||
	    strcmp(file + len - ending, LOCK_ENDING) != 0)
		return 0;
	snprintf(name, NAME_LENGTH + 1, "%.*s", (int)(len - ending), file);
	return name_valid(name) ? len - ending : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct registry_entry *)a)->name,
		      ((const struct registry_entry *)b)->name);
}

int registry_list(struct registry_entry **entries, size_t *count, struct why *why)
{
	struct dirent **file;
	int files = scandir(registry_folder, &file, NULL, NULL);

	*entries = NULL;
	*count = 0;
	if (files < 0)
		return errno == ENOENT ? 0 : why_set(why, -errno, "%s: %m", registry_folder);
	*entries = calloc((size_t)files + 1, sizeof(**entries));
	for (int i = 0; i < files; i++) {
		char name[NAME_LENGTH + 1];

		if (*entries && name_in(file[i]->d_name, name) &&
		    registry_look(name, &(*entries)[*count]) == 0)
			++*count;
		free(file[i]);
	}
	free(file);
	if (*entries)
		qsort(*entries, *count, sizeof(**entries), by_name);
	return *entries ? 0 : why_set(why, -ENOMEM, "%s: out of memory", registry_folder);
}

bool registry_device_exists(int32_t id)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/ublkc%" PRId32, registry_devices, id);
	return access(path, F_OK) == 0;
}

bool registry_sees_devices(void)
{
	int len = (int)(strrchr(registry_devices, '/') - registry_devices);
	char path[PATH_MAX];

	/* Without the driver there is no folder of its class, but that of all classes. */
	snprintf(path, sizeof(path), "%.*s", len, registry_devices);
	return access(path, F_OK) == 0;
}

static bool device_exists(const char *device)
{
	int32_t id;

	return sscanf(device, "/dev/ublkb%" SCNd32, &id) == 1 && registry_device_exists(id);
}

static void remove_files(const char *name)
{
	char path[PATH_MAX];

	registry_socket(path, name);
	janitor_unlink(path);
	path_of(path, name, LOCK_ENDING);
	janitor_unlink(path);
}

/*
 * A device that is still there may be waiting for a new server: what is known of it stays.  With the
 * folder locked: who begins must find no file locked by us.
 */
static void clear_away(const struct registry_entry *entry)
{
	struct registry_entry left = { 0 };
	char path[PATH_MAX];
	int fd;

	if (entry->alive || device_exists(entry->device))
		return;
	path_of(path, entry->name, LOCK_ENDING);
	fd = lockfile_open(path, 0);
	if (fd < 0)
		return;
	/* Somebody may have been here and been killed since. */
	if (read_record(fd, &left) || !device_exists(left.device))
		remove_files(entry->name);
	close(fd);
}

/* Others may look into it: what lies there has a mode of its own. */
static bool is_safe(const struct stat *st, uid_t owner)
{
	return S_ISDIR(st->st_mode) && st->st_uid == owner && !(st->st_mode & 022);
}

int registry_folder_make(struct why *why)
{
	struct stat st;

	if (mkdir(registry_folder, 0700) && errno != EEXIST)
		return why_set(why, -errno, "%s: %m", registry_folder);
	if (lstat(registry_folder, &st))
		return why_set(why, -errno, "%s: %m", registry_folder);
	if (!is_safe(&st, geteuid()))
		return why_set(
			why, -EPERM,
			"%s: others can write to it, or it is not a folder of user %u, and so "
			"what it holds could be anybody's; give it to that user, with mode 0700",
			registry_folder, (unsigned)geteuid());
	return 0;
}

void registry_folder_open(struct registry_folder *folder)
{
	folder->owner = geteuid();
	folder->fd = open(registry_folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool registry_folder_is_safe(const struct registry_folder *folder)
{
	struct stat st;

	return fstat(folder->fd, &st) || (st.st_nlink > 0 && is_safe(&st, folder->owner));
}

/* Returns a file that is locked as long as it is open: one enters at a time. */
static int lock_folder(struct why *why)
{
	char path[PATH_MAX];
	int fd, err = registry_folder_make(why);

	if (err)
		return err;
	path_of(path, "", LOCK_ENDING);
	fd = lockfile_wait(path);
	return fd < 0 ? why_set(why, fd, "%s: %s", path, strerror(-fd)) : fd;
}

void registry_clear_away(void)
{
	struct registry_entry *entries = NULL;
	struct why ignored;
	int folder = registry_sees_devices() ? lock_folder(&ignored) : -1;
	size_t count;

	if (folder < 0)
		return;
	if (registry_list(&entries, &count, &ignored) == 0)
		for (size_t i = 0; i < count; i++)
			clear_away(&entries[i]);
	free(entries);
	close(folder);
}

/* Of whom @device was; with the folder locked. */
static void forget_name(const char *name, const char *device)
{
	struct registry_entry left = { 0 };
	char path[PATH_MAX];
	int fd;

	path_of(path, name, LOCK_ENDING);
	fd = lockfile_open(path, 0);
	if (fd < 0)
		return;
	/* Somebody may have been here and been killed since. */
	if (read_record(fd, &left) == 0 && strcmp(left.device, device) == 0)
		remove_files(name);
	close(fd);
}

void registry_forget_names(const struct registration *own, const char *device)
{
	struct registry_entry *entries = NULL;
	char path[PATH_MAX];
	struct why ignored;
	size_t count;
	int folder;

	path_of(path, "", LOCK_ENDING);
	folder = lockfile_open(path, O_CREAT);
	if (folder < 0)
		return;
	if (registry_list(&entries, &count, &ignored) == 0)
		for (size_t i = 0; i < count; i++)
			if (!entries[i].alive && strcmp(entries[i].device, device) == 0 &&
			    strcmp(entries[i].name, own->name) != 0)
				forget_name(entries[i].name, device);
	free(entries);
	close(folder);
}

/* --- one's own place ----------------------------------------------------------------------------- */

static int refuse(const char *name, struct why *why)
{
	struct registry_entry entry;
	int err = registry_look(name, &entry);

	if (err == -ENOENT && name_is_partitions(name))
		return why_set(why, -EBUSY,
			       "the name %s is what a partition of another disk may be called in "
			       "/dev/disk/by-id, so no new device gets it; choose another --name",
			       name);
	if (err || !entry.pid)
		return why_set(why, -EBUSY, "the name %s is in use; choose another --name", name);
	if (!entry.alive)
		return why_set(why, -EBUSY,
			       "the name %s is that of %s, which waits for a process that serves "
			       "%s; choose another --name",
			       name, entry.device, entry.image);
	return why_set(why, -EBUSY,
		       "the name %s is in use by process %d%s%s; choose another --name", name,
		       (int)entry.pid, entry.image[0] ? ", which serves " : "", entry.image);
}

/* A file of theirs has the number that was free when it was looked up, or what a server makes of that. */
static bool is_unsteady(const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs))
		return true;
	switch ((uint32_t)fs.f_type) {
	case MSDOS_SUPER_MAGIC:
	case EXFAT_SUPER_MAGIC:
	case FUSE_SUPER_MAGIC:
	case CIFS_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
		return true;
	default:
		return false;
	}
}

/*
 * Asked for before the folder is locked, and written down: the storage of another daemon's image may
 * not answer.
 */
struct registry_image registry_image_at(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return (struct registry_image){ 0 };
	/* Containers have nodes of their own. */
	if (S_ISBLK(st.st_mode))
		return (struct registry_image){ .device = st.st_rdev, .number = UINT64_MAX };
	return (struct registry_image){
		.device = st.st_dev,
		.number = st.st_ino,
		.unsteady = is_unsteady(path),
	};
}

bool registry_image_same(struct registry_image a, struct registry_image b)
{
	return a.number && a.device == b.device && a.number == b.number;
}

/*
 * Locked, it is ours, unless a device of that name waits for who serves another image.  A partition's name is
 * only for a device that waits and has it.
 */
static int take(const struct registration *own, struct registry_image image)
{
	bool partitions = name_is_partitions(own->name);
	struct registry_entry left = { 0 };
	char path[PATH_MAX];
	int fd;

	path_of(path, own->name, LOCK_ENDING);
	fd = lockfile_open(path, partitions ? 0 : O_CREAT);
	if (fd == -ENOENT && partitions)
		return -EAGAIN;
	/* Earlier versions have not written down which file it is. */
	if (fd < 0 || read_record(fd, &left) || !device_exists(left.device) || !left.file.number ||
	    registry_image_same(left.file, image))
		return fd;
	close(fd);
	return -EAGAIN;
}

/*
 * Clear away what nobody needs.  True when a device waits for a process that serves @image, whose
 * name is in own->name then.
 */
static bool look_around(struct registration *own, const struct registry_entry *entries,
			size_t count, struct registry_image image)
{
	bool found = false;

	for (size_t i = 0; i < count; i++) {
		clear_away(&entries[i]);
		if (found || entries[i].alive || !device_exists(entries[i].device) ||
		    !registry_image_same(entries[i].file, image))
			continue;
		found = true;
		snprintf(own->name, sizeof(own->name), "%s", entries[i].name);
	}
	return found;
}

/* A record cannot hold what is not UTF-8: each byte of that is read back as a question mark. */
static bool is_recorded_as(const char *path, const char *recorded)
{
	while (*path &&
	       (*path == *recorded || (*recorded == '?' && (unsigned char)*path >= 0x80))) {
		path++;
		recorded++;
	}
	return *path == *recorded;
}

/* Can it be the same, although its numbers say something else? */
static bool is_doubtful(struct registry_image left, struct registry_image image)
{
	if (!left.number || !image.number || registry_image_same(left, image))
		return false;
	return image.unsteady || left.number == image.number;
}

/*
 * Does a device wait for who serves the file at @path, and was that file system mounted anew since, or has it
 * looked the file up anew?  Then nobody can tell that it is the same file, and what was acknowledged and is in
 * memory would not be found.
 */
static int check_doubtful(const struct registry_entry *entries, size_t count, const char *path,
			  struct registry_image image, struct why *why)
{
	for (size_t i = 0; i < count; i++) {
		const struct registry_entry *left = &entries[i];

		if (left->alive || !is_doubtful(left->file, image) ||
		    !is_recorded_as(path, left->image) || !device_exists(left->device))
			continue;
		if (left->file.number != image.number)
			return why_set(
				why, -EBUSY,
				"%s: %s waits for a process that serves it, but its file system has "
				"given it another number since, so that nobody can tell that it is "
				"the same file; give up the device, and what is not in the image, "
				"with qcow2-ublkd stop %s",
				path, left->device, left->device);
		return why_set(why, -EBUSY,
			       "%s: %s waits for a process that serves it, but its file system has "
			       "been mounted anew since, under another device number; mount it as "
			       "it was, or give up the device, and what is not in the image, with "
			       "qcow2-ublkd stop %s",
			       path, left->device, left->device);
	}
	return 0;
}

/* The locked file of @name or of an alternative to it, whose name is in own->name. */
static int take_name(struct registration *own, const char *name, struct registry_image image,
		     bool alternatives, bool waits)
{
	int fd = waits && alternatives ? take(own, image) : -EAGAIN;

	for (unsigned nth = 1; fd == -EAGAIN && nth < ALTERNATIVES_MAX; nth++) {
		if (nth == 1)
			snprintf(own->name, sizeof(own->name), "%s", name);
		else
			name_alternative(own->name, name, nth);
		fd = take(own, image);
		if (!alternatives)
			break;
	}
	return fd;
}

/* What is known of a device that waits stays, until there is something new. */
static int begin_record(int fd)
{
	static const struct registry_entry nothing;
	struct registry_entry left = { 0 };

	if (read_record(fd, &left) == 0 && device_exists(left.device))
		return write_record(fd, &left);
	return write_record(fd, &nothing);
}

/* Has a process the name that showed the same image and whose device is gone? */
static bool is_just_leaving(const char *name, struct registry_image image)
{
	struct registry_entry entry;

	return registry_look(name, &entry) == 0 && entry.alive && entry.device[0] &&
	       !device_exists(entry.device) && registry_image_same(entry.file, image);
}

/* As lock_folder(), when a process that is just leaving, if there is one, has given @name back. */
static int lock_folder_when_free(const char *name, struct registry_image image, struct why *why)
{
	int folder = lock_folder(why);

	for (unsigned ms = 0; folder >= 0 && ms < LEAVE_MS && is_just_leaving(name, image);
	     ms += 10) {
		close(folder);
		sleep_ms(10);
		folder = lock_folder(why);
	}
	return folder;
}

int registry_enter(struct registration *own, const char *name, const char *image, bool alternatives,
		   struct why *why)
{
	struct registry_image file = registry_image_at(image);
	struct registry_entry *entries = NULL;
	int folder = lock_folder_when_free(name, file, why), err;
	size_t count;
	bool waits;

	*own = (struct registration){ .fd = -1, .file = file };
	if (folder < 0)
		return folder;
	/* Who cannot look must not go on without a name. */
	err = registry_list(&entries, &count, why) ? -EBUSY : 0;
	if (!err)
		err = check_doubtful(entries, count, image, file, why);
	waits = !err && look_around(own, entries, count, file);
	free(entries);
	if (err) {
		close(folder);
		return err;
	}
	own->fd = take_name(own, name, file, alternatives, waits);
	if (own->fd < 0)
		err = own->fd;
	else
		err = begin_record(own->fd);
	close(folder);
	if (!err)
		return 0;
	if (own->fd >= 0)
		close(own->fd);
	own->name[0] = '\0';
	return err == -EAGAIN ? refuse(name, why) :
				why_set(why, err, "%s: %s", registry_folder, strerror(-err));
}

int registry_record(struct registration *own, const char *device, const char *image)
{
	struct registry_entry entry = { .file = own->file };

	snprintf(entry.device, sizeof(entry.device), "%s", device);
	snprintf(entry.image, sizeof(entry.image), "%s", image);
	own->recorded = true;
	return write_record(own->fd, &entry);
}

int registry_entrust(const struct registration *own)
{
	char path[PATH_MAX];
	int err;

	if (!own->name[0])
		return 0;
	registry_socket(path, own->name);
	err = janitor_entrust(path);
	path_of(path, own->name, LOCK_ENDING);
	return err ? err : janitor_entrust(path);
}

/* Who fails before it has taken a device over leaves it to the next one, and by its name to its users. */
static bool is_still_anothers(const struct registration *own)
{
	struct registry_entry left = { 0 };

	return !own->recorded && read_record(own->fd, &left) == 0 && device_exists(left.device);
}

void registry_leave(struct registration *own)
{
	if (!own->name[0])
		return;
	if (!is_still_anothers(own))
		remove_files(own->name);
	close(own->fd);
	own->name[0] = '\0';
}
