/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2-ublkd resize: have a daemon make its disk larger, or smaller. */
#include "client.h"
#include "commands.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum resize_status { RESIZE_OK, RESIZE_FAILED, RESIZE_USAGE };

#define PATIENCE_S 5

struct resize_command {
	struct command_options common;
	bool json;
	bool shrink;
};

#define AT(field) offsetof(struct resize_command, field)

static const struct option_row rows[] = {
	{ "shrink", NULL, "also make it smaller, if nothing is behind the new end", FLAG,
	  AT(shrink), 0, 0, 0 },
	{ "json", NULL, "print the result as a JSON object", FLAG, AT(json), 0, 0, 0 },
	{ "help", NULL, "print this text", FLAG, AT(common.help), 0, 0, 0 },
};

static const struct command_usage usage = {
	.name = "resize",
	.operand = "NAME|DEVICE [+]SIZE",
	.least = 2,
	.most = 2,
	.about =
		"Make the disk larger, while it is used: image and device get SIZE, or with + so much\n"
		"more; digits, and k, M, G or T behind them. What is new reads as zeros. It takes\n"
		"Linux 6.16 or newer. With --shrink also smaller, as long as the image has nothing\n"
		"behind the new end: what uses the disk must have been made smaller before.\n",
	.ending =
		"Exit status: 0 resized, and durably so; 1 no such device, or it is as large as it\n"
		"was; 2 wrong command line.\n",
	.rows = { rows, ARRAY_SIZE(rows) },
};

/* How large it is to be, from how large it is. */
static int find_size(const struct registry_entry *entry, const char *text, uint64_t *bytes,
		     struct why *why)
{
	struct report report;
	uint64_t more;
	int err;

	if (text[0] != '+')
		return 0;
	more = *bytes;
	err = client_ask(entry->name, "status", PATIENCE_S, &report, why);
	if (err)
		return err;
	*bytes = report_get(&report, "virtual-size");
	report_free(&report);
	if (more > UINT64_MAX - *bytes)
		return why_set(why, -EINVAL, "%s: too much", text);
	*bytes += more;
	return 0;
}

/*
 * What the kernel has in its memory of the device knows nothing of its size.  Written back before the disk
 * becomes smaller, it is looked at behind the new end; dropped before the disk becomes larger, it does not
 * come back from there, as long as anybody has the device open.
 */
static int drop_pages(const struct registry_entry *entry, struct why *why)
{
	int fd = open(entry->device, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) || ioctl(fd, BLKFLSBUF, 0) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err ? why_set(why, err, "%s: cannot be written back: %s", entry->device,
			     strerror(-err)) :
		     0;
}

static int resize(const struct resize_command *command, struct registry_entry *entry,
		  uint64_t *bytes, struct why *why)
{
	struct report report;
	char request[64];
	int err = client_find(command->common.operand[0], entry, why);

	if (!err && !entry->alive)
		err = why_set(why, -ESRCH, "%s: its daemon is gone; see qcow2-ublkd list",
			      entry->name);
	if (!err)
		err = find_size(entry, command->common.operand[1], bytes, why);
	if (!err)
		err = drop_pages(entry, why);
	if (err)
		return err;
	snprintf(request, sizeof(request), "resize %" PRIu64 "%s", *bytes,
		 command->shrink ? " shrink" : "");
	err = client_ask(entry->name, request, 0, &report, why);
	if (!err)
		report_free(&report);
	return err;
}

int command_resize(char **argv)
{
	struct resize_command command = { 0 };
	struct registry_entry entry;
	struct why why;
	const char *size;
	uint64_t bytes;
	int err, status;

	if (!command_parse(&usage, &command.common, argv, RESIZE_USAGE, &status))
		return status;
	size = command.common.operand[1];
	if (!rows_size(size + (size[0] == '+'), &bytes)) {
		fprintf(stderr, "qcow2-ublkd resize: %s: not a size like 20G or +512M\n", size);
		return RESIZE_USAGE;
	}
	err = resize(&command, &entry, &bytes, &why);
	if (err)
		log_error("%s", why.text);
	if (!err && command.json)
		printf("{\n    \"name\": \"%s\",\n    \"device\": \"%s\",\n"
		       "    \"virtual-size\": %" PRIu64 "\n}\n",
		       entry.name, entry.device, bytes);
	return command_end(err ? RESIZE_FAILED : RESIZE_OK, RESIZE_FAILED);
}
