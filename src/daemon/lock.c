/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's image locks: shared locks on single bytes.  Byte 100 + p says "I use permission p", byte
 * 200 + p "I do not tolerate that others use it".  Set first, test afterwards: two that open at
 * the same time can both fail, but not both succeed.
 */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

enum permission { CONSISTENT_READ, WRITE, WRITE_UNCHANGED, RESIZE, PERMISSIONS };

#define BIT(permission) (1u << (permission))

#define USED_AT 100
#define UNSHARED_AT 200

static const char *const permission_name[PERMISSIONS] = {
	[CONSISTENT_READ] = "consistent read",
	[WRITE] = "write",
	[WRITE_UNCHANGED] = "write unchanged",
	[RESIZE] = "resize",
};

/* Random waits between tries: nobody keeps in step with us. */
#define WAIT_LEAST_MS 5
#define WAIT_MOST_MS 25

static int lock_byte(int fd, short type, off_t byte)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}

/* -EAGAIN when somebody else holds the byte. */
static int test_byte(int fd, off_t byte)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	if (fcntl(fd, F_OFD_GETLK, &lock))
		return -errno;
	return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

static int set_all(int fd, unsigned used, unsigned unshared)
{
	int err = 0;

	for (int p = 0; p < PERMISSIONS && !err; p++) {
		if (used & BIT(p))
			err = lock_byte(fd, F_RDLCK, USED_AT + p);
		if (!err && unshared & BIT(p))
			err = lock_byte(fd, F_RDLCK, UNSHARED_AT + p);
	}
	return err == -EACCES ? -EAGAIN : err;
}

void unlock_image(int fd)
{
	for (int p = 0; p < PERMISSIONS; p++) {
		lock_byte(fd, F_UNLCK, USED_AT + p);
		lock_byte(fd, F_UNLCK, UNSHARED_AT + p);
	}
}

/* Does anybody use what we do not tolerate, or not tolerate what we use? */
static int test_all(int fd, const char *name, unsigned used, unsigned unshared, struct why *why)
{
	int err = 0;

	for (int p = 0; p < PERMISSIONS && !err; p++)
		if (unshared & BIT(p) && (err = test_byte(fd, USED_AT + p)))
			why_set(why, err, "%s: locked by another process (%s); is QEMU using it?",
				name, permission_name[p]);
	for (int p = 0; p < PERMISSIONS && !err; p++)
		if (used & BIT(p) && (err = test_byte(fd, UNSHARED_AT + p)))
			why_set(why, err,
				"%s: locked by another process (allows no %s); is QEMU using it?",
				name, permission_name[p]);
	return err;
}

/* The milliseconds that it took. */
static long wait_a_little(void)
{
	unsigned char random = 0;
	long ms;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (unsigned char)getpid();
	ms = WAIT_LEAST_MS + random % (WAIT_MOST_MS - WAIT_LEAST_MS);
	sleep_ms(ms);
	return ms;
}

static bool locks_are_unknown(int err)
{
	return err == -EINVAL || err == -ENOLCK || err == -ENOSYS || err == -EOPNOTSUPP;
}

int lock_image(int fd, const char *name, bool read_only, long patience_ms, struct why *why)
{
	unsigned used = BIT(CONSISTENT_READ) | (read_only ? 0 : BIT(WRITE) | BIT(RESIZE));
	unsigned unshared = BIT(WRITE) | BIT(RESIZE);
	int err = 0;

	for (long waited = 0; waited < patience_ms; waited += wait_a_little()) {
		err = set_all(fd, used, unshared);
		if (err)
			why_set(why, err, "%s: locked by another process: %s", name,
				strerror(-err));
		else
			err = test_all(fd, name, used, unshared, why);
		if (!err)
			return 0;
		unlock_image(fd);
		if (err != -EAGAIN)
			break;
	}
	if (!locks_are_unknown(err))
		return err;
	log_warn("%s: cannot be locked here (%s); make sure that nobody else uses it", name,
		 strerror(-err));
	return 0;
}
