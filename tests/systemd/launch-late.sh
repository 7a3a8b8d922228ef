#!/bin/bash
# Starts that nobody waits for any more: a service manager that answers too late, and a kanband that
# is killed at any step between the claim and the record of the worker. Never two workers of a task.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
. "$here/launch-lib.sh"

# once_each TITLE N : as each_ran_once, but runs that no worker came of may be among them
once_each() {
	local of="task_id in (select id from tasks where title like '$1%')" twice
	[[ $(db "select count(*) from task_runs where $of and outcome = 'completed'") == "$2" ]] ||
		fail "runs: $(db "select outcome, error, count(*) from task_runs where $of group by 1, 2")"
	[[ $(db "select max(consecutive_failures) from tasks where title like '$1%'") == 0 ]] ||
		fail "counted: $(db "select outcome, error, metadata from task_runs where $of")"
	twice=$(sort "$home/started" | cut -d' ' -f1 | uniq -d)
	[[ ! $twice ]] || fail "started twice: $(grep "$twice" "$home/started"); $(db "select * from task_runs where task_id = '$twice'")"
}

# The manager stands still for longer than kanband waits: when it goes on, it comes to a start that
# was given up, and the same task is started anew.
touch "$home/release"
systemctl start "$unit" || fail "start"
manager=$(property MainPID "user@$uid.service")
kill -STOP "$manager"
add "late 1" >/dev/null
add "late 2" >/dev/null
gave_up() { [[ $(db "select count(*) from task_runs where ended_at is not null") -ge 2 ]]; }
wait_for 90 "it waits for ever" gave_up
kill -CONT "$manager"
wait_for 90 "not done: $(db "select title, status, last_failure_error from tasks")" number late "done" 2
once_each late 2
ok "a start that was given up is not made up for by a manager that comes to it later"

# kanband is killed meanwhile: its successor cannot know what the manager will do, and waits.
kill -STOP "$manager"
task=$(add "orphan")
claimed() { [[ $(db "select count(*) from task_runs where task_id = '$task' and worker_pid is null") == 1 ]]; }
wait_for 60 "not claimed" claimed
pid=$(main_pid)
kill -KILL "$pid"
wait_for 60 "not restarted" is_not MainPID "$pid"
wait_for 60 "not active" is ActiveState active
kill -CONT "$manager"
wait_for 90 "not done: $(db "select status, last_failure_error from tasks where id = '$task'")" task_is status "done" "$task"
once_each orphan 1
ok "nor one whose kanband is dead"
systemctl stop "$unit"

# At each of these calls after the claim kanband gets SIGKILL instead. It is started again without.
if ! strace -qq -o /dev/null true 2>/dev/null; then
	echo "strace may not trace here: no kill at each step"
	exit 0
fi
start_by_hand() { # LAUNCHER
	setpriv --reuid="$owner" --regid="$owner" --init-groups env HOME="$home" HERMES_BIN=/usr/bin/test-worker \
		XDG_RUNTIME_DIR="/run/user/$uid" HERMES_KANBAN_CRASH_GRACE_SECONDS=0 kanband \
		--config /etc/kanband/kanband.conf.d/50-test.conf --root "$root" --launcher "$1" --socket "$home/sock" 2>>/tmp/killed.log &
	pid=$!
}
# killed_at LAUNCHER CALL WHEN : of calls of that name the nth kills it
killed_at() {
	local title="kill $1 $2 $3" pid task tracer
	start_by_hand "$1"
	answers() { as_owner kanbanctl --root "$root" --socket "$home/sock" status | grep -q owner; }
	wait_for 30 "kanband does not answer: $(tail -n 3 /tmp/killed.log)" answers
	strace -f -qq -o /dev/null -p "$pid" -e trace="$2" -e inject="$2:signal=KILL:when=$3" 2>/tmp/strace.log &
	tracer=$!
	traced() { ! grep -q '^TracerPid:.0$' "/proc/$pid/status" || dead "$pid"; }
	wait_for 30 "not traced: $(cat /tmp/strace.log)" traced
	task=$(add "$title")
	# one that is traced to its end may stay a zombie as long as the tracer
	killed() { ! [[ $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) == [^ZX]* ]]; }
	over() { killed || { task_is status "done" "$task"; }; }
	wait_for 60 "neither killed nor done at $*: $(db "select * from task_runs where task_id = '$task'"), $(tail -n 20 /tmp/killed.log)" over
	if killed; then n=$((n + 1)); else survived+=" $2:$3"; fi
	kill -KILL "$pid" "$tracer" 2>/dev/null || true
	wait "$pid" "$tracer" 2>/dev/null || true
}
for launcher in systemd fork; do
	survived='' n=0
	if [[ $launcher == systemd ]]; then
		at="memfd_create:1 flock:1 sendmsg:1 sendmsg:2 sendmsg:3 sendmsg:4 recvmsg:4 recvmsg:8 pidfd_open:1 pidfd_send_signal:1"
	else
		at="prlimit64:1 pidfd_open:1 pwrite64:1 pwrite64:2 pwrite64:4 pwrite64:6"
	fi
	for one in $at; do killed_at $launcher "${one%:*}" "${one#*:}"; done
	start_by_hand "$launcher"
	all=$(wc -w <<<"$at")
	wait_for 90 "not all done: $(db "select title, status, last_failure_error from tasks where status <> 'done'")" number "kill $launcher" "done" "$all"
	once_each "kill $launcher" "$all"
	kill -TERM "$pid"
	wait "$pid" || fail "kanband ended with $?"
	((n > 1)) || fail "$launcher: killed $n times only"
	ok "$launcher: killed $n times between claim and record (not at$survived): each task has run once"
done
