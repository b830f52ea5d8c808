/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pthread_create() with a stack of our size. */
#include "thread.h"
#include "base.h"

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

int thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg)
{
	pthread_attr_t attributes;
	int err = pthread_attr_init(&attributes);

	if (err)
		return -err;
#ifndef SANITIZED
	err = pthread_attr_setstacksize(&attributes, STACK_BYTES);
#endif
	if (!err)
		err = pthread_create(thread, &attributes, run, arg);
	pthread_attr_destroy(&attributes);
	if (!err)
		pthread_setname_np(*thread, name);
	return -err;
}
