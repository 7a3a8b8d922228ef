#!/bin/bash
# Workers go on over a stop, a crash and a restart of kanband, and are adopted.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
make_root

systemctl start "$unit" || fail "start"
task=$(add "a long one")
wait_for 60 "no worker" has_worker "$task"
worker=$(worker_of "$task")
alive "$worker" || fail "the worker $worker is not alive"
ok "a worker runs"

timeout 120 systemctl stop "$unit" || fail "stop"
alive "$worker" || fail "stop ended the worker"
task_is status running "$task" || fail "stop changed the task"
ok "systemctl stop leaves the worker and its task alone"

systemctl start "$unit" || fail "start after stop"
alive "$worker" || fail "start ended the worker"
pid=$(main_pid)
kill -KILL "$pid"
wait_for 60 "not restarted after SIGKILL" is_not MainPID "$pid"
wait_for 60 "not active after SIGKILL" is ActiveState active
alive "$worker" || fail "the end of the daemon ended the worker"
ok "a killed daemon is restarted, the worker lives"

timeout 120 systemctl restart "$unit" || fail "restart"
alive "$worker" || fail "restart ended the worker"
ok "systemctl restart leaves the worker alone"

other=$(add "a second one")
wait_for 60 "no second worker" task_is status running "$other"
touch "$home/release"
wait_for 60 "the adopted worker's task is not done" task_is status "done" "$task"
wait_for 60 "the second task is not done" task_is status "done" "$other"
wait_for 60 "the adopted worker does not end" dead "$worker"
[[ $(db "select count(*) from task_runs where task_id = '$task'") == 1 ]] ||
	fail "the adopted task ran more than once"
[[ $(db "select outcome from task_runs where task_id = '$task'") == completed ]] ||
	fail "its run ended as $(db "select outcome from task_runs where task_id = '$task'")"
ok "the adopted worker finishes its only run"

# The first was adopted, the second was a child; each end is told once, with an explanation.
for t in "$task" "$other"; do
	wait_for 60 "the end of $t is not in the journal" logged 'worker [0-9]+ .* after .*; last line: ' "KANBAN_TASK=$t"
	[[ $(journalctl --no-pager -b -o cat "KANBAN_TASK=$t" | grep -c 'worker .* after ') == 1 ]] || fail "the end of $t is told more than once"
done
[[ $(journalctl --no-pager -b -x "KANBAN_TASK=$other") == *"Subject: The worker of $other ended"*"kanbanctl --board default logs TASK"* ]] ||
	fail "no explanation: $(journalctl --no-pager -b -x "KANBAN_TASK=$other")"
ok "the journal tells each end once, with status, duration and last line, and explains it"

# As children of the dispatcher, in the unit that is opened for them. One that ends while nobody
# watches leaves nothing behind that tells how: it is no crash of the task.
rm "$home/release"
timeout 120 systemctl stop "$unit"
mkdir -p "/run/systemd/system/$unit.d"
cp "$top/systemd/kanband.service.d/fork.conf" "/run/systemd/system/$unit.d/"
systemctl daemon-reload
printf '[worker]\nlauncher = fork\n' >/etc/kanband/kanband.conf.d/50-fork.conf
systemctl start "$unit" || fail "start with launcher = fork"
task=$(add "dies unseen")
wait_for 60 "no third worker" has_worker "$task"
worker=$(worker_of "$task")
grep -q "/kanban.slice/kanband.service" "/proc/$worker/cgroup" || fail "no child: $(cat "/proc/$worker/cgroup")"
timeout 120 systemctl stop "$unit" || fail "second stop"
alive "$worker" || fail "the stop ended a child"
kill -KILL "$worker"
systemctl start "$unit" || fail "third start"
runs() { [[ $(db "select count(*) from task_runs where task_id = '$task'") == "$1" ]]; }
wait_for 60 "not started again" runs 2
task_is consecutive_failures 0 "$task" || fail "it was counted as a failure"
touch "$home/release"
wait_for 60 "never done" task_is status "done" "$task"
ok "a worker that ended unseen is not counted, its task runs again"
