/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The start: from the command line to a device.
 *
 * Its order is not free.  Other processes are forked before anything is open.  What a dead process
 * has left is looked for, and all of its I/O ended, before the image is locked; it is locked before
 * it is read; and it is known to be good, with the dead process's writes in it, before there is a
 * device.  Privileges go when the device is there: see serve.c.
 */
#include "daemon.h"
#include "janitor.h"
#include "key.h"
#include "lock.h"
#include "notify.h"
#include "privileges.h"
#include "repair.h"
#include "udev.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(LIMIT_CHAIN + 1 <= URING_FILES_MAX, "a chain's files and the device, in each ring");

/* A killed process has left writes, so most likely what is locked is still locked by it. */
#define LOCK_DEAD_PATIENCE_MS 60000

/* --- before anything is open ----------------------------------------------------------------------- */

/* Without such a folder nothing can be handed over: neither to the next process nor to this one. */
static int look_for_folder(struct daemon *daemon, struct why *why)
{
	int err = registry_folder_make(&daemon->forgets);

	daemon->remembers = !err;
	if (!err)
		return 0;
	if (daemon->successor.fd >= 0)
		return why_set(why, err, "%s", daemon->forgets.text);
	daemon->options.no_recovery = true;
	log_warn("%s; should this process be killed, its device ends, and what was not flushed is "
		 "lost",
		 daemon->forgets.text);
	return 0;
}

static int prepare_user(struct daemon *daemon, struct why *why)
{
	int err = user_find(&daemon->user, daemon->options.user, why);

	return err ? err : janitor_spawn(daemon->run.pid, main_confine, why);
}

static int prepare_device(struct daemon *daemon, struct why *why)
{
	const struct options *options = &daemon->options;
	struct device_options how = {
		.id = (int32_t)options->device_id,
		.queues = (unsigned)options->queues,
		.depth = (unsigned)options->depth,
		.max_io_bytes = (uint32_t)options->max_io,
		.recoverable = !options->no_recovery,
		.confine = controller_confine,
		.confine_helper = helper_confine,
		.host = host_of(daemon),
	};

	return device_prepare(&daemon->device, &how, why);
}

/* --- the image, and what is left of those who served it --------------------------------------------- */

static struct file_options file_options_of(const struct options *options)
{
	return (struct file_options){
		.read_only = options->read_only,
		.direct = options->cache == CACHE_NONE,
	};
}

static int open_file(struct daemon *daemon, struct why *why)
{
	const struct options *options = &daemon->options;
	struct file_options how = file_options_of(options);
	int err = file_open(&daemon->file, options->image, &how, why);

	if (err)
		return err;
	daemon->file_is_open = true;
	options_view(options, daemon->view);
	err = identity_of(&daemon->identity, daemon->file.fd);
	if (err)
		return why_set(why, err, "%s: cannot be identified: %s", options->image,
			       strerror(-err));
	handover_file_init(&daemon->handover, &daemon->identity, options->image);
	return 0;
}

/* What could fail, and what takes time, comes before the other process leaves. */
static int step_in(struct daemon *daemon, struct why *why)
{
	int err = daemon->options.lock_memory ? process_lock_memory(why) : 0;

	if (!err && daemon->successor.fd >= 0)
		err = handover_file_prepare(&daemon->handover, why);
	return err ? err : successor_step_in(&daemon->successor, signals_cancelled, daemon, why);
}

static int abandon_device(struct daemon *daemon, struct why *why)
{
	int err;

	log_warn(
		"%s: a killed process's device is given up, as --abandon says; its users get errors",
		device_name(daemon->device));
	err = device_abandon(daemon->device, why);
	ownership_drop(&daemon->owner);
	return err;
}

/*
 * A device shows the image, and nobody here knows whose it is.  Readers may be many; a writer has
 * the image alone, and there may be writes that only another one's memory has.
 */
static int meet_unknown(const struct daemon *daemon, int32_t id, struct why *why)
{
	const char *image = daemon->options.image;

	if (daemon->remembers)
		why_set(why, -EEXIST,
			"%s: is shown as /dev/ublkb%" PRId32
			" already, and %s knows nothing of it: another "
			"container's daemon serves it, or a killed one has left it; stop it there, "
			"or, if it was killed, with qcow2-ublkd stop /dev/ublkb%" PRId32,
			image, id, registry_folder, id);
	else
		why_set(why, -EEXIST,
			"%s: is shown as /dev/ublkb%" PRId32
			" already, which cannot be taken over: %s",
			image, id, daemon->forgets.text);
	/* Who remembers nothing cannot tell whether it is ours, and has users who wait. */
	if (!daemon->options.read_only || !daemon->remembers)
		return -EEXIST;
	log_warn("%s", why->text);
	return 0;
}

/* The writes that are given up came through a device that can be written, and so is not like ours. */
static int abandon_writable(struct daemon *daemon, struct why *why)
{
	char view[sizeof(daemon->view)];
	bool found = false;
	int32_t id;
	int err;

	memcpy(view, daemon->view, sizeof(view));
	snprintf(daemon->view, sizeof(daemon->view), OPTIONS_VIEW_WRITABLE);
	err = device_find(daemon->device, identity_mark(&daemon->identity, daemon->view), &found,
			  &id, why);
	if (!err && found)
		err = abandon_device(daemon, why);
	if (err == -EEXIST)
		err = meet_unknown(daemon, id, why);
	memcpy(daemon->view, view, sizeof(view));
	/* Whose server lives is not left by a killed process; the lock says so. */
	return err == -EBUSY ? 0 : err;
}

/* Who steps in for another process makes no second device. */
static int none_left(const struct daemon *daemon, struct why *why)
{
	return why_set(why, -ENODEV, "%s: there is no device left to go on with",
		       daemon->options.image);
}

/* A dead server's device, if there is one, becomes ours. */
static int find_device(struct daemon *daemon, struct why *why)
{
	const struct options *options = &daemon->options;
	bool found, is_upgrade = daemon->successor.fd >= 0;
	int32_t id;
	int err;

	if (daemon->remembers)
		ownership_clear_away();
	err = options->abandon && options->read_only ? abandon_writable(daemon, why) : 0;
	if (err)
		return err;
	err = device_find(daemon->device, identity_mark(&daemon->identity, daemon->view), &found,
			  &id, why);
	if (err == -EBUSY && options->read_only && !is_upgrade)
		return 0;
	if (err == -EBUSY)
		return why_set(why, err, "%s: is served as /dev/ublkb%" PRId32 " by process %d",
			       options->image, id, (int)daemon->holder);
	if (err == -EEXIST)
		err = meet_unknown(daemon, id, why);
	if (!err && !found && is_upgrade)
		return none_left(daemon, why);
	return err;
}

/* The end of a command waits for nobody, and others may have written what would be lost by that. */
static int leave_to_its_users(const struct daemon *daemon, struct why *why)
{
	const char *image = daemon->options.image, *left = device_name(daemon->device);

	return why_set(why, -EBUSY,
		       "%s: a killed process has left %s, which may be in use, and with --run would "
		       "be stopped all the same; serve it without --run, or, if it is not in use, "
		       "remove it with qcow2-ublkd stop %s",
		       image, left, left);
}

static int take_device(struct daemon *daemon, struct why *why)
{
	int err;

	if (!device_is_left(daemon->device))
		return 0;
	if (daemon->options.abandon)
		return abandon_device(daemon, why);
	if (daemon->options.run)
		return leave_to_its_users(daemon, why);
	err = device_take(daemon->device, why);
	if (!err && !device_is_left(daemon->device) && daemon->successor.fd >= 0)
		return none_left(daemon, why);
	return err;
}

/* It reads what anybody may have written. */
static int repair_at_rest(struct daemon *daemon, struct why *why)
{
	int err;

	privileges_rest(true);
	err = repair_dirty(daemon->file.fd, daemon->options.image, signals_stop_pending, daemon,
			   why);
	privileges_rest(false);
	if (err == -ECANCELED)
		signals_cancelled(daemon);
	return err;
}

/* What was acknowledged and is in memory only: part of the image, whoever opens it. */
static int consider_writes(struct daemon *daemon, bool pending, struct why *why)
{
	const struct options *options = &daemon->options;
	int err;

	if (!pending)
		return options->read_only ? 0 : repair_at_rest(daemon, why);
	if (options->abandon) {
		log_warn("%s: writes of a killed process are given up, as --abandon says",
			 options->image);
		err = handover_file_abandon(&daemon->handover);
		return err ? why_set(why, err, "%s: %s", daemon->handover.path, strerror(-err)) : 0;
	}
	if (!daemon->remembers)
		return why_set(
			why, -EPERM,
			"%s: writes of a process that was killed are in memory and not in the "
			"image yet, and cannot be had: %s, or lose them with --abandon",
			options->image, daemon->forgets.text);
	if (!options->read_only)
		return 0;
	return why_set(why, -EBUSY,
		       "%s: writes of a process that was killed are in memory and not in the image "
		       "yet; serve it once without --read-only, or, if that is refused, lose them "
		       "with --abandon",
		       options->image);
}

static int lock_file(struct daemon *daemon, struct why *why)
{
	const struct options *options = &daemon->options;
	struct file_options how = file_options_of(options);
	bool dead = handover_file_is_pending(&daemon->handover) &&
		    !ownership_is_shown(&daemon->identity, OPTIONS_VIEW_WRITABLE);
	long patience_ms = dead ? LOCK_DEAD_PATIENCE_MS : LOCK_PATIENCE_MS;
	int err = file_claim(&daemon->file, patience_ms, why);

	if (!err)
		err = lock_image(daemon->file.fd, options->image, options->read_only, patience_ms,
				 why);
	if (!err)
		err = consider_writes(daemon, handover_file_is_pending(&daemon->handover), why);
	return err ? err : file_measure(&daemon->file, &how, why);
}

/* --- the engine -------------------------------------------------------------------------------------- */

static int make_lanes(struct daemon *daemon, struct why *why)
{
	int err = device_make_lanes(daemon->device, why);
	unsigned queues;

	if (err)
		return err;
	queues = device_lanes(daemon->device);
	err = service_prepare(&daemon->service, queues, why);
	if (err)
		return err;
	daemon->service_is_made = true;
	daemon->lane = calloc(queues + 1, sizeof(*daemon->lane));
	if (!daemon->lane)
		return why_set(why, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < queues; i++)
		daemon->lane[i] = device_lane(daemon->device, i);
	daemon->lane[queues] = &daemon->service.worker.lane;
	pool_init(&daemon->pool);
	daemon->pool_is_made = true;
	for (unsigned i = 0; i <= queues; i++)
		pool_attach(&daemon->pool, daemon->lane[i]);
	return 0;
}

static int open_image(struct daemon *daemon, const struct key *key, struct why *why)
{
	const struct options *options = &daemon->options;
	struct image_options how = {
		.read_only = options->read_only,
		.snapshot = options->snapshot,
		.key = key->bytes,
		.key_bytes = key->len,
		.l2_cache_bytes = options->l2_cache,
		.reqs_per_lane = device_depth(daemon->device),
		.lanes = device_lanes(daemon->device) + 1,
		.lane = daemon->lane,
		.workers = daemon->pool.threads,
		.size_most = RESIZE_SIZE_MOST,
		.files = {
			.open_below = backing_open,
			.open_data = backing_open_data,
			.arg = &daemon->backing,
			.backing_format = options->backing_format,
		},
		.handover = daemon->remembers ? &daemon->handover.handover : NULL,
	};

	backing_init(&daemon->backing, &daemon->file, &options->allow, true,
		     options->cache == CACHE_NONE);
	daemon->backing.lacks_writes = handover_file_is_pending_for;
	return image_open(&daemon->image, &daemon->file.host, &how, why);
}

/* The key is needed for no longer than the image takes to open. */
static int open_with_key(struct daemon *daemon, struct why *why)
{
	const char *key_file = daemon->options.key_file;
	struct key key;
	bool encrypted;
	int err = key_read(&key, key_file, why);

	if (err)
		return err;
	privileges_rest(true);
	err = open_image(daemon, &key, why);
	privileges_rest(false);
	encrypted = !err && image_info(daemon->image).encrypted;
	key_forget(&key, encrypted);
	if (!err && key_file && !encrypted)
		log_warn("%s: is not encrypted; the key is not used", daemon->options.image);
	return err;
}

static int sum_below(struct daemon *daemon, struct why *why)
{
	uint64_t sum = 1; /* also with no file below: 0 would be that none is known */
	int err = 0;

	for (unsigned i = 0; !err && i < daemon->backing.files; i++)
		err = identity_add(&sum, daemon->backing.file[i].fd);
	daemon->below = sum;
	return err ? why_set(why, err, "%s: a file below it cannot be identified: %s",
			     daemon->options.image, strerror(-err)) :
		     0;
}

/* A name may mean another file by now, and what is in that is not what the device has shown. */
static int check_below(struct daemon *daemon, struct why *why)
{
	int err = sum_below(daemon, why);

	if (err)
		return err;
	err = ownership_match_below(&daemon->owner, daemon->below);
	if (err == -ESTALE)
		return why_set(why, err,
			       "%s: a backing or data file has been replaced since its daemon was "
			       "killed, and %s must not show another one; put the file back, or "
			       "give up the device, and what is not in the image, with --abandon",
			       daemon->options.image, device_name(daemon->device));
	return err ? why_set(why, err, "%s: %s", daemon->owner.path, strerror(-err)) : 0;
}

/* --- the device -------------------------------------------------------------------------------------- */

/* What is to become another user may not have given away the right to. */
static int start_pool(struct daemon *daemon, struct why *why)
{
	int err = pool_start(&daemon->pool, daemon->options.user ? NULL : lane_confine);

	return err ? why_set(why, err, "threads of the pool: %s", strerror(-err)) : 0;
}

/* Who waits for us is to find the device by its name. */
static void name_device(struct daemon *daemon)
{
	const char *name = admin_name(&daemon->admin), *device = device_name(daemon->device);
	bool changed;
	int32_t id;
	int err;

	if (!daemon->remembers || sscanf(device, "/dev/ublkb%" SCNd32, &id) != 1)
		return;
	/* A dead process may have called it something else. */
	err = udev_tell(id, name, &changed);
	if (!err && changed)
		err = udev_trigger(id);
	if (err)
		log_warn("%s: udev cannot be told that it is called %s: %s", device, name,
			 strerror(-err));
	else if (!udev_wait(id, name, daemon->added_us, signals_pending, daemon))
		log_debug("%s: /dev/disk/by-id/qcow2-%s is not known to be there", device, name);
}

/* Who was killed during the first start may have taken the partition table with it. */
static void end_first_start(struct daemon *daemon)
{
	int err;

	if (daemon->owner.fresh)
		device_find_partitions(daemon->device);
	err = ownership_served(&daemon->owner);
	if (err)
		log_warn("%s: %s", daemon->owner.path, strerror(-err));
}

static int start_device(struct daemon *daemon, struct why *why)
{
	unsigned files;
	const int *fd = backing_fds(&daemon->backing, &files);
	int err = service_start(&daemon->service, fd, files, why);

	if (!err)
		err = start_pool(daemon, why);
	if (!err)
		err = device_start(daemon->device, daemon->image, fd, files, why);
	if (err)
		return err;
	successor_serves(&daemon->successor);
	end_first_start(daemon);
	name_device(daemon);
	process_leave_mounts(daemon->remembers ? registry_folder : NULL);
	/* Not sooner: by a handle from before, all that was left could be reached. */
	if (daemon->remembers)
		registry_folder_open(&daemon->folder);
	return 0;
}

int startup(struct daemon *daemon, struct why *why)
{
	int err = look_for_folder(daemon, why);

	if (!err)
		err = resizing_open(&daemon->resizing, why);
	if (!err && daemon->options.user)
		err = prepare_user(daemon, why);
	if (!err)
		err = prepare_device(daemon, why);
	if (!err)
		err = open_file(daemon, why);
	if (!err)
		err = device_ready(daemon->device, why);
	if (!err)
		err = step_in(daemon, why);
	if (!err)
		err = find_device(daemon, why);
	/* Its name is free as soon as its device is. */
	if (!err)
		err = admin_begin(&daemon->admin, daemon->options.name, daemon->options.image, why);
	if (!err)
		err = take_device(daemon, why);
	if (!err)
		err = lock_file(daemon, why);
	if (!err)
		err = make_lanes(daemon, why);
	if (!err)
		err = open_with_key(daemon, why);
	if (!err)
		err = check_below(daemon, why);
	if (err)
		return err;
	/* Not sooner: who unmounts what an image lies on is to hear that it is busy. */
	notify_open();
	process_isolate();
	return start_device(daemon, why);
}
