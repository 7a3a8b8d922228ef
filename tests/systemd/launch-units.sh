#!/bin/bash
# The launcher `systemd`: workers as units of the account's own service manager.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
. "$here/launch-lib.sh"

systemctl start "$unit" || fail "start"
task=$(add 'a "plain" one')
wait_for 60 "no worker" has_worker "$task"
wait_for 60 "it did not write" test -s "$home/argv.$task"
grep -q "user@$uid.service/kanban.slice/$(unit_of "$task")" "$home/cgroup.$task" || fail "in $(cat "$home/cgroup.$task")"
user is-active -q "$(unit_of "$task")" || fail "no such unit"
[[ $(worker_of "$task") == $(user show --value -p MainPID "$(unit_of "$task")") ]] || fail "another process"
grep -qx "work kanban task $task" "$home/argv.$task" || fail "arguments: $(cat "$home/argv.$task")"
given=$(tr '\0' '\n' <"/proc/$(main_pid)/environ" | grep '^ODD=')
[[ $(grep '^ODD=' "$home/environ.$task") == "$given" ]] || fail "environment: $(grep '^ODD=' "$home/environ.$task"), not $given"
grep -Eq '^(NOTIFY_SOCKET|INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_EXEC_PID|OTHER_API_KEY)=' "$home/environ.$task" && fail "it inherits service variables or secrets"
user show "$(unit_of "$task")" | grep -q "50%" && fail "its environment is to be read off the unit"
ok "a worker is a unit of the account's manager, with its arguments and environment byte for byte"
touch "$home/release"
wait_for 60 "not done" task_is status "done" "$task"
wait_for 60 "its unit is not collected: $(user list-units --all 'kanban-*')" no_units
rm "$home/release"
ok "and is forgotten when it is done"

# Who works, and what each uses: the daemon's answer, so that whoever may ask it sees it.
task=$(add "seen")
wait_for 60 "no worker" has_worker "$task"
seen() { as_owner kanbanctl --json workers >/tmp/workers && sqlite3 -bail :memory: "select w.value ->> 'title', w.value ->> 'profile', w.value ->> 'unit',
	w.value ->> 'memory' > 0, w.value ->> 'cpu_s' >= 0, w.value ->> 'tasks' > 0
	from json_each(cast(readfile('/tmp/workers') as text), '\$.workers') w where w.value ->> 'task' = '$task'"; }
shows() { [[ $(seen) == "seen|worker|$(unit_of "$task")|1|1|1" ]]; }
wait_for 30 "seen: $(seen)" shows
[[ $(as_owner kanbanctl workers) == *"$(unit_of "$task")"* ]] || fail "not shown: $(as_owner kanbanctl workers)"
said=$(user status --no-pager kanban.slice) || true
[[ $said == *"$(unit_of "$task")"* ]] || fail "status kanban.slice: $said"
touch "$home/release"
wait_for 60 "not done" task_is status "done" "$task"
rm "$home/release"
ok "kanbanctl workers tells each one's title, profile, unit, memory, CPU and tasks; status kanban.slice tells its unit, too"

# Where an operator has the units write into the journal, logs finds it there.
mkdir -p /run/systemd/user/kanban-.service.d
printf '[Service]\nStandardOutput=journal\nStandardError=journal\n' >/run/systemd/user/kanban-.service.d/journal.conf
user daemon-reload
sed -i '2i echo "written by $HERMES_KANBAN_TASK"' /usr/bin/test-worker
task=$(add "into the journal")
wait_for 60 "no worker" has_worker "$task"
in_journal() { kanbanctl --root "$root" logs "$task" | grep -qx "written by $task"; }
wait_for 30 "logs: $(kanbanctl --root "$root" logs "$task" 2>&1), journal: $(journalctl -o cat | grep -c "written by $task")" in_journal
touch "$home/release"
wait_for 60 "not done" task_is status "done" "$task"
in_journal || fail "not told after its end"
rm "$home/release" /run/systemd/user/kanban-.service.d/journal.conf
user daemon-reload
ok "kanbanctl logs reads what a unit wrote into the journal"

# Twenty of them, and the dispatcher comes and goes.
for i in $(seq 20); do add "number $i" >/dev/null; done
wait_for 60 "not all run" working number 20
for i in $(seq 10); do
	timeout 60 systemctl restart "$unit" || fail "restart $i"
	pid=$(main_pid)
	kill -KILL "$pid"
	wait_for 60 "not restarted after SIGKILL $i" is_not MainPID "$pid"
	wait_for 60 "not active after SIGKILL $i" is ActiveState active
	systemctl reset-failed "$unit"
done
touch "$home/release"
wait_for 100 "not all done" number number "done" 20
each_ran_once number 20
wait_for 120 "units are left: $(user list-units --all 'kanban-*')" no_units # what ended unseen and well, by a sweep
rm "$home/release"
ok "20 workers go through ten restarts and ten SIGKILLs: each ran once and is done"

# Ends that nobody saw.
one=$(add "exit 3") two=$(add "signal TERM") three=$(add "exit 75")
for t in "$one" "$two" "$three"; do wait_for 60 "no worker" has_worker "$t"; done
kill -KILL "$(main_pid)"
systemctl stop "$unit"
touch "$home/go"
sleeping() { [[ -z $(user list-units --plain --no-legend --state=running 'kanban-*') ]]; }
wait_for 60 "they do not end" sleeping
rm -f "$home/go"
systemctl start "$unit" || fail "start"
for t in "$one" "$two" "$three"; do wait_for 60 "the end of $t is not booked" ended "$t"; done
[[ $(metadata "$one") == "crashed nonzero_exit 3" ]] || fail "exit 3: $(metadata "$one")"
[[ $(metadata "$two") == "crashed signaled 15" ]] || fail "SIGTERM: $(metadata "$two")"
[[ $(db "select outcome from task_runs where task_id = '$three' order by id limit 1") == rate_limited ]] || fail "exit 75: $(db "select outcome from task_runs where task_id = '$three'")"
ok "what ended while kanband was away is booked as it was"
touch "$home/go"
systemctl stop "$unit"

# --once in a unit of its own, which is over when it has started what is due.
systemctl stop "$unit"
task=$(add "by --once")
systemd-run --quiet --wait --unit=once-test --property=User="$owner" --property=EnvironmentFile=/etc/kanband/environment \
	/usr/bin/kanband --once --root "$root" || fail "--once: $(journalctl -b -u once-test -o cat | tail -n 3)"
[[ $(property ActiveState once-test.service) == inactive ]] || fail "it is not over"
worker=$(worker_of "$task")
[[ $worker ]] && alive "$worker" || fail "its worker ended with it"
touch "$home/release"
wait_for 60 "not done" task_is status "done" "$task"
rm "$home/release"
ok "a worker that --once started outlives the unit that ran it"
systemctl start "$unit"

# Over its limit of time, and where it may not write.
printf '[worker]\nruntime_max = 1\nprotect = strict\n' >/etc/kanband/kanband.conf.d/60-limits.conf
systemctl reload "$unit"
task=$(add "tries to write")
wait_for 60 "not ended" ended "$task"
[[ $(metadata "$task") == "crashed timeout 15" ]] || fail "runtime_max: $(metadata "$task")"
[[ ! -s $home/argv.$task ]] || fail "protect = strict let it write in the home folder"
ok "runtime_max ends a worker, protect = strict holds it to its workspace"
