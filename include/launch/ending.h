/*
 * How a worker ended: plain values, of whoever saw it.
 */
#pragma once

/* How a process ended, as far as it is known. */
enum ending_kind {
	ENDING_UNKNOWN,  /* it was not our child */
	ENDING_EXITED,   /* value = exit status */
	ENDING_SIGNALED, /* value = signal */
};

/* What ended it, where its launcher tells more than the kernel. */
enum ending_why {
	ENDING_BY_ITSELF,
	ENDING_OUT_OF_MEMORY, /* its own limit, or the host's memory */
	ENDING_OVER_TIME,     /* its runtime limit */
	ENDING_WATCHDOG,
	ENDING_UNBEGUN, /* it ended at once, as what cannot be executed does */
	ENDING_BY_HOST, /* the fault of where it ran: a node that failed, a job that was
			   preempted */
};

struct ending {
	enum ending_kind kind;
	int value;
	enum ending_why why;
};
