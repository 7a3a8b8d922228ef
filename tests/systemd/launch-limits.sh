#!/bin/bash
# The launcher `systemd`: what a worker may use, for all, for a pool and for a profile; what a
# manager refuses; and five hundred starts at once.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
. "$here/launch-lib.sh"
as_owner mkdir -p "$root/profiles/closed" "$root/profiles/odd-1_name"
cat >/etc/kanband/kanband.conf.d/60-limits.conf <<EOF
[kanband]
failure_limit = 1
max_in_progress = 1000
[worker]
memory_max = 256M
memory_high = 200M
memory_swap_max = 0
tasks_max = 64
cpu_weight = 50
cpu_quota = 150
io_weight = 70
runtime_max = 1h
nice = 5
oom_score_adjust = 300
[pool few]
profiles = closed odd-1_name
memory_max = 128M
memory_high = 100M
slice = kanban-few.slice
[profile closed]
memory_max = 64M
protect = strict
private_tmp = yes
devices = no
network = no
EOF
# What it finds, where it may always write.
cat >/usr/bin/test-worker <<'EOW'
#!/bin/bash
board=${HERMES_KANBAN_DB%/*}
echo "$HERMES_KANBAN_TASK $$" >>"$board/started"
{
	echo "nice $(nice)"
	echo "oom_score_adj $(cat /proc/self/oom_score_adj)"
	echo "cgroup $(tail -n 1 /proc/self/cgroup)"
	echo "home $( (: >"$HOME/written") 2>/dev/null && echo written || echo read-only)"
	echo "workspace $( (: >written) 2>/dev/null && echo written || echo read-only)"
	echo "tmp $([ -e /tmp/outside ] && echo shared || echo private)"
	echo "devices $([ -e /dev/host ] && echo all || echo few)"
	echo "network $(sed -n 's/:.*//p' /proc/net/dev | tr -d ' \n')"
} >"$board/seen.$HERMES_KANBAN_TASK.tmp"
mv "$board/seen.$HERMES_KANBAN_TASK.tmp" "$board/seen.$HERMES_KANBAN_TASK"
until [ -e "$HOME/release" ]; do sleep 0.05; done
exec kanbanctl complete
EOW
: >/tmp/outside
: >/dev/host
assign() { as_owner kanbanctl --root "$root" add --board default --assignee "$1" "$2" | grep -oE 't_[0-9a-f]{8}' | head -n 1; }
seen() { test -e "$root/seen.$1"; }
# has TASK PROPERTY=VALUE… : what the manager was told
has() {
	local task=$1 want shown
	shift
	shown=$(user show "$(unit_of "$task")")
	for want; do
		grep -qxF -- "$want" <<<"$shown" || fail "$want: $(grep "^${want%%=*}=" <<<"$shown")"
	done
}
# found TASK LINE… : what the worker found
found() {
	local task=$1 want
	shift
	for want; do
		grep -qE -- "^$want\$" "$root/seen.$task" || fail "$want: $(cat "$root/seen.$task")"
	done
}
none_left() { [[ -z $(user list-units --all --plain --no-legend "kanban-default-*") ]]; }
net=$(sed -n 's/:.*//p' /proc/net/dev | tr -d ' \n')

systemctl start "$unit" || fail "start"
plain=$(assign worker "plain") pool=$(assign odd-1_name "of the pool") closed=$(assign closed "closed")
for t in "$plain" "$pool" "$closed"; do wait_for 60 "no worker: $(db "select * from task_runs where task_id = '$t'")" seen "$t"; done
has "$plain" MemoryMax=268435456 MemoryHigh=209715200 MemorySwapMax=0 TasksMax=64 CPUWeight=50 CPUQuotaPerSecUSec=1.500000s \
	IOWeight=70 RuntimeMaxUSec=1h Nice=5 OOMScoreAdjust=300 Slice=kanban.slice ProtectSystem=no PrivateNetwork=no OOMPolicy=kill
found "$plain" "nice 5" "oom_score_adj 300" "cgroup .*/kanban.slice/kanban-default-$plain-r[0-9]*.service" \
	"home written" "workspace written" "tmp shared" "devices all" "network $net"
ok "each limit is a property of the unit, and holds"
has "$pool" MemoryMax=134217728 MemoryHigh=104857600 TasksMax=64 Slice=kanban-few.slice PrivateTmp=no
found "$pool" "cgroup .*/kanban.slice/kanban-few.slice/kanban-default-$pool-r[0-9]*.service" "home written"
has "$closed" MemoryMax=67108864 MemoryHigh=104857600 Slice=kanban-few.slice ProtectSystem=strict PrivateTmp=yes \
	PrivateDevices=yes PrivateNetwork=yes NoNewPrivileges=yes
found "$closed" "home read-only" "workspace written" "tmp private" "devices few" "network lo"
ok "a pool wins over [worker], a profile over the pool; protect, private_tmp, devices and network hold"
touch "$home/release"
for t in "$plain" "$pool" "$closed"; do wait_for 60 "not done" task_is status "done" "$t"; done
wait_for 60 "units are left: $(user list-units --all "kanban-default-*" | tail -n 5)" none_left
rm "$home/release"

# What the manager or the kernel refuses is no fault of the task.
user mask --runtime kanban-masked.slice >/dev/null 2>&1 || fail "mask"
printf '[worker]\nslice = kanban-masked.slice\n' >/etc/kanband/kanband.conf.d/70-masked.conf
systemctl reload "$unit"
task=$(add "refused")
wait_for 60 "not told" logged 'no worker can be started: the service manager refuses' -u "$unit"
wait_for 60 "it is not ready again" task_is status ready "$task" # written after it was told
task_is consecutive_failures 0 "$task" || fail "charged: $(db "select * from tasks where id = '$task'")"
rm /etc/kanband/kanband.conf.d/70-masked.conf
mkdir -p /run/systemd/user/kanban-.service.d
printf '[Service]\nBindPaths=/not/there:/nor/there\n' >/run/systemd/user/kanban-.service.d/broken.conf
user daemon-reload
systemctl reload "$unit"
cannot() { as_owner kanbanctl --root "$root" why "$task" | grep 'could not set the worker up'; }
wait_for 90 "not told" cannot
task_is consecutive_failures 0 "$task" || fail "charged: $(db "select * from tasks where id = '$task'")"
! grep "$task" "$root/started" || fail "it was started"
rm /run/systemd/user/kanban-.service.d/broken.conf
ok "a start that the manager refuses, or cannot set up, is charged to no task"

# A watchdog that an operator gave the workers.
printf '[Service]\nWatchdogSec=1\n' >/run/systemd/user/kanban-.service.d/watchdog.conf
user daemon-reload
killed() { [[ $(db "select json_extract(metadata, '\$.exit_kind') from task_runs where task_id = '$task' and outcome in ('crashed', 'gave_up')") == watchdog ]]; }
wait_for 90 "the watchdog: $(db "select outcome, error, metadata from task_runs where task_id = '$task'")" killed
rm /run/systemd/user/kanban-.service.d/watchdog.conf
user daemon-reload
ok "an end by the watchdog is told as such"

# What cannot be executed is the host's fault, too.
mv /usr/bin/test-worker /usr/bin/test-worker.away
printf '#!/not/there\n' >/usr/bin/test-worker
chmod 755 /usr/bin/test-worker
task=$(add "no interpreter")
unbegun() { as_owner kanbanctl --root "$root" why "$task" | grep 'ended at once with exit status 127'; }
wait_for 60 "not told" unbegun
task_is consecutive_failures 0 "$task" || fail "charged: $(db "select * from tasks where id = '$task'")"
mv /usr/bin/test-worker.away /usr/bin/test-worker
touch "$home/release"
wait_for 90 "it does not go on" task_is status "done" "$task"
rm "$home/release"
ok "a worker that cannot be executed is charged to no task"

# Five hundred at once.
cat >/usr/bin/test-worker <<'EOW'
#!/bin/sh
echo "$HERMES_KANBAN_TASK $$" >>"$HOME/started"
read -r line <"$HOME/wait"
exit 75
EOW
as_owner mkfifo "$home/wait"
as_owner touch "$home/started"
many=${KANBAND_STARTS:-200} # make torture: 500
db "with recursive n (i) as (select 1 union all select i + 1 from n where i < $many)
	insert into tasks (id, title, status, assignee, created_at, workspace_kind, priority)
	select printf('t_%08x', i), 'many ' || i, 'ready', 'worker', 1, 'scratch', 0 from n"
wait_for 120 "not all run: $(db "select status, count(*) from tasks group by 1")" working many $many
[[ $(wc -l <"$home/started") == "$many" && $(cut -d' ' -f1 "$home/started" | sort -u | wc -l) == "$many" ]] || fail "$(wc -l <"$home/started") starts"
[[ $(user list-units --plain --no-legend --state=running 'kanban-default-*' | wc -l) == "$many" ]] || fail "units: $(user list-units 'kanban-*' | tail -n 3)"
# The manager hears of them late: for longer than one question waits.
manager=$(property MainPID "user@$uid.service")
kill -STOP "$manager"
: >"$home/wait" # opened to write and closed: all read its end
sleep 5
kill -CONT "$manager"
# also one that opens it only now
limited() { : <>"$home/wait" && [[ $(db "select count(*) from task_runs where outcome = 'rate_limited'") == "$many" ]]; }
wait_for 120 "ends: $(db "select outcome, count(*) from task_runs group by 1")" limited
# a manager that is too slow has starts taken back, which are tried again: none of those ran
db "select '# ' || count(*) || ' taken back: ' || error from task_runs where outcome <> 'rate_limited' and task_id in (select id from tasks where title like 'many%') group by error"
[[ $(wc -l <"$home/started") == "$many" ]] || fail "some ran twice: $(db "select outcome, error, count(*) from task_runs group by 1, 2")"
[[ $(db "select sum(consecutive_failures) from tasks where title like 'many%'") == 0 ]] || fail "charged: $(db "select outcome, error, count(*) from task_runs group by 1, 2")"
wait_for 120 "units are left: $(user list-units --all "kanban-default-*" | tail -n 5)" none_left
ok "$many starts at once, and $many ends: nothing lost, nothing twice"
