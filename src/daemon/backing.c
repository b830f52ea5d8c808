/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which file is it that an image names as its backing or data file, and may it be opened?
 *
 * The name is what somebody has written into the image.  It is the name of a file here, relative
 * to the folder of the image that names it; whatever else QEMU could make of it is refused.  Where
 * the user has said which folders are allowed, what counts is where the file lies, not what it was
 * called on the way.  It is opened when all of that is known: a device could do something then.
 */
#include "backing.h"

#include "lock.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void backing_init(struct backing *backing, struct file *top, const struct allow_paths *allow,
		  bool lock, bool direct)
{
	memset(backing, 0, sizeof(*backing));
	backing->top = top;
	backing->allow = allow;
	backing->lock = lock;
	backing->direct = direct;
}

/* --- names --------------------------------------------------------------------------------------- */

/* QEMU's rule: a colon in front of the first slash ends the name of a protocol. */
static bool has_protocol(const char *name)
{
	size_t before = strcspn(name, ":/");

	return name[before] == ':';
}

/* Backing file or data file: what messages say. */
struct role {
	const char *name;
	const char *remedy; /* give it another one with ... */
};

static const struct role role_backing = { "backing file", "qemu-img rebase -u" };
static const struct role role_data = { "data file", "qemu-img amend -o data_file=NAME" };

/* The path of a file, as seen from here; NULL with *@err. */
static char *path_of(const char *above, const char *name, const struct role *role, int *err,
		     struct why *why)
{
	const char *slash = strrchr(above, '/');
	char *path;

	if (strncmp(name, "file:", 5) == 0)
		name += 5;
	else if (has_protocol(name)) {
		*err = why_set(why, -ENOTSUP,
			       "%s: its %s %s is not the name of a file, which is not "
			       "supported; copy it into a file and point the image to that with %s",
			       above, role->name, name, role->remedy);
		return NULL;
	}
	if (name[0] == '/' || !slash)
		path = strdup(name);
	else if (asprintf(&path, "%.*s%s", (int)(slash - above) + 1, above, name) < 0)
		path = NULL;
	if (!path)
		*err = why_set(why, -ENOMEM, "%s: out of memory", above);
	return path;
}

/* --- permission ---------------------------------------------------------------------------------- */

static bool lies_below(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	if (strcmp(folder, "/") == 0)
		return true;
	return strncmp(path, folder, len) == 0 && path[len] == '/';
}

static int check_allowed(const struct backing *backing, const struct file *file, struct why *why)
{
	char link[64], path[PATH_MAX], folder[PATH_MAX];
	ssize_t len;

	if (backing->allow->count == 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file->fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return why_set(why, -errno, "%s: cannot find out where it lies: %s: %m",
			       file->host.name, link);
	path[len] = '\0';
	for (unsigned i = 0; i < backing->allow->count; i++)
		if (realpath(backing->allow->path[i], folder) && lies_below(path, folder))
			return 0;
	return why_set(why, -EACCES,
		       "%s: is not below a folder that --allow-path names; add its folder if the "
		       "image may use it",
		       path);
}

static int same_file(const struct file *a, const struct file *b)
{
	struct stat one, other;

	if (fstat(a->fd, &one) || fstat(b->fd, &other))
		return -errno;
	if (S_ISBLK(one.st_mode) && S_ISBLK(other.st_mode))
		return one.st_rdev == other.st_rdev;
	return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* Is the file part of the chain already? */
static int check_new(const struct backing *backing, const struct file *file, const char *above,
		     const struct role *role, struct why *why)
{
	int same = same_file(file, backing->top);

	for (unsigned i = 0; same == 0 && i < backing->files; i++)
		same = same_file(file, &backing->file[i]);
	if (same < 0)
		return why_set(why, same, "%s: fstat: %s", file->host.name, strerror(-same));
	if (same)
		return why_set(why, -ELOOP,
			       "%s: its %s %s lies above it in the same chain; give it "
			       "another one with %s",
			       above, role->name, file->host.name, role->remedy);
	return 0;
}

/* --- opening ------------------------------------------------------------------------------------- */

/* A file that was found: may it be opened? */
static int admit(const struct backing *backing, const struct file *file, const char *above,
		 const struct role *role, struct why *why)
{
	int err = check_allowed(backing, file, why);

	return err ? err : check_new(backing, file, above, role, why);
}

static int refuse_open(const char *above, const struct role *role, int err, const struct why *cause,
		       struct why *why)
{
	return why_set(why, err, "%s: cannot open its %s: %.300s", above, role->name, cause->text);
}

/* What was acknowledged is a part of the file, for whoever reads it. */
static int refuse_incomplete(const struct file *file, struct why *why)
{
	return why_set(why, -EBUSY,
		       "%s: writes of a process that was killed are in memory and not in the image "
		       "yet; serve it once before what lies over it, or, if that is refused, lose "
		       "them: serve it with --read-only --abandon",
		       file->host.name);
}

/* One that is open: is it free, is all of it there, and how large is it? */
static int take(const struct backing *backing, struct file *file,
		const struct file_options *options, struct why *why)
{
	int err = backing->lock ? file_claim(file, LOCK_PATIENCE_MS, why) : 0;

	if (!err && backing->lock)
		err = lock_image(file->fd, file->host.name, options->read_only, LOCK_PATIENCE_MS,
				 why);
	/* Not sooner, when who is being killed may still have been there. */
	if (!err && backing->lacks_writes && backing->lacks_writes(file->fd, file->host.name))
		err = refuse_incomplete(file, why);
	return err ? err : file_measure(file, options, why);
}

static int open_role(struct backing *backing, const struct host_file *above, const char *name,
		     const struct role *role, struct file_options options, struct host_file **file,
		     struct why *why)
{
	struct file *fresh = &backing->file[backing->files];
	struct why cause;
	int err = 0;
	char *path;

	must(backing->files < CHAIN_FILES - 1);
	options.index = (uint16_t)(backing->files + 1);
	path = path_of(above->name, name, role, &err, why);
	if (!path)
		return err;
	err = file_find(fresh, path, &options, &cause);
	if (err) {
		refuse_open(above->name, role, err, &cause, why);
		free(path);
		return err;
	}
	err = admit(backing, fresh, above->name, role, why);
	if (!err && (err = file_open_found(fresh, &cause)))
		refuse_open(above->name, role, err, &cause, why);
	if (!err)
		err = take(backing, fresh, &options, why);
	if (err) {
		/* No ring has it, and so its locks go with it. */
		file_close(fresh);
		free(path);
		return err;
	}
	backing->name[backing->files++] = path;
	*file = &fresh->host;
	return 0;
}

int backing_open(void *arg, const struct host_file *above, const char *name,
		 struct host_file **file, struct why *why)
{
	struct file_options options = { .read_only = true };

	return open_role(arg, above, name, &role_backing, options, file, why);
}

int backing_open_data(void *arg, const struct host_file *image, const char *name,
		      struct host_file **file, struct why *why)
{
	struct backing *backing = arg;
	bool of_top = image == &backing->top->host;
	struct file_options options = {
		.read_only = !of_top || image->read_only,
		.direct = of_top && backing->direct,
	};

	return open_role(backing, image, name, &role_data, options, file, why);
}

const int *backing_fds(struct backing *backing, unsigned *files)
{
	backing->fd[0] = backing->top->fd;
	for (unsigned i = 0; i < backing->files; i++)
		backing->fd[i + 1] = backing->file[i].fd;
	*files = backing->files + 1;
	return backing->fd;
}

void backing_close(struct backing *backing)
{
	for (unsigned i = 0; i < backing->files; i++) {
		if (backing->lock)
			unlock_image(backing->file[i].fd);
		file_close(&backing->file[i]);
		free(backing->name[i]);
	}
	backing->files = 0;
}
