#!/bin/bash
# The launcher `systemd` beside a service manager that starts anew, loses its bus, or is gone.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
. "$here/launch-lib.sh"

# A manager that starts itself anew while workers are started.
systemctl start "$unit" || fail "start"
for i in $(seq 12); do
	add "anew $i" >/dev/null
	((i % 4)) || user daemon-reexec
done
wait_for 60 "not all run: $(db "select title, status, last_failure_error from tasks")" working anew 12
user daemon-reexec
touch "$home/release"
wait_for 60 "not all done" number anew "done" 12
each_ran_once anew 12
rm "$home/release"
ok "a manager that is executed anew loses nothing and starts nothing twice"

# A way to the manager that is cut off: workers run on, and what could not be asked for is asked for
# again. What is killed is a relay before the bus, not the bus itself: systemd blocks for good when
# its own bus dies while it greets it (sd_bus_flush in manager_recheck_dbus, 252 as well as 257).
bus=/run/user/$uid/bus socket=/run/user/$uid/systemd/private
# shellcheck disable=SC2086  # may be two words
${CC:-cc} -O1 -o /usr/bin/test-relay "$here/relay.c" || fail "no relay"
relay() {
	rm -f "$bus"
	as_owner test-relay "$bus" "$bus.own" &
	wait_for 60 "no relay" test -S "$bus"
}
sever() {
	pkill -KILL -u "$owner" -x test-relay || fail "no relay to kill"
	wait "$!" || true
}
on_the_bus() { as_owner DBUS_SESSION_BUS_ADDRESS="unix:path=$bus" timeout 5 busctl --user --quiet status org.freedesktop.systemd1; }
wait_for 60 "the manager is not on its bus" on_the_bus # by itself: it would not come back to another
systemctl stop "$unit"
mv "$socket" "$socket.away"
mv "$bus" "$bus.own"
relay
wait_for 60 "the relay does not answer" on_the_bus
systemctl start "$unit" || fail "start behind a relay"
add "bus 0" >/dev/null
wait_for 60 "nothing is started through the relay" working bus 1
for i in $(seq 12); do
	add "bus $i" >/dev/null
	((i % 4)) && continue
	sever
	relay
done
wait_for 60 "not all run: $(db "select title, status, last_failure_error from tasks where title like 'bus%'")" working bus 13
sever
touch "$home/release"
wait_for 60 "not all done" number bus "done" 13
each_ran_once bus 13
rm "$home/release" "$bus"
mv "$bus.own" "$bus"
mv "$socket.away" "$socket"
ok "a way to the manager that is cut off loses nothing and starts nothing twice"

# A manager that is gone is the host's fault: nothing is counted, and it goes on when it is back.
systemctl stop "user@$uid.service"
task=$(add "waits for the manager")
told() { logged 'cannot reach the service manager' -u "$unit"; }
wait_for 60 "not told" told
task_is status ready "$task" && task_is consecutive_failures 0 "$task" || fail "charged: $(db "select status, consecutive_failures, last_failure_error from tasks where id = '$task'")"
systemctl start "user@$uid.service"
touch "$home/release"
wait_for 100 "it does not go on" task_is status "done" "$task"
task_is consecutive_failures 0 "$task" || fail "it was counted"
rm "$home/release"
ok "without its manager nothing is started and nothing is charged, until it is back"

# Without a manager of its own: told once, and by doctor, with what gives it one.
systemctl stop "$unit"
systemctl stop "user@$uid.service"
drop_in no-manager ExecStartPre=
systemctl start "$unit" || fail "start without a manager"
logged 'workers are started as children, without limits of their own:.*loginctl enable-linger' -u "$unit" || fail "no warning"
said=$(as_owner kanbanctl --root "$root" doctor || true)
grep -Eq '^warning +launcher: .*loginctl enable-linger' <<<"$said" || fail "doctor: $said"
task=$(add "a child")
wait_for 60 "no worker" has_worker "$task"
# a systemd without CAP_SYS_RESOURCE spares nobody
scores=$(cat "/proc/$(main_pid)/oom_score_adj" "/proc/$(worker_of "$task")/oom_score_adj" | xargs)
[[ $scores == "-500 0" || $scores == "0 0" ]] || fail "not the daemon alone is spared when memory is short: $scores"
touch "$home/release"
wait_for 60 "not done" task_is status "done" "$task"
grep -q '/kanban.slice/kanband.service$' "$home/cgroup.$task" || fail "in $(cat "$home/cgroup.$task")"
ok "without a manager workers are children, not spared as the daemon is (scores $scores); kanband warns, and doctor has the remedy"
