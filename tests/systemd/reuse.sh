#!/bin/bash
# The number of a dead worker is given to a stranger of the same account, with the launchers `systemd`
# and `command`: whatever becomes of the task, the stranger lives. once/pid_reuse has that of `fork`.
# test-timeout: 200
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/launch-lib.sh"
last=$(mktemp -d)/proc
mkdir "$last"
mount -t proc proc "$last" # what is at /proc/sys here cannot be written
last=$last/sys/kernel/ns_last_pid
echo 100 >"$last" || { echo "SKIP: numbers cannot be chosen here"; exit 77; }
systemctl start "user@$uid.service" || fail "no service manager of the account"

# take_number WORKER : it ends, and $stranger has its number; nobody was told so far
take_number() {
	local try
	kill -KILL "$1"
	wait_for 30 "the worker is not reaped" test ! -e "/proc/$1"
	for try in {1..500}; do
		echo $(($1 - 1)) >"$last"
		setpriv --reuid="$owner" --regid="$owner" --init-groups sleep 1000 &
		stranger=$!
		((stranger == $1)) && return
		kill -KILL "$stranger"
		wait "$stranger" 2>/dev/null || true
	done
	fail "the number $1 cannot be had in $try tries"
}
lives() { [[ $(sed 's/.*) //' "/proc/$stranger/stat" | cut -c1) == S ]] || fail "the stranger was met: $1"; }
begin() { # TITLE : sets $task and $worker
	task=$(add "$1")
	wait_for 60 "no worker of $1" has_worker "$task"
	worker=$(worker_of "$task")
	[[ $launcher != systemd || $(grep -a . "/proc/$worker/cgroup" | tail -n 1) == *"/kanban.slice/"* ]] || fail "it is no unit"
}
let_go() { [[ $(db "select count(*) from tasks where id = '$task' and worker_pid = $worker and status = 'running'") == 0 ]]; }

for launcher in systemd command; do
	printf '[worker]\nterminate_grace = 300ms\nlauncher = %s\n' $launcher >/etc/kanband/kanband.conf.d/60-launcher.conf
	[[ $launcher != command ]] || echo 'command = nice -n 1' >>/etc/kanband/kanband.conf.d/60-launcher.conf
	systemctl restart "$unit" || fail "restart with $launcher"
	for how in crash expired kill block archive cancel; do
		begin "$how $launcher"
		# no child of its, whose number it would have until it looks
		if [[ $launcher == command ]]; then
			systemctl restart "$unit" || fail "restart"
			systemctl reset-failed "$unit"
		fi
		kill -STOP "$(main_pid)"
		take_number "$worker"
		[[ $how != expired ]] ||
			db "begin immediate; update tasks set claim_expires = 1, started_at = started_at - 7200, max_runtime_seconds = 60
				where id = '$task'; update task_runs set claim_expires = 1, started_at = started_at - 7200 where task_id = '$task'; commit"
		kill -CONT "$(main_pid)"
		case $how in
		crash | expired) as_owner kanbanctl --root "$root" tick >/dev/null || fail "tick" ;;
		*) as_owner kanbanctl --root "$root" "$how" "$task" >/dev/null 2>&1 || true ;; # it may be over by now
		esac
		wait_for 60 "$how: the stranger's task is still said to run" let_go
		lives "$how"
		as_owner kanbanctl --root "$root" cancel "$task" >/dev/null 2>&1 || true
		lives "$how, then cancel"
	done
	begin "away $launcher"
	systemctl stop "$unit"
	take_number "$worker"
	systemctl start "$unit" || fail "start"
	wait_for 60 "away: the stranger's task is still said to run" let_go
	lives "an end while kanband was away"
	as_owner kanbanctl --root "$root" cancel "$task" >/dev/null 2>&1 || true
	lives "an end while kanband was away, then cancel"
	ok "$launcher: a stranger with the worker's number lives through crash, time-out, kill, block, archive, cancel and restart"
done
systemctl stop "$unit"
lives "the end"
