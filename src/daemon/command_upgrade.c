/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2-ublkd upgrade: this program goes on with a device in the place of the process that serves
 * it, whose users see a pause.
 *
 * First comes what can be tried while the old process serves.  Then a service manager starts the new
 * one when the old one has left; without one we do, before it leaves: see successor.h.  A new one that
 * cannot serve after all is replaced by the old program.
 */
#include "client.h"
#include "commands.h"
#include "image.h"
#include "ownership.h"
#include "rehearse.h"
#include "restart.h"
#include "successor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum upgrade_status { UPGRADE_OK, UPGRADE_FAILED, UPGRADE_USAGE };

#define ANSWER_S 10u
#define ANSWER_MS 10000

/* For a service manager to start it again, and for that process to serve. */
#define MANAGER_MS 15000
#define SERVE_MS 120000
#define LOOK_MS 5

struct upgrade_command {
	struct command_options common;
	bool json;
};

struct upgrade {
	struct registry_entry old;
	struct report origin; /* of the old process */
	struct restart restart; /* what it takes to start it again */
	int program; /* the old one's, or -1 */
	char version[32]; /* of the new one */
	pid_t pid;
	uint64_t stall_ns;
};

#define AT(field) offsetof(struct upgrade_command, field)

static const struct option_row rows[] = {
	{ "json", NULL, "print the result as a JSON object", FLAG, AT(json), 0, 0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "upgrade",
	.operand = "NAME|DEVICE",
	.least = 1,
	.most = 1,
	.about =
		"Have this program serve a device in the place of the process that does, with the same\n"
		"options: its users see a pause, which is told, and no error. If that process has a service\n"
		"manager, it is this which starts the new one.\n",
	.ending =
		"Exit status: 0 the new process serves; 1 it does not, and a message says what to\n"
		"do; 2 wrong command line.\n",
	.rows = { rows, ARRAY_SIZE(rows) },
};

/* --- who serves now -------------------------------------------------------------------------------- */

/*
 * The process that serves its device now, unless it is @other, once it answers: 0 with its @status,
 * -ENOENT, -EAGAIN: not yet.
 */
static int ask_server(const struct upgrade *upgrade, pid_t other, struct registry_entry *entry,
		      struct report *status)
{
	struct why ignored;

	if (client_find(upgrade->old.device, entry, &ignored) || !entry->alive ||
	    entry->pid == other)
		return -ENOENT;
	return client_ask(entry->name, "status", ANSWER_S, status, &ignored) ? -EAGAIN : 0;
}

static int look_for_new(struct upgrade *upgrade)
{
	struct registry_entry entry;
	struct report status;
	int err = ask_server(upgrade, upgrade->old.pid, &entry, &status);

	if (err)
		return err;
	upgrade->pid = entry.pid;
	report_get_text(&status, "version", upgrade->version, sizeof(upgrade->version));
	report_free(&status);
	return 0;
}

/* The process that serves its device and answers, or 0. */
static pid_t server(const struct upgrade *upgrade)
{
	struct registry_entry entry;
	struct report status;

	if (ask_server(upgrade, 0, &entry, &status))
		return 0;
	report_free(&status);
	return entry.pid;
}

static bool has_server(const struct upgrade *upgrade)
{
	int32_t id;

	return sscanf(upgrade->old.device, "/dev/ublkb%" SCNd32, &id) == 1 && ownership_holder(id);
}

/* --- a process of ours ----------------------------------------------------------------------------- */

/* The new process serves; by now another upgrade may be replacing it. */
static int await_answer(struct upgrade *upgrade)
{
	int64_t begin = monotonic_ms();
	int err;

	while ((err = look_for_new(upgrade)) && monotonic_ms() - begin < ANSWER_MS)
		sleep_ms(LOOK_MS);
	return err;
}

/* @leaver: who is to leave, "" when nobody serves. */
static int start(struct upgrade *upgrade, int program, const char *leaver, struct why *why)
{
	struct report report;
	int fd, err = restart_program(&upgrade->restart, program, SUCCESSOR_VARIABLE, leaver, &fd,
				      why);

	if (err)
		return err;
	err = client_receive(fd, &report, why);
	close(fd);
	if (err)
		return err == -EREMOTEIO ?
			       err :
			       why_set(why, err, "the new process ended before it served");
	upgrade->stall_ns = report_get(&report, "stall-nanoseconds");
	report_free(&report);
	return await_answer(upgrade) ?
		       why_set(why, -EIO, "the new process serves it, and does not answer") :
		       0;
}

/* As server(), but waits for one that has the device already and does not answer yet. */
static pid_t await_server(const struct upgrade *upgrade)
{
	int64_t begin = monotonic_ms();
	pid_t pid;

	while (!(pid = server(upgrade)) && has_server(upgrade) && monotonic_ms() - begin < SERVE_MS)
		sleep_ms(LOOK_MS);
	return pid;
}

/* The new process has failed, and said @reason: does anybody serve? */
static int fall_back(struct upgrade *upgrade, const char *reason, struct why *why)
{
	const char *name = upgrade->old.name;
	struct why again = { "the old program is not there any more" };
	pid_t pid = await_server(upgrade);

	if (pid)
		return why_set(why, -EIO, "%s: %s; process %d serves it", name, reason, (int)pid);
	log_warn("%s: %s; nobody serves it, starting the old program again", name, reason);
	if (upgrade->program >= 0 && start(upgrade, upgrade->program, "", &again) == 0)
		return why_set(why, -EIO, "%s: %s; the old program serves it again, in process %d",
			       name, reason, (int)upgrade->pid);
	/* It has no place where somebody else has come first. */
	pid = await_server(upgrade);
	if (pid)
		return why_set(why, -EIO, "%s: %s; process %d serves it", name, reason, (int)pid);
	return why_set(
		why, -EIO,
		"%s: neither can this program go on with it: %.150s; nor the old one: %.150s; "
		"its users wait: start it with the command that it was started with, which "
		"loses nothing",
		name, reason, again.text);
}

static int start_ourselves(struct upgrade *upgrade, const char *leaver, struct why *why)
{
	struct why reason;

	return start(upgrade, -1, leaver, &reason) ? fall_back(upgrade, reason.text, why) : 0;
}

/* --- a service manager's ---------------------------------------------------------------------------- */

static int await_manager(struct upgrade *upgrade, struct why *why)
{
	int64_t begin = monotonic_ms(), ms = 0;
	int err;

	for (; (err = look_for_new(upgrade)) && ms < SERVE_MS; ms = monotonic_ms() - begin) {
		if (err == -ENOENT && ms >= MANAGER_MS && !has_server(upgrade)) {
			log_warn("%s: the service manager does not start it again; serving it "
				 "without",
				 upgrade->old.name);
			return start_ourselves(upgrade, "", why);
		}
		sleep_ms(LOOK_MS);
	}
	if (err)
		return why_set(why, -EIO,
			       "%s: its service manager has started no process yet that serves it, "
			       "and its users wait; see the messages of its service",
			       upgrade->old.name);
	return 0;
}

static int leave_to_manager(struct upgrade *upgrade, struct why *why)
{
	struct report report;
	int err = client_ask(upgrade->old.name, "leave", 0, &report, why);
	uint64_t left_ns = monotonic_ns();

	if (err)
		return err;
	report_free(&report);
	err = await_manager(upgrade, why);
	/* Unless it was another process that has told us. */
	if (!err && !upgrade->stall_ns)
		upgrade->stall_ns = monotonic_ns() - left_ns;
	return err;
}

/* --- what can be tried beforehand --------------------------------------------------------------------- */

static int find_old(struct upgrade *upgrade, const char *which, struct why *why)
{
	char path[64];
	int err = client_find(which, &upgrade->old, why);

	if (err)
		return err;
	if (!upgrade->old.alive)
		return why_set(why, -ESRCH,
			       "%s: nobody serves it; start it with the command that it was started "
			       "with, which goes on with its device",
			       which);
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)upgrade->old.pid);
	upgrade->program = open(path, O_PATH | O_CLOEXEC);
	return client_ask(upgrade->old.name, "origin", ANSWER_S, &upgrade->origin, why);
}

static int check_layout(const struct upgrade *upgrade, struct why *why)
{
	uint64_t old = report_get(&upgrade->origin, "handover-layout");

	if (old == image_handover_layout())
		return 0;
	return why_set(why, -ENOTSUP,
		       "what it would leave in memory has form %" PRIu64 ", and this program knows "
		       "form %u; stop it, and start it with this program",
		       old, (unsigned)image_handover_layout());
}

/*
 * A path may lead to another file by now; who is upgraded must go on with the same.  Where it leads
 * nowhere the rehearsal says so.
 */
static int check_file(const struct upgrade *upgrade, const char *path, struct why *why)
{
	const struct registry_image *old = &upgrade->old.file;
	struct registry_image now = registry_image_at(path);

	if (!old->number || !now.number || registry_image_same(*old, now))
		return 0;
	return why_set(
		why, -ESTALE,
		"%s is another file by now than the one that is served; put that one back, or "
		"stop it",
		path);
}

/* A device that shows the image otherwise than the new process would is none that it goes on with. */
static int check_view(const struct upgrade *upgrade, const struct options *options, struct why *why)
{
	char old[OPTIONS_VIEW_BYTES], new[OPTIONS_VIEW_BYTES];

	report_get_text(&upgrade->origin, "view", old, sizeof(old));
	options_view(options, new);
	/* Old versions do not tell it. */
	if (!old[0] || strcmp(old, new) == 0)
		return 0;
	return why_set(
		why, -EINVAL,
		"its configuration has been changed: with --read-only and --snapshot as they "
		"are now, the image would be another disk than the one that is in use; change "
		"that back, or stop it");
}

/* From now on in the old one's directory, to which the arguments are relative. */
static int try_beforehand(struct upgrade *upgrade, struct why *why)
{
	struct restart *restart = &upgrade->restart;
	struct options options;
	int err = restart_prepare(restart, upgrade->old.pid, &upgrade->origin, why);

	if (!err)
		err = check_layout(upgrade, why);
	if (!err && restart->directory[0] && chdir(restart->directory))
		err = why_set(why, -errno, "%s: %m", restart->directory);
	if (!err)
		err = options_parse(&options, restart->argv, why);
	if (!err)
		err = check_file(upgrade, options.image, why);
	if (!err)
		err = check_view(upgrade, &options, why);
	return err ? err : rehearse(&options, report_is(&upgrade->origin, "managed"), why);
}

/* --- the command ------------------------------------------------------------------------------------------ */

static int upgrade_device(struct upgrade *upgrade, const char *which, struct why *why)
{
	struct why reason;
	int err = find_old(upgrade, which, why);

	if (err)
		return err;
	err = try_beforehand(upgrade, &reason);
	if (err)
		why_set(why, err, "%s: %.300s; process %d goes on serving it", which, reason.text,
			(int)upgrade->old.pid);
	if (!err)
		err = report_is(&upgrade->origin, "managed") ?
			      leave_to_manager(upgrade, why) :
			      start_ourselves(upgrade, upgrade->old.name, why);
	restart_free(&upgrade->restart);
	return err;
}

static void print_result(const struct upgrade *upgrade, bool json)
{
	const struct registry_entry *old = &upgrade->old;
	char version[32];

	report_get_text(&upgrade->origin, "version", version, sizeof(version));
	if (json)
		printf("{\n"
		       "    \"name\": \"%s\",\n"
		       "    \"device\": \"%s\",\n"
		       "    \"old-pid\": %d,\n"
		       "    \"old-version\": \"%s\",\n"
		       "    \"pid\": %d,\n"
		       "    \"version\": \"%s\",\n"
		       "    \"stall-nanoseconds\": %" PRIu64 "\n"
		       "}\n",
		       old->name, old->device, (int)old->pid, version, (int)upgrade->pid,
		       upgrade->version, upgrade->stall_ns);
	else
		printf("%s: served by process %d (%s) instead of %d (%s), after %.1f ms\n",
		       old->device, (int)upgrade->pid, upgrade->version, (int)old->pid, version,
		       (double)upgrade->stall_ns / 1e6);
}

int command_upgrade(char **argv)
{
	struct upgrade_command command = { 0 };
	struct upgrade upgrade = { .program = -1 };
	struct why why;
	int err, status;

	if (!command_parse(&usage, &command.common, argv, UPGRADE_USAGE, &status))
		return status;
	err = upgrade_device(&upgrade, command.common.operand[0], &why);
	if (err)
		log_error("%s", why.text);
	else
		print_result(&upgrade, command.json);
	report_free(&upgrade.origin);
	return command_end(err ? UPGRADE_FAILED : UPGRADE_OK, UPGRADE_FAILED);
}
