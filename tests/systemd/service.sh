#!/bin/bash
# The life of kanband.service: start, status, reload, stop.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
make_root

timeout 120 systemctl start "$unit" || fail "start"
is ActiveState active || fail "start returned in state $(property ActiveState)"
journalctl --sync
order=$(journalctl --no-pager -b -o cat _PID=1 + _COMM=kanband | grep -oE '^(Started kanband|owner of)' | tr '\n' ' ')
[[ $order == 'owner of Started kanband '* ]] || fail "started before it had a role: $order"
ok "systemctl start returns when the daemon is ready"

# it says at first that it is looking for boards
status_shown() {
	local text
	text=$(property StatusText)
	[[ $text && $text != *"looking for boards"* ]] && systemctl status --no-pager "$unit" | grep -qF "Status: \"$text\""
}
wait_for 60 "status does not show: $(property StatusText)" status_shown
ok "systemctl status tells: $(property StatusText)"

pid=$(main_pid)
[[ $(ps -o user= -p "$pid") == "$owner" ]] || fail "runs as $(ps -o user= -p "$pid")"
grep -q 'NoNewPrivs:.*1' "/proc/$pid/status" || fail "new privileges are allowed"
grep -q 'CapBnd:.*0000000000000000' "/proc/$pid/status" || fail "capabilities are left"
ok "the daemon runs as $owner, without privileges"

# A good reload. systemd's own debug log shows what was notified.
systemctl log-level debug
systemctl reload "$unit" || fail "reload"
wait_for 60 "no RELOADING=1 after a reload" logged 'RELOADING=1.*MONOTONIC_USEC=[0-9]+' _PID=1
wait_for 60 "not active after a reload" is ActiveState active
[[ $(main_pid) == "$pid" ]] || fail "a reload started another process"
systemctl log-level info
ok "systemctl reload sends RELOADING=1 with its time, and READY=1 after it"

# A bad one: the old configuration stays, and the journal says so.
printf '[kanband]\nno_such_key = 1\n' >/etc/kanband/kanband.conf.d/50-bad.conf
systemctl reload "$unit" || fail "reload with a bad file"
wait_for 60 "a failed reload is not told" logged 'no_such_key' \
	MESSAGE_ID=5f1c7b1d0c2e4f0d9a61f5f0a3c3d10c
wait_for 60 "not active after a failed reload" is ActiveState active
[[ $(main_pid) == "$pid" ]] || fail "a failed reload started another process"
task=$(add "after a failed reload")
touch "$home/release"
wait_for 60 "not dispatching after a failed reload" task_is status "done" "$task"
ok "a reload of a bad configuration is told and keeps the old one"
rm /etc/kanband/kanband.conf.d/50-bad.conf

# journald writes when it comes to it, and a reader that leaves early ends journalctl
found() { [[ $(journalctl --no-pager "$@" "KANBAN_TASK=$task") == *"$text"* ]]; }
text=$task
wait_for 60 "nothing for KANBAN_TASK=$task" found
text="started worker"
wait_for 60 "its start has no MESSAGE_ID" found -o cat MESSAGE_ID=5f1c7b1d0c2e4f0d9a61f5f0a3c3d106
text="A worker was started for $task"
wait_for 60 "no text of the catalog" found -x
ok "journalctl KANBAN_TASK=$task finds its lines, -x explains them"

db 'pragma journal_mode=wal' | grep -q wal || fail "no WAL"
db 'create table if not exists wal_test(x)'
task=$(add "in WAL mode")
wait_for 60 "a WAL board is not dispatched" task_is status "done" "$task"
timeout 120 systemctl stop "$unit" || fail "stop"
is Result success || fail "stopped with result $(property Result)"
[[ ! -s $root/kanban.db-wal ]] || fail "stop left $(stat -c %s "$root/kanban.db-wal") bytes in the WAL"
[[ $(db 'pragma integrity_check') == ok ]] || fail "integrity"
ok "systemctl stop leaves a checkpointed board"
