#!/bin/bash
# What is not restarted for ever, or not at all.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
make_root

printf '[kanband]\nno_such_key = 1\n' >/etc/kanband/kanband.conf.d/50-bad.conf
systemctl start "$unit" 2>/dev/null && fail "started with a bad configuration"
wait_for 60 "not failed" is ActiveState failed
is ExecMainStatus 78 || fail "exit status $(property ExecMainStatus), not 78"
is NRestarts 0 || fail "restarted $(property NRestarts) times"
logged '50-bad\.conf:2.*no_such_key' -u "$unit" || fail "the message does not name file, line and key"
ok "a bad configuration ends with 78, is not restarted, and is named"

rm /etc/kanband/kanband.conf.d/50-bad.conf
systemctl reset-failed "$unit"
is StartLimitBurst 5 && is StartLimitIntervalUSec 1min || fail "another start limit"
drop_in quick RestartSec=50ms '[Unit]' StartLimitIntervalSec=600
systemctl start "$unit" || fail "start"
deadline=$((SECONDS + 240))
until is ActiveState failed; do
	((SECONDS < deadline)) || fail "a crash loop goes on for ever"
	pid=$(main_pid)
	((pid == 0)) || kill -SEGV "$pid" 2>/dev/null || true
	sleep 0.05
done
(($(property NRestarts) <= 5)) || fail "$(property NRestarts) restarts"
is Result start-limit-hit || is Result core-dump || is Result signal || fail "result $(property Result)"
logged 'Start request repeated too quickly' _PID=1 || fail "the limit is not told"
ok "a crash loop stays down after $(property NRestarts) restarts"

systemctl reset-failed "$unit"
systemctl start "$unit" || fail "start after the limit"
ok "and starts again when told to"
