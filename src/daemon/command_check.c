/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2-ublkd check: the checker at the command line, with the exit statuses of qemu-img check. */
#include "commands.h"
#include "handover_file.h"
#include "registry.h"

#include <errno.h>
#include <unistd.h>

#define PROGRESS_FIRST_MS 2000
#define PROGRESS_EVERY_MS 500

struct check_command {
	struct command_options common;
	unsigned repair; /* enum check_repair - 1; without the option larger than any */
	bool json;
};

#define AT(field) offsetof(struct check_command, field)
#define NO_REPAIR UINT32_MAX

static const struct option_row rows[] = {
	{ "repair", "leaks|all",
	  "lower refcounts that are too high, or repair whatever can be repaired", CHOICE,
	  AT(repair), 0, 0, 0 },
	{ "json", NULL, "print one JSON object, with the keys of qemu-img check", FLAG, AT(json), 0,
	  0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "check",
	.operand = "IMAGE",
	.least = 1,
	.most = 1,
	.about = "Look for corruption and leaked clusters in a qcow2 image.\n",
	.ending =
		"Exit status: 0 nothing is wrong, or all of it was repaired; 1 the check could not\n"
		"be done; 2 the image is corrupt; 3 it has leaks, and no corruption.\n",
	.rows = { rows, ARRAY_SIZE(rows) },
};

/* When progress is told next, and whether there is a line of it on the screen. */
struct progress {
	int64_t next_ms;
	bool shown;
};

static void clear_progress(struct progress *progress)
{
	if (progress->shown)
		fprintf(stderr, "\r%20s\r", "");
	progress->shown = false;
}

static void show_progress(void *arg, uint64_t done, uint64_t all)
{
	struct progress *progress = arg;
	int64_t now = monotonic_ms();

	if (now < progress->next_ms)
		return;
	fprintf(stderr, "\rchecked %3u %%", (unsigned)((double)done * 100 / (double)all));
	progress->shown = true;
	progress->next_ms = now + PROGRESS_EVERY_MS;
}

static void show_finding(void *arg, const char *text)
{
	clear_progress(arg);
	fprintf(stderr, "%s\n", text);
}

/*
 * Clusters that writes in memory refer to look like leaks: a repair would give them to others.
 * The image is locked, so what stands there is a dead process's.
 */
static int check_writes(const struct check_file *file, bool repair, struct why *why)
{
	struct handover_file writes;
	struct identity identity;
	int err = identity_of(&identity, file->fd);

	if (err)
		return repair ? why_set(why, err,
					"%s: cannot be identified: %s; nobody can tell whether "
					"writes of a killed process wait for it, so it is not "
					"repaired",
					file->name, strerror(-err)) :
				0;
	handover_file_init(&writes, &identity, file->name);
	if (!handover_file_is_pending(&writes))
		return 0;
	if (access(writes.path, F_OK))
		return repair ? why_set(why, -EACCES,
					"%s: %s: %m; nobody can tell whether writes of a killed "
					"process wait there: repair it as root",
					file->name, registry_folder) :
				0;
	if (repair)
		return why_set(
			why, -EBUSY,
			"%s: writes of a process that was killed are in memory and not in the "
			"image yet; serve it once before it is repaired, or, if that is "
			"refused, lose them with --image ... --read-only --abandon",
			file->name);
	log_warn("%s: writes of a process that was killed are in memory and not in the image yet; "
		 "their clusters look like leaks",
		 file->name);
	return 0;
}

static int open_image(struct check_file *file, const char *name, bool repair, struct why *why)
{
	int err = command_open(file, name, repair, why);

	if (err)
		return err;
	err = check_writes(file, repair, why);
	if (err)
		close(file->fd);
	return err;
}

static int check(const struct check_command *command)
{
	struct progress progress = { .next_ms = monotonic_ms() + PROGRESS_FIRST_MS };
	struct check_options options = {
		.repair = command->repair == NO_REPAIR ? CHECK_ONLY :
							 (enum check_repair)(command->repair + 1),
		.arg = &progress,
		.finding = show_finding,
		.progress = !command->json && isatty(STDERR_FILENO) ? show_progress : NULL,
	};
	struct check_result result;
	struct check_file file;
	struct why why;
	int err = open_image(&file, command->common.operand[0], options.repair != CHECK_ONLY, &why);

	if (!err) {
		err = check_image(&file, &options, &result, &why);
		clear_progress(&progress);
		close(file.fd);
	}
	if (err) {
		log_error("%s", why.text);
		return CHECK_FAILED;
	}
	if (command->json)
		check_print_json(&result, command->common.operand[0], stdout);
	else
		check_print(&result, stdout);
	return command_end((int)check_status(&result), CHECK_FAILED);
}

int command_check(char **argv)
{
	struct check_command command = { .repair = NO_REPAIR };
	int status;

	if (!command_parse(&usage, &command.common, argv, CHECK_FAILED, &status))
		return status;
	return check(&command);
}
