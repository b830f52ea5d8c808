/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One datagram per change of state. */
#include "notify.h"
#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int manager = -1;

/* A leading @ stands for the null byte of an abstract name, which has no null byte at its end. */
static socklen_t fill_address(struct sockaddr_un *address, const char *path)
{
	size_t len = strlen(path);

	if (len < 2 || len >= sizeof(address->sun_path) || (path[0] != '/' && path[0] != '@'))
		return 0;
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, len);
	if (path[0] == '@')
		address->sun_path[0] = '\0';
	else
		len++;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address;
	socklen_t len = fill_address(&address, path);
	int fd, err;

	if (len == 0)
		return -EINVAL;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, len) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

void notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	manager = path ? connect_to(path) : -1;
	if (path && manager < 0)
		log_warn("%s: cannot tell the service manager: %s", path, strerror(-manager));
}

void notify(const char *state)
{
	ssize_t n;

	if (manager < 0)
		return;
	do
		n = send(manager, state, strlen(state), MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		log_warn("cannot tell the service manager: %m");
}
