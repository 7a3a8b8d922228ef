/*
 * What holds for one board of one root, in plain values. Filled by config_settings(); the
 * strings are borrowed from the config, which outlives every job that was given them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A limit on what runs under some profiles, on some boards, or both. */
struct settings_pool {
	const char *name;
	int64_t limit;
	const char *const *profiles; /* NULL-terminated canonical names; empty: all */
	const char *const *boards;   /* NULL-terminated slugs; empty: all */
};

/* One entry of max_in_progress_per_profile where it is a map. */
struct settings_cap {
	const char *profile; /* canonical name */
	int64_t limit;
};

struct settings {
	/* dispatch */
	int64_t dispatch_interval_s;         /* full sweep; ≥ 1 */
	int64_t max_spawn;                   /* running tasks per board; -1 = no limit */
	int64_t max_in_progress;             /* all boards of this daemon; -1 = unset */
	int64_t max_in_progress_per_profile; /* of profiles that the map lacks; -1 = no limit */
	const struct settings_cap *profile_caps; /* the map */
	size_t n_profile_caps;
	const struct settings_pool *pools;
	size_t n_pools;
	unsigned pools_generation; /* another number for other pools */
	int64_t weight;          /* share of the places among boards of equal priority; ≥ 1 */
	int64_t failure_limit;   /* ≥ 1 */
	int64_t stale_timeout_s; /* dispatch_stale_timeout_seconds; ≤ 0 = off */
	const char *default_assignee;    /* or NULL */
	bool review_dispatch;            /* dispatch the review lane */
	bool auto_decompose;             /* decompose triage tasks */
	int64_t auto_decompose_per_tick; /* at most so many */
	bool profiles_limited;           /* dispatch_profiles is present */
	const char *const
		*dispatch_profiles; /* NULL-terminated, canonical names; may be empty */
	bool guard_check_pr_state;  /* respawn_guard_check_pr_state */
	bool reconcile_orphans;     /* reconcile_orphans */
	bool paused;                /* [board] paused = yes: found, not dispatched */
	/* timing */
	int64_t claim_ttl_s;           /* 900 */
	int64_t heartbeat_stale_s;     /* 3600 */
	int64_t reclaim_defer_s;       /* 120 */
	int64_t crash_grace_s;         /* 30; 0 allowed */
	int64_t rate_limit_cooldown_s; /* 300; 0 allowed */
	int64_t retry_backoff_s;       /* pause after a task's first failure, 60; 0 = none */
	int64_t retry_backoff_max_s;   /* and at most, 900 */
	int64_t busy_timeout_ms;       /* 120000 */
	int64_t checkpoint_interval_s; /* 300 */
	int64_t terminate_grace_ms;    /* SIGTERM → SIGKILL, 5000 */
	int64_t integrity_interval_s;  /* between checks of a sound board, 6 h */
	int64_t journal_mode;          /* enum db_mode: keep, wal, truncate, delete */
	int64_t repair_policy;         /* enum repair_policy: lossless, salvage, never */
	int64_t max_evidence_bytes;    /* of what is copied of a damaged board, 1 GiB */
	int64_t snapshot_interval_s;   /* 1 h; 0 = none are taken */
	int64_t snapshot_keep_hourly;  /* 24 */
	int64_t snapshot_keep_daily;   /* 7 */
	int64_t snapshot_max_bytes;    /* of one board, 1 GiB */
	const char *const *snapshot_command;     /* run after each, argv; or NULL */
	const char *const *snapshot_environment; /* secrets that it gets; or NULL */
	int64_t snapshot_command_timeout_ms;     /* 10 min */
	/* notifications */
	int64_t notify;             /* enum notify_mode: whose subscriptions are delivered */
	int64_t notify_concurrency; /* children that send at a time, 4 */
	int64_t notify_timeout_ms;  /* of one of them, 30000 */
	int64_t done_sub_retention_days; /* subscriptions of tasks that are over, 30; 0: for
					    ever */
	/* workers */
	int64_t worker_log_rotate_bytes; /* 2 MiB */
	int64_t worker_log_backup_count; /* 1 */
	const char *hermes;              /* $HERMES_BIN, [worker] hermes, or "hermes" */
	int64_t memory_max, memory_high, memory_swap_max; /* of one worker, bytes; −1 none */
	int64_t tasks_max, cpu_weight, io_weight, cpu_quota, runtime_max_s; /* −1 none */
	int64_t nice, oom_score_adjust;
	const char *slice;
	int64_t protect; /* enum launch_protect */
	bool private_tmp, devices, network;
	const char *const *pass_environment; /* NULL-terminated names, or NULL */
	const char *workspaces_root;         /* $HERMES_KANBAN_WORKSPACES_ROOT or NULL */
	const char *pinned_db;               /* $HERMES_KANBAN_DB or NULL */
	bool memory_guard;                   /* hold work back when memory is short */
};
