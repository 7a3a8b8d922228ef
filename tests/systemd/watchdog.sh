#!/bin/bash
# A daemon that stands still is ended by the watchdog and started again; its workers live.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
make_root
drop_in watchdog WatchdogSec=2 TimeoutAbortSec=2

systemctl start "$unit" || fail "start"
task=$(add "meanwhile")
wait_for 60 "no worker" has_worker "$task"
pid=$(main_pid)
# Three times as long as the watchdog waits: a daemon that is well is left alone.
until=$((SECONDS + 7))
passed() { ((SECONDS >= until)); }
wait_for 60 "time does not pass" passed
[[ $(main_pid) == "$pid" && $(property NRestarts) == 0 ]] || fail "a daemon that is well was ended"
ok "a daemon that turns pings"

kill -STOP "$pid"
wait_for 60 "a stopped daemon is not ended" dead "$pid"
wait_for 60 "not restarted" is NRestarts 1
wait_for 60 "not active again" is ActiveState active
logged 'Watchdog timeout' _PID=1 || fail "not by the watchdog"
ok "a stopped daemon is ended by the watchdog and started again"

worker=$(worker_of "$task")
alive "$worker" || fail "the watchdog ended the worker too"
touch "$home/release"
wait_for 60 "the new daemon does not see the worker's end" task_is status "done" "$task"
ok "the worker lives and is adopted"
