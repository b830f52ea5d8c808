/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The administrator's side of a daemon: its name, its place in the register, and the answers that
 * it gives on its control socket.  By the main thread.
 *
 * Life: admin_origin(); admin_begin() takes the name; admin_serve() when there is a device;
 * admin_watch() and admin_turn() in the loop; admin_stopping(); admin_end().
 */
#ifndef ADMIN_H
#define ADMIN_H

#include "control.h"
#include "device.h"
#include "image.h"
#include "registry.h"

/* What it takes to start the same daemon once more. */
struct origin {
	char *const *argv; /* as main() got it */
	char directory[PATH_MAX]; /* in which that was; "": unknown */
	bool managed; /* by a service manager, which will start it again */
	const char *view; /* how the image is shown: see options_view() */
	/* Why no other process could go on now, or NULL. */
	const char *(*hindrance)(const void *arg);
	const void *arg;
};

struct admin {
	struct origin origin;
	struct registration registration;
	struct control control;
	char image_path[PATH_MAX]; /* absolute, where it can be */
	struct device *device; /* NULL: none, or none any more */
	struct image *image;
	bool stopping;
	bool stop_asked; /* by a peer; to be cleared by who obeys */
	bool stop_force; /* ... although the device is in use */
	bool resize_asked; /* the same: the disk is to have so many bytes */
	bool resizing; /* until admin_resized() */
	uint64_t resize_bytes;
	bool resize_shrink; /* ... also if that is less */
	bool leave_asked; /* by a peer: to leave the device to another process */
	bool leave_wanted; /* the same, until it is answered */
	int64_t started_s; /* monotonic */
};

/* Note where we come from.  First of all. */
void admin_origin(struct admin *admin, char *const *argv);

/*
 * Take @name, or, when it is NULL, one that is made of the image's file name.  After the last
 * fork, before the image is opened.  -EBUSY with the sentence in @why when another daemon has
 * @name.  Where there can be no register a message says so and the daemon does without.
 */
int admin_begin(struct admin *admin, const char *name, const char *image, struct why *why);

/* Device @id is ours, and will have that name, whoever serves it. */
void admin_added(struct admin *admin, int32_t id);

/* From here on there is something to ask for. */
void admin_serve(struct admin *admin, struct device *device, struct image *image);

/* The name, or "" when there is no register. */
const char *admin_name(const struct admin *admin);

/* As control_watch() and control_turn(). */
unsigned admin_watch(const struct admin *admin, struct pollfd *fds, int *timeout_ms);
void admin_turn(struct admin *admin);

/* Is anybody still there who waits for us to leave? */
bool admin_is_awaited(const struct admin *admin);

/* Tell those who have asked us to leave why we do not. */
void admin_stays(struct admin *admin, const char *reason);

/* The process is about to leave its device: tell those who have asked for it. */
void admin_left(struct admin *admin);

/* Tell those who have asked for a stop that there is none. */
void admin_refuse(struct admin *admin, const char *reason);

/* Tell who has asked for a resize how it went: @failure or NULL. */
void admin_resized(struct admin *admin, const char *failure);

/* The device is on its way out: nothing is resized any more. */
void admin_stopping(struct admin *admin);

/* Device and image are gone: give up the name, and tell those who wait for it; @failure or NULL. */
void admin_end(struct admin *admin, const char *failure);

#endif
