#!/bin/bash
# A worker over its memory_max is ended as that, and nothing beside it is met: with the launcher
# `systemd`, and with `fork` where a control group with controllers is delegated to kanband.
# Wants the memory controller of cgroup v2: where this kernel has none, `make check-vm` shows it.
# test-timeout: 150
. "$(dirname "$0")/lib.sh"
grep -qw memory /sys/fs/cgroup/cgroup.controllers || {
	echo "SKIP: this kernel has no memory controller of cgroup v2; run: make check-vm"
	exit 77
}
install_kanband
make_root
cat >/etc/kanband/kanband.conf.d/50-memory.conf <<EOF
[kanband]
memory_guard = no
failure_limit = 1
[worker]
memory_max = 48M
memory_swap_max = 0
EOF
# One that goes on, and one whose child takes too much: what it has itself is little.
cat >/usr/bin/test-worker <<'EOW'
#!/bin/bash
echo $$ >"${HERMES_KANBAN_DB%/*}/pid.$HERMES_KANBAN_TASK"
case $HERMES_KANBAN_TASK in
*hungry*)
	sleep 1000 &
	echo $! >"${HERMES_KANBAN_DB%/*}/child.$HERMES_KANBAN_TASK"
	head -c 200M /dev/zero | tail -n 1 >/dev/null
	exit 0 ;;
esac
until [ -e "$HOME/release" ]; do sleep 0.1; done
exec kanbanctl complete
EOW
task() { db "insert into tasks (id, title, status, assignee, created_at, workspace_kind) values ('$1', '$1', 'ready', 'worker', 1, 'scratch')"; }
metadata() { db "select outcome || ' ' || json_extract(metadata, '\$.exit_kind') from task_runs where task_id = '$1' order by id limit 1"; }
over() { [[ $(metadata "$1") == "gave_up oom_kill" || $(metadata "$1") == "crashed oom_kill" ]]; }
at_work() { [[ -s $root/pid.$1 ]] && task_is status running "$1"; }
# shown LAUNCHER PID-OF-KANBAND : beside a worker that goes on
shown() {
	local launcher=$1 pid=$2 quiet=t_quiet_$1 hungry=t_hungry_$1 worker
	rm -f "$home/release"
	task "$quiet"
	wait_for 60 "no worker of $launcher" at_work "$quiet"
	worker=$(<"$root/pid.$quiet")
	task "$hungry"
	wait_for 90 "$launcher: $(db "select outcome, error, metadata from task_runs")" over "$hungry"
	task_is status blocked "$hungry" || fail "$launcher: it is $(db "select status from tasks where id = '$hungry'")"
	wait_for 30 "$launcher: a child of it lives" dead "$(<"$root/child.$hungry")"
	alive "$worker" && alive "$pid" || fail "$launcher: another was met"
	task_is status running "$quiet" || fail "$launcher: the other task is $(db "select status from tasks where id = '$quiet'")"
	touch "$home/release"
	wait_for 60 "$launcher: the other does not end" task_is status "done" "$quiet"
	ok "$launcher: a worker over its memory_max is oom_kill with all it started, the one beside it ends well"
}

systemctl start "user@$(id -u "$owner").service" || fail "no service manager of the account"
systemctl start "$unit" || fail "start"
shown systemd "$(main_pid)"
is NRestarts 0 || fail "kanband was restarted"
systemctl stop "$unit"

# As a manager that knows DelegateSubgroup= (systemd 254) starts it: below what is delegated.
group=/sys/fs/cgroup/delegated
mkdir "$group" "$group/kanband"
chown -R "$owner": "$group"
setfattr -n user.delegate -v 1 "$group" 2>/dev/null || setfattr -n trusted.delegate -v 1 "$group" 2>/dev/null || true
(
	echo "$BASHPID" >"$group/kanband/cgroup.procs"
	exec setpriv --reuid="$owner" --regid="$owner" --init-groups env HOME="$home" HERMES_BIN=/usr/bin/test-worker \
		HERMES_KANBAN_CRASH_GRACE_SECONDS=0 kanband --config /etc/kanband/kanband.conf --root "$root" --launcher fork \
		--socket "$root/sock" 2>/tmp/fork.log
) &
kanband=$!
shown fork "$kanband"
groups_left() { compgen -G "$group/kanban-*"; }
no_groups() { ! groups_left; }
wait_for 30 "groups are left: $(groups_left)" no_groups
kill "$kanband"
wait "$kanband" || fail "kanband ended with $?: $(tail -n 5 /tmp/fork.log)"
ok "fork: and its control groups are gone"
