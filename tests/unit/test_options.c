/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line, configuration files and instances of units. */
#include "options.h"

#include "check.h"
#include "commands.h"
#include "instance.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/test-options.XXXXXX";

/* Of --help, which is not tested here. */
void commands_help(void)
{
}

static void write_file(const char *name, const char *text, size_t len)
{
	FILE *out = fopen(name, "w");

	CHECK(out && fwrite(text, 1, len, out) == len);
	CHECK(fclose(out) == 0);
}

static struct options options;
static struct why why;

/* Ends with NULL, as main()'s. */
static int parse(const char *first, ...)
{
	char *argv[16] = { "qcow2-ublkd" };
	const char *word = first;
	unsigned n = 1;
	va_list args;
	int err;

	free(options.text);
	free(options.path);
	va_start(args, first);
	for (; word; word = va_arg(args, const char *))
		argv[n++] = (char *)(uintptr_t)word;
	va_end(args);
	why.text[0] = '\0';
	err = options_parse(&options, argv, &why);
	return err;
}

static int parse_file(const char *text)
{
	write_file("file.conf", text, strlen(text));
	return parse("--config", "file.conf", NULL);
}

static void test_line(void)
{
	check_case("the command line");
	CHECK_EQ(parse("--image", "a", "--queues=3", "--cache", "writeback", "--read-only", NULL),
		 0);
	CHECK(strcmp(options.image, "a") == 0 && options.queues == 3 && options.read_only);
	CHECK_EQ(options.cache, CACHE_WRITEBACK);
	CHECK_EQ(options.depth, 128);
	CHECK_EQ(parse("--queues", "3", NULL), -EINVAL);
	CHECK_CONTAINS(why.text, "--image is missing");
	CHECK_EQ(parse("--image", NULL), -EINVAL);
	CHECK_EQ(parse("image", NULL), -EINVAL);
	CHECK_EQ(parse("--help", NULL), 0);
	CHECK(options.help);
}

static void test_file(void)
{
	static const char nul[] = "image = a\0b\n";
	char *large;

	check_case("a configuration file");
	CHECK_EQ(parse_file("# a comment\n\n  image =  /a b = c#d \t\r\n\tqueues=2\n"
			    "read-only = yes\nforce-stop = no\nmax-io = 64k\nallow-path = /\n"
			    "allow-path = /tmp"),
		 0);
	CHECK(strcmp(options.image, "/a b = c#d") == 0);
	CHECK_EQ(options.queues, 2);
	CHECK(options.read_only && !options.force_stop);
	CHECK_EQ(options.max_io, 64 * KIB);
	CHECK_EQ(options.allow.count, 2);

	check_case("the command line has the last word");
	CHECK_EQ(parse_file("image = a\nqueues = 2\ndepth = 5\nallow-path = /\n"), 0);
	CHECK_EQ(parse("--queues", "3", "--config", "file.conf", "--allow-path=/tmp", NULL), 0);
	CHECK(strcmp(options.image, "a") == 0);
	CHECK_EQ(options.queues, 3);
	CHECK_EQ(options.depth, 5);
	CHECK_EQ(options.allow.count, 2);

	check_case("errors name file and line");
	CHECK_EQ(parse_file("image = a\nqueues = 0\n"), -EINVAL);
	CHECK_CONTAINS(why.text, "file.conf, line 2: --queues 0: must be from 1 to");
	CHECK_EQ(parse_file("\n\nimage a\n"), -EINVAL);
	CHECK_CONTAINS(why.text, "line 3: image a: not of the form");
	CHECK_EQ(parse_file("image =\n"), -EINVAL);
	CHECK_CONTAINS(why.text, "line 1: image: has no value");
	CHECK_EQ(parse_file("imag = a"), -EINVAL);
	CHECK_CONTAINS(why.text, "line 1: imag: no such option");
	CHECK_EQ(parse_file("--image = a"), -EINVAL);
	CHECK_EQ(parse_file("= a"), -EINVAL);
	CHECK_EQ(parse_file("read-only = true"), -EINVAL);
	CHECK_CONTAINS(why.text, "read-only = true: must be yes or no");
	CHECK_EQ(parse_file("queues = 2\n"), -EINVAL);
	CHECK_CONTAINS(why.text, "--image is missing");

	check_case("what is for once is not in a file");
	CHECK_EQ(parse_file("image = a\nabandon = yes\n"), -EINVAL);
	CHECK_CONTAINS(why.text, "abandon: is for the command line only");
	CHECK_EQ(parse_file("config = a\n"), -EINVAL);
	CHECK_EQ(parse_file("run = a\n"), -EINVAL);
	CHECK_EQ(parse_file("help = yes\n"), -EINVAL);

	check_case("files that are none");
	CHECK_EQ(parse("--config", "nothing", NULL), -ENOENT);
	CHECK_CONTAINS(why.text, "nothing: cannot be read");
	CHECK_EQ(parse("--config", "/", NULL), -EINVAL);
	CHECK_EQ(parse("--config", "/dev/null", NULL), -EINVAL);
	write_file("file.conf", nul, sizeof(nul) - 1);
	CHECK_EQ(parse("--config", "file.conf", NULL), -EILSEQ);
	large = malloc(65537);
	memset(large, '\n', 65537);
	write_file("file.conf", large, 65537);
	CHECK_EQ(parse("--config", "file.conf", NULL), -EFBIG);
	write_file("file.conf", large, 65536);
	CHECK_EQ(parse("--image=a", "--config", "file.conf", NULL), 0);
	free(large);
}

static void check_path(const char *instance, const char *path)
{
	char found[PATH_MAX];

	CHECK(instance_path(found, instance) == (path != NULL));
	if (path)
		CHECK(strcmp(found, path) == 0);
}

static void test_instance(void)
{
	char image[64], instance[64];

	check_case("paths as systemd-escape writes them");
	check_path("srv-vm.qcow2", "/srv/vm.qcow2");
	check_path("a\\x2db-c\\x20d\\xc3\\xa4", "/a-b/c d\xc3\xa4");
	check_path("", NULL);
	check_path("a\\x2", NULL);
	check_path("a\\y20", NULL);
	check_path("a\\x00", NULL);
	check_path("\\", NULL);

	check_case("an instance is a file's or an image's");
	options_folder = folder;
	write_file("vm.conf", "image = a\n", 10);
	CHECK_EQ(parse("--instance", "vm", NULL), 0);
	CHECK(strcmp(options.image, "a") == 0 && strcmp(options.name, "vm") == 0);
	write_file("vm.conf", "image = a\nname = b\n", 19);
	CHECK_EQ(parse("--instance", "vm", NULL), 0);
	CHECK(strcmp(options.name, "b") == 0);
	CHECK_EQ(parse("--instance", "vm", "--name=c", NULL), 0);
	CHECK(strcmp(options.name, "c") == 0);
	write_file("vm.conf", "image\n", 6);
	CHECK_EQ(parse("--instance", "vm", NULL), -EINVAL);
	CHECK_CONTAINS(why.text, "vm.conf, line 1");
	CHECK_EQ(parse("--instance", "nothing", NULL), -ENOENT);
	CHECK_CONTAINS(why.text, "nothing.conf nor /nothing");
	CHECK_EQ(parse("--instance", "../vm", NULL), -ENOENT);
	snprintf(image, sizeof(image), "%s/image", folder);
	write_file(image, "", 0);
	snprintf(instance, sizeof(instance), "tmp-test\\x2d%s-image",
		 folder + strlen("/tmp/test-"));
	CHECK_EQ(parse("--instance", instance, NULL), 0);
	CHECK(strcmp(options.image, image) == 0 && options.name == NULL && !options.config);
	unlink(image);
	unlink("vm.conf");
}

int main(void)
{
	if (!mkdtemp(folder) || chdir(folder))
		return 1;
	test_line();
	test_file();
	test_instance();
	free(options.text);
	free(options.path);
	unlink("file.conf");
	rmdir(folder);
	return check_end();
}
