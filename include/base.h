/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every room may use: bytes, lists, assertions, messages. */
#ifndef BASE_H
#define BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define container_of(ptr, type, member) ((type *)(((char *)(ptr)) - offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* The unit of ublk descriptors and the smallest unit of guest and host I/O. */
#define SECTOR_SHIFT 9u
#define SECTOR_SIZE (1u << SECTOR_SHIFT)

/*
 * Three address spaces that must not be mixed.  A byte offset on the guest's disk and a byte
 * offset in a host file have a type each; an index of clusters is a plain integer whose name
 * ends in _cluster.
 */
struct guest {
	uint64_t byte;
};

struct host {
	uint64_t byte;
};

/* Nanoseconds of the clock that nobody sets. */
static inline uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline int64_t monotonic_ms(void)
{
	return (int64_t)(monotonic_ns() / NS_PER_MS);
}

/* Of poll(2), -1 is for ever: wait for no more than @ms, which may be over. */
static inline void timeout_lower(int *timeout_ms, int64_t ms)
{
	if (ms < 0)
		ms = 0;
	if (*timeout_ms < 0 || ms < *timeout_ms)
		*timeout_ms = (int)ms;
}

static inline int64_t monotonic_s(void)
{
	return (int64_t)(monotonic_ns() / NS_PER_S);
}

/* At least, unless a signal comes. */
static inline void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* @unit is a power of two. */
static inline uint64_t round_down(uint64_t value, uint64_t unit)
{
	return value & ~(unit - 1);
}

/* @unit is a power of two; the caller knows that value + unit - 1 does not overflow. */
static inline uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

static inline uint64_t div_round_up(uint64_t value, uint64_t unit)
{
	return value / unit + (value % unit != 0);
}

static inline bool is_aligned(uint64_t value, uint64_t unit)
{
	return (value & (unit - 1)) == 0;
}

/* --- on-disk integers: big-endian, of any alignment, useless without conversion ------------- */

struct be16 {
	uint8_t b[2];
};

struct be32 {
	uint8_t b[4];
};

struct be64 {
	uint8_t b[8];
};

static inline uint16_t be16_get(struct be16 v)
{
	return (uint16_t)((unsigned)v.b[0] << 8 | v.b[1]);
}

static inline uint32_t be32_get(struct be32 v)
{
	uint32_t raw;

	memcpy(&raw, v.b, sizeof(raw));
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap32(raw) : raw;
}

static inline uint64_t be64_get(struct be64 v)
{
	uint64_t raw;

	memcpy(&raw, v.b, sizeof(raw));
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(raw) : raw;
}

static inline struct be16 be16_make(uint16_t value)
{
	return (struct be16){ { (uint8_t)(value >> 8), (uint8_t)value } };
}

static inline struct be32 be32_make(uint32_t value)
{
	uint32_t raw = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap32(value) : value;
	struct be32 v;

	memcpy(v.b, &raw, sizeof(raw));
	return v;
}

static inline struct be64 be64_make(uint64_t value)
{
	uint64_t raw = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(value) : value;
	struct be64 v;

	memcpy(v.b, &raw, sizeof(raw));
	return v;
}

/* A big-endian word in memory that one thread may store while others load it. */
struct be64_atomic {
	_Atomic uint64_t raw;
};

static inline uint64_t be64_load(const struct be64_atomic *cell)
{
	uint64_t raw = atomic_load_explicit(&cell->raw, memory_order_acquire);

	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(raw) : raw;
}

static inline void be64_store(struct be64_atomic *cell, uint64_t value)
{
	uint64_t raw = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(value) : value;

	atomic_store_explicit(&cell->raw, raw, memory_order_release);
}

/* --- a doubly linked list; an unlinked node points at itself -------------------------------- */

struct list {
	struct list *next;
	struct list *prev;
};

static inline void list_init(struct list *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_add_tail(struct list *head, struct list *node)
{
	node->next = head;
	node->prev = head->prev;
	head->prev->next = node;
	head->prev = node;
}

static inline void list_add_head(struct list *head, struct list *node)
{
	list_add_tail(head->next, node);
}

static inline void list_del(struct list *node)
{
	node->next->prev = node->prev;
	node->prev->next = node->next;
	list_init(node);
}

/* Move all of @from to the end of @to. */
static inline void list_splice_tail(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_for_each(pos, head) \
	for (struct list *pos = (head)->next; pos != (head); pos = pos->next)

/* --- memory ---------------------------------------------------------------------------------- */

/*
 * Address space of zeros that gets memory page by page, where it is touched; NULL: there is none.
 * Any thread.  Ends with munmap().
 */
void *sparse_map(size_t bytes);

/*
 * Nobody needs what is in it: it has no memory any more and is zeros, unless it is locked, and stays as it
 * is.  Any thread.
 */
void sparse_return(void *memory, size_t bytes);

/* --- secrets --------------------------------------------------------------------------------- */

/*
 * Zeroed memory for keys: kept out of core dumps and of children, and out of swap where the
 * process may lock memory.  NULL when there is none.
 */
void *secret_alloc(size_t bytes);

/* Overwrite and free; @secret may be NULL. */
void secret_free(void *secret, size_t bytes);

/* --- assertions ------------------------------------------------------------------------------ */

/*
 * must() stays in release builds: a dead daemon is a device that can be taken over, a wrong
 * refcount is a lost disk.  debug_assert() is for what is too dear or too obvious for that.
 */
#define must(cond) ((cond) ? (void)0 : must_fail(#cond, __FILE__, __LINE__))
#ifdef NDEBUG
#define debug_assert(cond) ((void)sizeof(cond))
#else
#define debug_assert(cond) must(cond)
#endif

/* Print the condition, the flight recorder of this thread's lane if it has one, and abort. */
_Noreturn void must_fail(const char *cond, const char *file, int line);

/* Called by must_fail() before it aborts; set once by whoever has something to show. */
extern void (*must_fail_hook)(void);

/* --- messages -------------------------------------------------------------------------------- */

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Messages above this level are dropped.  Set before threads start. */
extern enum log_level log_threshold;

/* One line on standard error; any thread.  The text has no final full stop and no newline. */
void log_message(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_message(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_message(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_DEBUG, __VA_ARGS__)

/*
 * For what clients can make happen again and again: the first LOG_REPEATS of them are worth a line,
 * which may have to wait for its reader.  Any thread; *@told is 0 at first.
 */
#define LOG_REPEATS 16u
static inline bool log_is_worth(_Atomic uint32_t *told)
{
	return atomic_load_explicit(told, memory_order_relaxed) < LOG_REPEATS &&
	       atomic_fetch_add_explicit(told, 1, memory_order_relaxed) < LOG_REPEATS;
}

/*
 * Why a control-plane operation failed: one sentence that names the object, the cause and what
 * to do.  Written where both are known, printed once, at the edge.
 */
struct why {
	char text[512];
};

/*
 * Format the sentence, in one line, and return @err (a negative errno), so that callers can
 * `return why_set()`.
 */
int why_set(struct why *why, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
