#!/bin/bash
# The number of a dead worker is given to a stranger, in a pid namespace where the next number can be
# chosen: whatever becomes of the task, the stranger lives.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ -z ${IN_NAMESPACE-} ]]; then
	unshare --pid --mount-proc --fork bash -c 'echo 100 >/proc/sys/kernel/ns_last_pid' 2>/dev/null ||
		{ echo "SKIP: no pid namespace whose numbers can be chosen"; exit 77; }
	state=$(mktemp -d "${TMPDIR:-/tmp}/kanband-reuse.XXXXXX")
	trap 'rm -rf "$state"' EXIT
	IN_NAMESPACE=$state unshare --pid --mount-proc --fork --kill-child "$0" "$@"
	exit
fi
state=$IN_NAMESPACE root=$IN_NAMESPACE/root
bin=$(realpath "${OUT:-build/${MODE:-release}}")
fail() {
	echo "not ok - $*"
	sed 's/^/# /' "$state/log"
	exit 1
}
trap 'echo "not ok - $0 line $LINENO: $BASH_COMMAND"' ERR
for name in $(env | sed -n 's/^\(HERMES_[A-Z_]*\)=.*/\1/p') NOTIFY_SOCKET WATCHDOG_USEC; do unset "$name"; done
export PATH="$bin:$PATH" HERMES_KANBAN_HOME="$root" HERMES_HOME="$root" HERMES_BIN="$state/hermes" XDG_RUNTIME_DIR="$state"
export HERMES_KANBAN_CRASH_GRACE_SECONDS=0
printf '#!/bin/sh\nexec sleep 1000\n' >"$HERMES_BIN"
chmod 755 "$HERMES_BIN"
printf '[kanband]\nmemory_guard = no\nmax_in_progress = 100\n[worker]\nterminate_grace = 100ms\n' >"$state/conf"
kanbanctl init "$root" >/dev/null
mkdir -p "$root/profiles/worker"
db() { sqlite3 -cmd '.timeout 10000' "$root/kanban.db" "$1"; }
once() { kanband --config "$state/conf" --root "$root" --launcher fork --once >>"$state/log" 2>&1 || fail "--once: $?"; }
wait_for() { # WHAT COMMAND…
	local n what=$1
	shift
	for ((n = 0; n < 500; n++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.05
	done
	fail "$what"
}
# begin TASK : sets $worker, which is no child of a daemon
begin() {
	db "insert into tasks (id, title, status, assignee, created_at, workspace_kind, max_runtime_seconds)
		values ('$1', '$1', 'ready', 'worker', 1, 'scratch', 3600)"
	once
	worker=$(db "select worker_pid from tasks where id = '$1' and worker_pid > 1")
	[[ $worker ]] || fail "no worker of $1"
}
# take_number : the worker ends, and $stranger has its number
take_number() {
	kill -KILL "$worker"
	wait_for "the worker is not reaped" test ! -e "/proc/$worker"
	for _ in {1..200}; do
		echo $((worker - 1)) >/proc/sys/kernel/ns_last_pid
		sleep 1000 &
		stranger=$!
		((stranger == worker)) && return
		kill -KILL "$stranger"
		wait "$stranger" 2>/dev/null || true
	done
	fail "the number $worker cannot be had"
}
reuse() { # TASK
	begin "$1"
	take_number
}
lives() { [[ $(sed 's/.*) //' "/proc/$stranger/stat" | cut -c1) == S ]] || fail "the stranger was met: $1"; }

reuse t_crashed
once
lives "crashed"
[[ $(db "select outcome from task_runs where task_id = 't_crashed' order by id limit 1") == crashed ]] || fail "its run: $(db "select * from task_runs")"
echo "ok - a worker that is gone has crashed, whoever has its number"

reuse t_expired
db "update tasks set claim_expires = 1 where id = 't_expired'"
once
lives "an expired claim"
reuse t_timeout
db "begin; update tasks set started_at = started_at - 7200, max_runtime_seconds = 60 where id = 't_timeout';
	update task_runs set started_at = started_at - 7200 where task_id = 't_timeout'; commit"
once
lives "max runtime"
reuse t_stale
db "begin; update tasks set started_at = started_at - 90000, last_heartbeat_at = started_at - 80000 where id = 't_stale';
	update task_runs set started_at = started_at - 90000 where task_id = 't_stale'; commit"
once
lives "a stale heartbeat"
[[ ! $(db "select id from tasks where status = 'running' and worker_pid = $worker") ]] || fail "t_stale still has it"
echo "ok - nor is the stranger met by an expired claim, max runtime, a stale heartbeat"

# A daemon that adopted the worker, and does not see its end before the number is another's.
for how in kill block archive cancel; do
	begin "t_$how"
	kanband --config "$state/conf" --root "$root" --launcher fork --socket "$state/sock" 2>>"$state/log" &
	kanband=$!
	adopted() { kanbanctl --root "$root" --socket "$state/sock" workers --json | grep "\"pid\": *$worker"; }
	wait_for "not adopted" adopted
	kill -STOP "$kanband"
	take_number
	kill -CONT "$kanband"
	kanbanctl --root "$root" --socket "$state/sock" "$how" "t_$how" >>"$state/log" 2>&1 || true
	left() { [[ ! $(db "select id from tasks where id = 't_$how' and status = 'running' and worker_pid = $worker") ]]; }
	wait_for "t_$how still has it" left
	lives "$how"
	kill -TERM "$kanband"
	wait "$kanband" || fail "kanband ended with $?"
	db "update tasks set status = 'blocked' where id = 't_$how' and status <> 'archived'"
	lives "$how, after the daemon's end"
done
echo "ok - nor by kill, block, archive and cancel"
