/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Claims: locked files ublkbN.owner, which are reports (see report.h). */
#include "ownership.h"
#include "janitor.h"
#include "lockfile.h"
#include "registry.h"
#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OWNER_BYTES 4096
#define MAKE_MS 5000u

/* --- what is written ------------------------------------------------------------------------------- */

struct content {
	pid_t pid; /* 0: not written down */
	uint64_t started; /* in ticks of the clock since boot */
	char identity[IDENTITY_TEXT];
	char view[256];
	uint64_t below;
	bool fresh;
};

/*
 * When process @pid was started, or 0 when there is none any more.  @ending: it has been killed and
 * its threads are on their way out.
 */
static uint64_t start_of(pid_t pid, bool *ending)
{
	char path[64], line[1024], *at;
	unsigned long long started;
	char state;
	FILE *in;

	*ending = false;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	in = fopen(path, "re");
	if (!in)
		return 0;
	at = fgets(line, sizeof(line), in) ? strrchr(line, ')') : NULL;
	fclose(in);
	/* state, then 18 numbers, then the 22nd field of the line */
	if (!at || sscanf(at,
			  ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
			  "%*d %*d %*d %llu",
			  &state, &started) != 2)
		return 0;
	*ending = state == 'Z' || state == 'X';
	return started;
}

static int write_content(const struct ownership *owner, const char *digits, const char *view)
{
	char *text = NULL;
	FILE *out;
	size_t len = 0;
	bool ending;
	int err = 0;

	out = open_memstream(&text, &len);
	if (!out)
		return -errno;
	report_number(out, "pid", (uint64_t)getpid());
	report_number(out, "started", start_of(getpid(), &ending));
	report_text(out, "identity", digits);
	report_text(out, "view", view);
	if (owner->below)
		report_number(out, "below", owner->below);
	report_flag(out, "fresh", owner->fresh);
	if (fclose(out))
		err = -errno;
	if (!err)
		err = lockfile_write(owner->fd, text);
	free(text);
	return err;
}

/* What is empty, or only half written, says nothing. */
static void read_content(int fd, struct content *content)
{
	char *text = malloc(OWNER_BYTES + 1);
	struct report report;
	ssize_t n;

	memset(content, 0, sizeof(*content));
	if (!text)
		return;
	n = pread(fd, text, OWNER_BYTES, 0);
	text[n > 0 ? n : 0] = '\0';
	if (report_parse(&report, text))
		return;
	content->pid = (pid_t)report_get(&report, "pid");
	content->started = report_get(&report, "started");
	report_get_text(&report, "identity", content->identity, sizeof(content->identity));
	report_get_text(&report, "view", content->view, sizeof(content->view));
	content->below = report_get(&report, "below");
	content->fresh = report_is(&report, "fresh");
	report_free(&report);
}

static bool look(const char *path, struct content *content)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return false;
	read_content(fd, content);
	close(fd);
	return true;
}

static bool is_same(const struct content *content, const struct identity *identity,
		    const char *view)
{
	char digits[IDENTITY_TEXT];

	identity_text(identity, digits);
	return strcmp(content->identity, digits) == 0 && strcmp(content->view, view) == 0;
}

/* --- claims ------------------------------------------------------------------------------------------ */

static bool is_ending(const struct content *content)
{
	bool ending;

	return content->pid && (start_of(content->pid, &ending) != content->started || ending);
}

static int claim(const struct ownership *owner, const struct identity *identity, const char *view)
{
	char digits[IDENTITY_TEXT];

	identity_text(identity, digits);
	return write_content(owner, digits, view);
}

int ownership_take(struct ownership *owner, int32_t id, const struct identity *identity,
		   const char *view, pid_t *pid)
{
	struct content content;
	int err;

	owner->id = id;
	registry_device_file(owner->path, id, DEVICE_OWNER);
	if (!look(owner->path, &content))
		return -ENOENT;
	if (!is_same(&content, identity, view))
		return -ENOENT;
	owner->fd = lockfile_open(owner->path, 0);
	if (owner->fd == -EAGAIN) {
		*pid = content.pid;
		return is_ending(&content) ? -EINPROGRESS : -EBUSY;
	}
	if (owner->fd < 0)
		return owner->fd;
	/* Somebody may have been here between the two. */
	read_content(owner->fd, &content);
	owner->below = content.below;
	owner->fresh = content.fresh;
	err = is_same(&content, identity, view) ? claim(owner, identity, view) : -ENOENT;
	if (!err)
		return 0;
	close(owner->fd);
	owner->fd = -1;
	return err;
}

int ownership_make(struct ownership *owner, int32_t id, const struct identity *identity,
		   const char *view, uint64_t below)
{
	owner->id = id;
	owner->below = below;
	owner->fresh = true;
	registry_device_file(owner->path, id, DEVICE_OWNER);
	owner->fd = lockfile_open(owner->path, O_CREAT);
	/* Somebody is clearing it away, or has not noticed yet that his device is gone. */
	for (unsigned ms = 0; owner->fd == -EAGAIN && ms < MAKE_MS; ms += 10) {
		sleep_ms(10);
		owner->fd = lockfile_open(owner->path, O_CREAT);
	}
	return owner->fd < 0 ? owner->fd : claim(owner, identity, view);
}

static int write_again(const struct ownership *owner)
{
	struct content content;

	read_content(owner->fd, &content);
	return write_content(owner, content.identity, content.view);
}

int ownership_match_below(struct ownership *owner, uint64_t below)
{
	if (owner->fd < 0 || owner->below == below)
		return 0;
	if (owner->below)
		return -ESTALE;
	owner->below = below;
	return write_again(owner);
}

int ownership_served(struct ownership *owner)
{
	if (owner->fd < 0 || !owner->fresh)
		return 0;
	owner->fresh = false;
	return write_again(owner);
}

static void drop_name(const struct ownership *owner)
{
	char path[PATH_MAX];

	registry_device_file(path, owner->id, DEVICE_UDEV);
	janitor_unlink(path);
}

int ownership_entrust(const struct ownership *owner)
{
	char path[PATH_MAX];
	int err;

	if (owner->fd < 0)
		return 0;
	registry_device_file(path, owner->id, DEVICE_UDEV);
	err = janitor_entrust(path);
	return err ? err : janitor_entrust(owner->path);
}

void ownership_drop(struct ownership *owner)
{
	if (owner->fd < 0)
		return;
	/* Who has served it has left the mounts, and comes here when it has deleted it. */
	if (!registry_device_exists(owner->id)) {
		drop_name(owner);
		janitor_unlink(owner->path);
	}
	close(owner->fd);
	owner->fd = -1;
}

/* What the process that has device @id has written down; false when there is no such process. */
static bool look_at_holder(int32_t id, struct content *content)
{
	char path[PATH_MAX];
	bool locked;
	int fd;

	registry_device_file(path, id, DEVICE_OWNER);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	locked = lockfile_is_locked(fd);
	read_content(fd, content);
	close(fd);
	return locked;
}

pid_t ownership_holder(int32_t id)
{
	struct content content;

	if (!look_at_holder(id, &content))
		return 0;
	return content.pid ? content.pid : -1;
}

static bool is_shown(int32_t id, const struct identity *identity, const char *view)
{
	struct content content;

	return look_at_holder(id, &content) && is_same(&content, identity, view) &&
	       !is_ending(&content);
}

/* --- all of them ------------------------------------------------------------------------------------- */

/* The number of the next device that something is known of, or -1. */
static int32_t next_id(DIR *folder)
{
	struct dirent *file;
	int32_t id;
	int end;

	while (folder && (file = readdir(folder))) {
		end = 0;
		if (sscanf(file->d_name, "ublkb%" SCNd32 DEVICE_OWNER "%n", &id, &end) == 1 &&
		    end && file->d_name[end] == '\0')
			return id;
	}
	return -1;
}

static void clear_away(int32_t id)
{
	struct ownership owner = { .id = id };

	registry_device_file(owner.path, id, DEVICE_OWNER);
	owner.fd = lockfile_open(owner.path, 0);
	ownership_drop(&owner);
}

void ownership_clear_away(void)
{
	DIR *folder = registry_sees_devices() ? opendir(registry_folder) : NULL;
	int32_t id;

	while ((id = next_id(folder)) >= 0)
		clear_away(id);
	if (folder)
		closedir(folder);
}

static bool is_left(int32_t id, const char *digits)
{
	struct content content;
	char path[PATH_MAX];

	registry_device_file(path, id, DEVICE_OWNER);
	return registry_device_exists(id) &&
	       (!look(path, &content) || strcmp(content.identity, digits) == 0);
}

bool ownership_is_left(const struct identity *identity)
{
	DIR *folder = registry_sees_devices() ? opendir(registry_folder) : NULL;
	char digits[IDENTITY_TEXT];
	bool left = !folder;
	int32_t id;

	identity_text(identity, digits);
	while (!left && (id = next_id(folder)) >= 0)
		left = is_left(id, digits);
	if (folder)
		closedir(folder);
	return left;
}

bool ownership_is_shown(const struct identity *identity, const char *view)
{
	DIR *folder = opendir(registry_folder);
	bool shown = false;
	int32_t id;

	while (!shown && (id = next_id(folder)) >= 0)
		shown = is_shown(id, identity, view);
	if (folder)
		closedir(folder);
	return shown;
}
