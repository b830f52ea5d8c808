/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The register of the daemons of this machine: a folder where each has a file NAME.lock, which it
 * keeps locked as long as it lives and which says what it serves, and its control socket.
 *
 * A file that is not locked is what a daemon that was killed has left behind.
 */
#ifndef REGISTRY_H
#define REGISTRY_H

#include "base.h"
#include "name.h"

#include <limits.h>
#include <sys/types.h>

#define REGISTRY_FOLDER "/run/qcow2-ublkd"

/* REGISTRY_FOLDER, but for tests. */
extern const char *registry_folder;

/* Where the kernel lists devices; "/sys/class/ublk-char", but for tests. */
extern const char *registry_devices;

/*
 * Make the folder if need be.  -errno with the sentence in @why when there can be none, or when somebody
 * else could have put there what it holds.
 */
int registry_folder_make(struct why *why);

/* The folder of a process that may be another user by and by, and does not see it by its path. */
struct registry_folder {
	int fd; /* or -1 */
	uid_t owner;
};

void registry_folder_open(struct registry_folder *folder);

/* Would registry_folder_make() be content with it now?  True also if that cannot be told. */
bool registry_folder_is_safe(const struct registry_folder *folder);

/* Which file an image is; number 0: not known. */
struct registry_image {
	uint64_t device;
	uint64_t number;
	bool unsteady; /* looked up anew, it may have another number; not written down */
};

/* Which file @path leads to. */
struct registry_image registry_image_at(const char *path);

/* False also when one of them is not known. */
bool registry_image_same(struct registry_image a, struct registry_image b);

/* One's own place in the register. */
struct registration {
	char name[NAME_LENGTH + 1]; /* "": not registered */
	int fd; /* of NAME.lock */
	struct registry_image file; /* as who serves cannot see it by its path any more */
	bool recorded; /* what is written down is ours, not a killed process's */
};

/*
 * Make the folder if need be, and take @name for the image at the path @image, which is resolved.
 * If another daemon has it, or had it and its device waits for a successor that serves another image
 * than @image, -EBUSY with the sentence in @why, or, @alternatives, take NAME-2 or the like instead;
 * then a device of @image that waits keeps its name, so that nobody finds another disk by it.
 * -EBUSY, too, when a device waits for who serves the file that @image names, on a file system that
 * has been mounted anew since, or has given it another number; and for a new device of a name that
 * is a partition's (name.h).  Who served @image by that name and whose device is gone is waited for.
 * Places of daemons that were killed and whose device is gone are cleared away.
 * -errno with the sentence in @why.  After the last fork: the lock belongs to everybody who has the file.
 */
int registry_enter(struct registration *own, const char *name, const char *image, bool alternatives,
		   struct why *why);

/* Write down what is served: @device (/dev/ublkbN) and the image's path. */
int registry_record(struct registration *own, const char *device, const char *image);

/*
 * @device is served: clear away the places of daemons that were killed and had it by another name, which no
 * device has any more.  Waits for nobody: should somebody enter just now, they stay.
 */
void registry_forget_names(const struct registration *own, const char *device);

/* Clear away the places of daemons that were killed and whose device is gone. */
void registry_clear_away(void);

/* Tell the janitor, if there is one, of the files that are removed with it.  0 or -errno. */
int registry_entrust(const struct registration *own);

/*
 * Give the name back; a no-op when not registered.  What is written down of a device that waits stays, unless we
 * have served it.
 */
void registry_leave(struct registration *own);

/* The path of the control socket of @name; room for PATH_MAX bytes. */
void registry_socket(char *path, const char *name);

/* The path of a file about device @id, by its ending; room for PATH_MAX bytes. */
#define DEVICE_OWNER ".owner" /* whose it is: see ownership.h */
#define DEVICE_UDEV ".udev" /* what udev is told of it: see udev.h */
void registry_device_file(char *path, int32_t id, const char *ending);

/* Has the kernel a device @id?  Who has left all mounts sees none. */
bool registry_device_exists(int32_t id);

/* Without sysfs all of them look gone. */
bool registry_sees_devices(void);

struct registry_entry {
	char name[NAME_LENGTH + 1];
	bool alive; /* the daemon has it locked */
	pid_t pid; /* 0: not written down */
	char device[32]; /* /dev/ublkbN, "": not written down */
	char image[PATH_MAX];
	struct registry_image file;
};

/* What is written down under @name.  -ENOENT, -errno. */
int registry_look(const char *name, struct registry_entry *entry);

/*
 * All entries, ordered by name, from malloc(3).  No folder is no entries.  -errno with the
 * sentence in @why.
 */
int registry_list(struct registry_entry **entries, size_t *count, struct why *why);

#endif
