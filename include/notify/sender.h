/*
 * How a message leaves: one child `hermes -p PROFILE send --to TARGET --file -`, the message on
 * its standard input. No shell, no descriptors but the three, a session of its own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "process/environ.h"
#include "util/error.h"
#include "util/job.h"

/* One message. Borrowed for the call of start(). */
struct notify_message {
	const char *profile; /* canonical name, or whatever stands in the row */
	const char *platform, *chat, *thread; /* @thread "" for none */
	const char *text;
};

enum notify_fate {
	NOTIFY_DELIVERED, /* exit 0 */
	NOTIFY_RETRY,     /* exit 1, killed, not started: worth trying again */
	NOTIFY_HOPELESS,  /* exit 2, or a name that no command line can carry */
};

struct notify_ending {
	enum notify_fate fate;
	char reason[256]; /* of the last two: one tidy line */
};

typedef void (*notify_ended_fn)(void *arg, const struct notify_ending *ending);

/* The seam: how a message is handed over. Loop thread. */
struct notify_sender {
	/**
	 * start() - send one; @done is called once, later, from the loop
	 * Return: 0 and a handle for kill(); -errno, then @done is not called.
	 */
	int (*start)(void *arg, const struct notify_message *m, notify_ended_fn done,
		     void *done_arg, void **handle);
	/* kill() - end it at once; @done still comes, as NOTIFY_RETRY with @reason */
	void (*kill)(void *arg, void *handle, const char *reason);
	void *arg;
};

struct sender;

/**
 * sender_new() - the real one
 * @root: kanban root
 * @hermes: the program: a name to look for on PATH, or a path
 * @environment: what children inherit; borrowed, must live as long as the sender
 * @loop, @jobs: borrowed
 * Return: 0 or -ENOMEM.
 */
MUST_CHECK int sender_new(struct sender **out, uv_loop_t *loop, struct jobs *jobs,
			  const char *root, const char *hermes,
			  const struct environment *environment);

/** sender_set_hermes() - after a reload. Return: 0 or -ENOMEM, then the old one stays. */
MUST_CHECK int sender_set_hermes(struct sender *s, const char *hermes);

/** sender_free() - no message is with it any more; takes NULL, returns NULL */
struct sender *sender_free(struct sender *s);
DEFINE_FREEP(struct sender, sender_free)

/** sender_seam() - start() and kill() of @s */
struct notify_sender sender_seam(struct sender *s);
