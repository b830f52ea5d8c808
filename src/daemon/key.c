/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The key of encrypted images, from a file or from the service manager. */
#include "key.h"
#include "format.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

/* One byte more than there may be, to see that there are too many. */
#define ROOM (LIMIT_KEY_FILE_BYTES + 1)

static int read_all(struct key *key, int fd, const char *name, struct why *why)
{
	while (key->len < ROOM) {
		ssize_t n = read(fd, (char *)key->bytes + key->len, ROOM - key->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return why_set(why, -errno, "%s: cannot read the key: %m", name);
		if (n == 0)
			break;
		key->len += (size_t)n;
	}
	if (key->len == ROOM)
		return why_set(why, -EFBIG, "%s: too long for a key: more than %llu bytes", name,
			       (unsigned long long)LIMIT_KEY_FILE_BYTES);
	if (key->len == 0)
		return why_set(why, -EINVAL, "%s: is empty, which is no key", name);
	return 0;
}

static int read_key(struct key *key, int fd, const char *name, struct why *why)
{
	int err;

	key->bytes = secret_alloc(ROOM);
	if (!key->bytes)
		return why_set(why, -ENOMEM, "%s: out of memory", name);
	/* The crypto library has its key schedules on the heap. */
	key->was_dumpable = prctl(PR_GET_DUMPABLE);
	prctl(PR_SET_DUMPABLE, 0);
	err = read_all(key, fd, name, why);
	if (err)
		key_forget(key, false);
	return err;
}

/* The path of the credential, or NULL. */
static const char *credential_path(char path[static PATH_MAX])
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	int len = folder ? snprintf(path, PATH_MAX, "%s/" KEY_CREDENTIAL, folder) : -1;

	return len > 0 && len < PATH_MAX && access(path, F_OK) == 0 ? path : NULL;
}

int key_read(struct key *key, const char *file, struct why *why)
{
	char path[PATH_MAX];
	int fd, err;

	*key = (struct key){ 0 };
	if (file && strcmp(file, "-") == 0)
		return read_key(key, STDIN_FILENO, "standard input", why);
	if (!file)
		file = credential_path(path);
	if (!file)
		return 0;
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return why_set(why, -errno, "%s: cannot read the key: %m", file);
	err = read_key(key, fd, file, why);
	close(fd);
	return err;
}

void key_forget(struct key *key, bool used)
{
	if (!key->bytes)
		return;
	secret_free(key->bytes, ROOM);
	key->bytes = NULL;
	if (!used && key->was_dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
}
