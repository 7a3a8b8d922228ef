#!/bin/bash
# The control socket under a real systemd: the daemon's own, and one that was handed over.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
make_root
sock=/run/kanband/control.sock

# ask PATH [CURL OPTIONS…]
ask() {
	local path=$1
	shift
	curl -sS --max-time 60 --unix-socket "$sock" "$@" "http://kanband$path"
}
answers() { [[ $(ask /v1/status) == *"\"pid\":$(main_pid),"* ]]; }
inode() { stat -c %i "$sock"; }

# ── the daemon's own ──
timeout 120 systemctl start "$unit" || fail "start"
[[ $(stat -c '%F %a %U' "$sock") == "socket 660 $owner" ]] || fail "$(stat -c '%F %a %U' "$sock")"
answers || fail "no answer: $(ask /v1/status)"
ok "READY means that the control socket answers"
[[ $(ask /v1/boards/default/pause -X POST) == *'"by":"operator"'* ]] || fail "root may not pause"
[[ $(as_owner curl -sS --unix-socket "$sock" -X POST http://x/v1/boards/default/resume) == *'"paused":null'* ]] || fail "the owner may not resume"
# a member of the group: by setpriv, without an account
said=$(setpriv --reuid=65534 --regid="$owner" --clear-groups curl -sS --unix-socket "$sock" \
	-o /dev/null -w '%{http_code}' http://x/v1/leader)
[[ $said == 200 ]] || fail "a member of the group may not read: $said"
said=$(setpriv --reuid=65534 --regid="$owner" --clear-groups curl -sS --unix-socket "$sock" -X POST \
	-o /dev/null -w '%{http_code}' http://x/v1/drain)
[[ $said == 403 ]] || fail "a member of the group may drain: $said"
said=$(setpriv --reuid=65534 --regid=65534 --clear-groups curl -sS --unix-socket "$sock" http://x/v1/leader 2>&1 || true)
[[ $said == curl:* ]] || fail "anybody may connect: $said"
ok "root and $owner change things, the group reads, others cannot connect"
timeout 120 systemctl stop "$unit" || fail "stop"
[[ ! -e $sock ]] || fail "the socket is left"
ok "systemctl stop removes the socket"

# ── handed over ──
timeout 120 systemctl start kanband.socket || fail "start of kanband.socket"
[[ $(stat -c '%a %U %G' "$sock") == "660 $owner $owner" ]] || fail "$(stat -c '%a %U %G' "$sock")"
is ActiveState inactive || fail "the daemon is $(property ActiveState) already"
before=$(inode)
[[ $(ask /v1/leader) == *'"role":"owner"'* ]] || fail "nobody answers: $(ask /v1/leader)"
is ActiveState active || fail "not started by a connection"
answers || fail "another daemon answers"
ok "the first who connects starts the daemon, and gets his answer"

pid=$(main_pid)
grep -q "\"socket\": *\"$sock\"" "$root/kanban/.dispatcher.owner.json" || fail "$(cat "$root/kanban/.dispatcher.owner.json")"
task=$(add "who sees the socket")
wait_for 60 "no worker" has_worker "$task"
worker=$(worker_of "$task")
for fd in "/proc/$worker/fd/"*; do
	[[ $(readlink "$fd" || true) != socket:* ]] || fail "worker has $fd: $(readlink "$fd")"
done
! tr '\0' '\n' <"/proc/$worker/environ" | grep -q '^LISTEN_' || fail "worker has LISTEN_…"
ok "no worker has the socket, nor a variable about it"

timeout 120 systemctl restart "$unit" || fail "restart"
[[ $(main_pid) != "$pid" ]] || fail "no restart"
[[ $(inode) == "$before" ]] || fail "the socket is another one after a restart"
answers || fail "no answer after a restart"
[[ $(ask /v1/workers) == *"\"pid\":$worker,"* ]] || fail "the worker was not adopted: $(ask /v1/workers)"
[[ $(ask /v1/workers) == *'"child":false'* ]] || fail "$(ask /v1/workers)"
ok "a restart keeps the socket, and shows the adopted worker"

# A stop: whoever comes next starts it again.
touch "$home/release"
wait_for 60 "not done" task_is status "done" "$task"
timeout 120 systemctl stop "$unit" || fail "stop"
[[ -S $sock ]] || fail "a stop of the daemon took the manager's socket away"
[[ $(ask /v1/leader) == *'"role":"owner"'* ]] || fail "not started again"
ok "a stop of the daemon leaves the manager's socket, the next who asks starts it"

# Idle: no wake-ups because of a socket that nobody uses.
sleep_over() { [[ $(switches) == "$n" ]] || { n=$(switches) && return 1; }; }
switches() { awk '/^voluntary_ctxt/ { print $2 }' "/proc/$(main_pid)/status"; }
drop_in quiet 'WatchdogSec=0'
timeout 120 systemctl restart "$unit" || fail "restart"
answers || fail "no answer"
n=$(switches)
until sleep 5 && sleep_over; do ((SECONDS < 200)) || fail "it never sleeps for 5 s"; done
ok "after a request the daemon sleeps for 5 s without waking"

timeout 120 systemctl stop kanband.socket "$unit" || fail "stop of both"
[[ ! -e $sock ]] || fail "the socket is left"
ok "systemctl stop kanband.socket removes it"
