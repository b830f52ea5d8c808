/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configuration files: options by the same table as on the command line. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLANKS " \t\r"

/* Without the blanks around it. */
static char *trim(char *text)
{
	size_t len;

	text += strspn(text, BLANKS);
	len = strlen(text);
	while (len > 0 && strchr(BLANKS, text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

static int take_line(char *line, const struct option_rows *rows, void *options, struct why *why)
{
	char *name = trim(line), *equals = strchr(name, '='), *value;

	if (name[0] == '\0' || name[0] == '#')
		return 0;
	if (!equals)
		return why_set(why, -EINVAL, "%s: not of the form \"option = value\"", name);
	*equals = '\0';
	name = trim(name);
	value = trim(equals + 1);
	if (value[0] == '\0')
		return why_set(why, -EINVAL, "%s: has no value", name);
	return rows_set(rows, options, name, value, why);
}

static int take_lines(char *text, const char *path, const struct option_rows *rows, void *options,
		      struct why *why)
{
	for (unsigned number = 1; text; number++) {
		char *end = strchr(text, '\n');
		struct why inner;
		int err;

		if (end)
			*end++ = '\0';
		err = take_line(text, rows, options, &inner);
		if (err)
			return why_set(why, err, "%s, line %u: %s", path, number, inner.text);
		text = end;
	}
	return 0;
}

/* The text with a NUL at its end; NULL with errno. */
static char *read_text(const char *path)
{
	/* Opening must not wait for the other end of a pipe. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *text = NULL;
	struct stat st;
	ssize_t n = -1;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (text = malloc(CONFIG_BYTES + 1)))
		n = read(fd, text, CONFIG_BYTES + 1);
	else if (!text && !S_ISREG(st.st_mode))
		errno = EINVAL;
	if (n == (ssize_t)CONFIG_BYTES + 1) {
		errno = EFBIG;
		n = -1;
	}
	close(fd);
	if (n >= 0) {
		text[n] = '\0';
		if (strlen(text) == (size_t)n)
			return text;
		errno = EILSEQ;
	}
	free(text);
	return NULL;
}

int config_read(char **text, const char *path, const struct option_rows *rows, void *options,
		struct why *why)
{
	*text = read_text(path);
	if (!*text)
		return why_set(why, -errno, "%s: cannot be read as a configuration file: %m", path);
	return take_lines(*text, path, rows, options, why);
}
