/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pthread_create() with a stack of our size, for threads whose end is noticed. */
#include "thread.h"
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

/*
 * The default is 8 MiB, all of which becomes resident when memory is locked.  The largest frames of ours
 * have 11 KiB, for a path or two, and calls are not deep; sanitizers need more than anybody knows.
 */
#define STACK_BYTES (256 * KIB)

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

/* --- ends ---------------------------------------------------------------------------------------- */

static int ends_fd = -1; /* epoll, of a pidfd for each thread */
static pthread_once_t ends_once = PTHREAD_ONCE_INIT;

static void open_ends(void)
{
	ends_fd = epoll_create1(EPOLL_CLOEXEC);
}

int thread_ends_fd(void)
{
	pthread_once(&ends_once, open_ends);
	return ends_fd;
}

/* A file that has to be closed before this thread may end; -1: nobody will notice. */
static int watch_own_end(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd = (int)syscall(SYS_pidfd_open, gettid(), PIDFD_THREAD);

	if (fd >= 0 && epoll_ctl(thread_ends_fd(), EPOLL_CTL_ADD, fd, &event)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* --- start --------------------------------------------------------------------------------------- */

struct start {
	void *(*run)(void *arg);
	void *arg;
};

static void *thread_main(void *arg)
{
	struct start start = *(struct start *)arg;
	int fd = watch_own_end();
	void *result;

	free(arg);
	result = start.run(start.arg);
	if (fd >= 0)
		close(fd);
	return result;
}

static int create(pthread_t *thread, struct start *start)
{
	pthread_attr_t attributes;
	int err = pthread_attr_init(&attributes);

	if (err)
		return err;
#ifndef SANITIZED
	err = pthread_attr_setstacksize(&attributes, STACK_BYTES);
#endif
	if (!err)
		err = pthread_create(thread, &attributes, thread_main, start);
	pthread_attr_destroy(&attributes);
	return err;
}

int thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg)
{
	struct start *start = malloc(sizeof(*start));
	int err;

	if (!start)
		return -ENOMEM;
	*start = (struct start){ .run = run, .arg = arg };
	err = create(thread, start);
	if (err)
		free(start);
	else
		pthread_setname_np(*thread, name);
	return -err;
}
