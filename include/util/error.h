/* Errors, cleanup and ownership: the few macros that every module uses. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#define MUST_CHECK      __attribute__((warn_unused_result))
#define CLEANUP(fn)     __attribute__((cleanup(fn)))
#define PRINTF(fmt, va) __attribute__((format(printf, fmt, va)))

/* A result that is deliberately not looked at; say why beside it. */
#define IGNORE(call)                                                                           \
	do {                                                                                   \
		__typeof__(call) ignored_ = (call);                                            \
		(void)ignored_;                                                                \
	} while (0)

/* Give an owned pointer away: the local becomes NULL, its cleanup does nothing. */
#define STEAL(p)                                                                               \
	({                                                                                     \
		__typeof__(p) steal_ = (p);                                                    \
		(p) = NULL;                                                                    \
		steal_;                                                                        \
	})

/* The structure that has @ptr as its @member. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Define x_freep() for CLEANUP() from a destructor that takes NULL. */
#define DEFINE_FREEP(type, fn)                                                                 \
	static inline void fn##p(type **p)                                                     \
	{                                                                                      \
		fn(*p);                                                                        \
		*p = NULL;                                                                     \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
	*(void **)p = NULL;
}

#define ERROR_TEXT_MAX 768

/*
 * What went wrong, in a sentence for the operator: the thing, the reason, and where there is
 * one, the remedy. Jobs do not log: they fill one of these and the loop side reports it.
 */
struct error {
	int code;                  /* 0, -errno, or a positive outcome of the module */
	char text[ERROR_TEXT_MAX]; /* never NULL; "" when there is nothing to say */
	int cause;                 /* -errno that led to a positive @code, 0 not known */
};

#define ERROR_NULL                                                                             \
	{                                                                                      \
		0, "", 0                                                                       \
	}

/**
 * error_tidy() - make any bytes fit for a terminal, a log, a status line and JSON: one line of
 * valid UTF-8 without control and direction characters (each bad byte becomes '?')
 * @text: changed in place; if it fills @size - 1 bytes it was cut, and a half character at its
 *        end is dropped
 */
void error_tidy(char *text, size_t size);

/**
 * error_set() - record a failure
 * @e:    where to record it; NULL is allowed and records nothing
 * @code: -errno or a positive outcome; returned unchanged so callers can `return error_set(…)`
 * @fmt:  the sentence; over-long text is cut at ERROR_TEXT_MAX, never in the middle of a UTF-8
 *        character; it goes through error_tidy(). e->text may be among the arguments
 * Return: @code.
 */
int error_set(struct error *e, int code, const char *fmt, ...) PRINTF(3, 4);

/* The same; that it is @code which comes back is seen by whoever reads the caller, compilers
 * and analyzers among them. */
#define error_set(e, code, ...)                                                                \
	({                                                                                     \
		const int error_code_ = (code);                                                \
		(void)(error_set)((e), error_code_, __VA_ARGS__);                              \
		error_code_;                                                                   \
	})

/** error_cause() - note the -errno that leads to the positive outcome that is set next */
static inline void error_cause(struct error *e, int cause)
{
	if (e)
		e->cause = cause;
}

/**
 * error_prefix() - put context in front of a recorded failure ("board x: " …)
 * @e: as above
 * Return: e->code, 0 for NULL.
 */
int error_prefix(struct error *e, const char *fmt, ...) PRINTF(2, 3);

/**
 * error_errno() - error_set() with ": " and strerror appended
 * @code: a negative errno
 */
int error_errno(struct error *e, int code, const char *fmt, ...) PRINTF(3, 4);
