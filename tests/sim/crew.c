/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Seeds are dealt out to processes: one that dies, by a judge or a signal, names its seed. */
#include "crew.h"

#include "memory.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS 64u
#define HANG_MS 20000u /* of a processor; no seed takes nearly as long */
#define LAST_WORDS_BYTES (64 * KIB)

struct member {
	pid_t pid; /* 0: not running */
	int words; /* file of its standard error */
	uint64_t seed; /* when last looked at */
	uint64_t since; /* ms of processor time that it had used by then */
};

struct crew {
	const struct crew_options *options;
	struct finding *finding;
	struct shared {
		struct tally tally[MAX_JOBS];
		_Atomic uint64_t next; /* seed to be dealt */
		_Atomic bool stop;
	} * shared;
	struct member member[MAX_JOBS];
	unsigned jobs;
	unsigned running;
	uint64_t started; /* ms */
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static _Noreturn void work(struct crew *crew, unsigned id)
{
	struct tally *tally = &crew->shared->tally[id];
	struct life_options options = { .qemu_check_every = crew->options->qemu_check_every,
					.aims = crew->options->aims,
					.tally = tally };
	uint64_t last = crew->options->seeds > UINT64_MAX - crew->options->first ?
				UINT64_MAX :
				crew->options->first + crew->options->seeds;
	int words = crew->member[id].words;

	dup2(words, STDERR_FILENO);
	lives_init(&options);
	while (!crew->shared->stop) {
		uint64_t seed = crew->shared->next++;

		if (seed >= last)
			break;
		if (lseek(STDERR_FILENO, 0, SEEK_CUR) > 0) {
			lseek(STDERR_FILENO, 0, SEEK_SET);
			if (ftruncate(STDERR_FILENO, 0))
				break;
		}
		tally->seed = seed;
		lives_run(seed);
		tally->seeds++;
	}
	_exit(0);
}

static void spawn(struct crew *crew, unsigned id)
{
	struct member *member = &crew->member[id];
	FILE *words = tmpfile();

	if (!words || (member->words = dup(fileno(words))) < 0) {
		perror("tmpfile");
		exit(1);
	}
	fclose(words);
	fflush(stdout);
	member->pid = fork();
	if (member->pid == 0)
		work(crew, id);
	if (member->pid < 0) {
		perror("fork");
		exit(1);
	}
	member->since = 0;
	member->seed = 0;
	crew->running++;
}

/* The first line of what it said that is not a log line of the engine's. */
static void first_words(struct finding *finding, char *text)
{
	char *save = NULL, *line = strtok_r(text, "\n", &save);
	static const char noise[] = "qcow2-ublkd: ";

	while (line && !strncmp(line, noise, sizeof(noise) - 1) && !strstr(line, "must hold"))
		line = strtok_r(NULL, "\n", &save);
	if (!line)
		return;
	if (!strncmp(line, noise, sizeof(noise) - 1))
		line += sizeof(noise) - 1;
	snprintf(finding->message, sizeof(finding->message), "%.190s", line);
}

static void found(struct crew *crew, unsigned id, int status, bool hung)
{
	uint64_t seed = crew->shared->tally[id].seed;
	struct finding *finding = crew->finding;
	static char text[LAST_WORDS_BYTES];
	ssize_t n = pread(crew->member[id].words, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	if (!crew->options->quiet && (crew->options->keep_going || !finding->found)) {
		fprintf(stderr, "\n=== seed %" PRIu64 "%s ===\n%s", seed, hung ? " hangs" : "",
			text);
		if (WIFSIGNALED(status))
			fprintf(stderr, "killed by signal %d\n", WTERMSIG(status));
		fprintf(stderr, "again: %s --seed %" PRIu64 "%s%s --trace\n",
			crew->options->program, seed, crew->options->mutant ? " --mutant " : "",
			crew->options->mutant ? crew->options->mutant : "");
	}
	if (finding->found)
		return;
	finding->found = true;
	finding->seed = seed;
	if (hung || WIFSIGNALED(status))
		snprintf(finding->message, sizeof(finding->message), "%s %d",
			 hung ? "hangs, signal" : "signal", WTERMSIG(status));
	first_words(finding, text);
}

static void reap(struct crew *crew, pid_t pid, int status)
{
	for (unsigned id = 0; id < crew->jobs; id++) {
		struct member *member = &crew->member[id];

		if (member->pid != pid)
			continue;
		member->pid = 0;
		crew->running--;
		if (status != 0)
			found(crew, id, status, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		close(member->words);
		if (status != 0 && crew->options->keep_going && !crew->shared->stop)
			spawn(crew, id);
		else if (status != 0)
			crew->shared->stop = true;
	}
}

/* Its own, without qemu-img's: a busy machine makes nobody look stuck. */
static uint64_t processor_ms(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used))
		return 0;
	return (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
}

/* A member that stays with one seed for ever is stuck in a loop. */
static void kill_hung(struct crew *crew)
{
	for (unsigned id = 0; id < crew->jobs; id++) {
		struct member *member = &crew->member[id];
		uint64_t seed = crew->shared->tally[id].seed;
		uint64_t now = member->pid ? processor_ms(member->pid) : 0;

		if (member->pid && member->seed == seed && now > member->since + HANG_MS)
			kill(member->pid, SIGKILL);
		if (member->seed != seed) {
			member->seed = seed;
			member->since = now;
		}
	}
}

static void wait_for_all(struct crew *crew)
{
	while (crew->running) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0) {
			reap(crew, pid, status);
			continue;
		}
		usleep(2000);
		kill_hung(crew);
		if (crew->options->seconds &&
		    now_ms() - crew->started >= crew->options->seconds * 1000)
			crew->shared->stop = true;
	}
}

static void sum_up(struct crew *crew)
{
	struct finding *finding = crew->finding;

	for (unsigned id = 0; id < crew->jobs; id++) {
		const struct tally *tally = &crew->shared->tally[id];

		finding->tally.seeds += tally->seeds;
		finding->tally.lives += tally->lives;
		finding->tally.cuts += tally->cuts;
		finding->tally.kills += tally->kills;
		finding->tally.requests += tally->requests;
		finding->tally.qemu_checks += tally->qemu_checks;
	}
	finding->milliseconds = now_ms() - crew->started;
}

void crew_run(const struct crew_options *options, struct finding *finding)
{
	struct crew crew = { .options = options, .finding = finding, .started = now_ms() };
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	*finding = (struct finding){ 0 };
	crew.jobs = options->jobs ? options->jobs : (unsigned)(processors > 0 ? processors : 1);
	crew.jobs = crew.jobs < MAX_JOBS ? crew.jobs : MAX_JOBS;
	crew.shared = mmap(NULL, sizeof(*crew.shared), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (crew.shared == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	crew.shared->next = options->first;
	for (unsigned id = 0; id < crew.jobs; id++)
		spawn(&crew, id);
	wait_for_all(&crew);
	sum_up(&crew);
	munmap(crew.shared, sizeof(*crew.shared));
}
