/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One question, one answer. */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* --- who ----------------------------------------------------------------------------------------- */

/* The entry of a device; a link to it, as in /dev/disk/by-id, will do. */
static int find_device(const char *path, struct registry_entry *found, struct why *why)
{
	char device[PATH_MAX];
	struct registry_entry *entries;
	size_t count;
	int err;

	if (!realpath(path, device))
		return why_set(why, -errno, "%s: %m", path);
	err = registry_list(&entries, &count, why);
	if (err)
		return err;
	err = -ENOENT;
	for (size_t i = 0; i < count; i++) {
		/* Of those that left it behind, who has it now. */
		if (strcmp(entries[i].device, device) == 0 && (err || entries[i].alive)) {
			*found = entries[i];
			err = 0;
		}
	}
	free(entries);
	return err ? why_set(why, err, "%s: not served by a qcow2-ublkd; see qcow2-ublkd list",
			     path) :
		     0;
}

int client_find(const char *which, struct registry_entry *entry, struct why *why)
{
	int err;

	if (strchr(which, '/'))
		return find_device(which, entry, why);
	err = name_valid(which) ? registry_look(which, entry) : -ENOENT;
	if (err == -ENOENT)
		return why_set(why, err, "%s: no device of that name; see qcow2-ublkd list", which);
	if (err)
		return why_set(why, err, "%s: %s", which, strerror(-err));
	return 0;
}

/* --- what ---------------------------------------------------------------------------------------- */

static int connect_to(const char *name, unsigned seconds)
{
	struct timeval patience = { .tv_sec = seconds };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char path[PATH_MAX];
	int fd, err;

	registry_socket(path, name);
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	err = connect(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : fd;
	if (err < 0)
		close(fd);
	return err == -EAGAIN ? -ETIME : err;
}

static int send_request(int fd, const char *request)
{
	char line[256];
	int len = snprintf(line, sizeof(line), "%s\n", request);
	ssize_t n = send(fd, line, (size_t)len, MSG_NOSIGNAL);

	if (n == len)
		return 0;
	return n < 0 && errno != EAGAIN ? -errno : -ETIME;
}

/* All until the end, with a NUL behind it; *@text is the caller's to free. */
static int receive_all(int fd, char **text)
{
	size_t size = 0, used = 0;

	*text = NULL;
	for (;;) {
		ssize_t n;

		if (used + 1 >= size) {
			char *more = size < CLIENT_ANSWER_MAX ? realloc(*text, size + 64 * KIB) :
								NULL;

			if (!more)
				return -ENOMEM;
			*text = more;
			size += 64 * KIB;
		}
		n = recv(fd, *text + used, size - used - 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIME : -errno;
		used += (size_t)n;
		(*text)[used] = '\0';
		if (n == 0)
			return 0;
	}
}

/* Take the last line off: 0 when it says ok. */
static int take_verdict(char *text, struct why *why)
{
	size_t len = strlen(text);
	char *last;

	if (len == 0 || text[len - 1] != '\n')
		return -EPIPE;
	text[len - 1] = '\0';
	last = strrchr(text, '\n');
	last = last ? last + 1 : text;
	if (strncmp(last, "error ", 6) == 0)
		return why_set(why, -EREMOTEIO, "%s", last + 6);
	if (strcmp(last, "ok") != 0)
		return -EPIPE;
	*last = '\0';
	return 0;
}

int client_receive(int fd, struct report *report, struct why *why)
{
	char *text = NULL;
	int err = receive_all(fd, &text);

	if (!err)
		err = take_verdict(text, why);
	if (err) {
		free(text);
		return err;
	}
	return report_parse(report, text);
}

/* It has no socket. */
static void tell_who_is_gone(const char *name, int err, struct why *why)
{
	struct registry_entry entry;

	if (registry_look(name, &entry) || !entry.alive)
		why_set(why, err, "%s: its daemon is gone; see qcow2-ublkd list", name);
	else
		why_set(why, err,
			"%s: its daemon, process %d, is starting, or just ending, and cannot be "
			"asked; ask again later, or send it SIGTERM if it is not to start",
			name, (int)entry.pid);
}

int client_ask(const char *name, const char *request, unsigned seconds, struct report *report,
	       struct why *why)
{
	int fd = connect_to(name, seconds);
	int err = fd < 0 ? fd : send_request(fd, request);

	if (!err)
		err = client_receive(fd, report, why);
	if (fd >= 0)
		close(fd);
	if (err == -ECONNREFUSED || err == -ENOENT)
		tell_who_is_gone(name, err, why);
	else if (err == -ETIME)
		why_set(why, err, "%s: its daemon does not answer within %u s", name, seconds);
	else if (err == -EPIPE || err == -ECONNRESET)
		why_set(why, err, "%s: its daemon ended before it had answered", name);
	else if (err == -EPROTO)
		why_set(why, err, "%s: its answer makes no sense", name);
	else if (err && err != -EREMOTEIO)
		why_set(why, err, "%s: %s", name, strerror(-err));
	return err;
}
