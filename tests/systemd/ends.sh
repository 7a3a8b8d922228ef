#!/bin/bash
# Nothing of a worker's tree is alive after its run: for each way a run ends, and for each launcher.
# The tree forks, forks twice, makes sessions, clears its environment, ignores SIGTERM, stops itself.
# test-timeout: 240
. "$(dirname "$0")/lib.sh"
install_kanband
make_root
uid=$(id -u "$owner")
systemctl start "user@$uid.service" || fail "no service manager of the account"

cat >/usr/bin/test-leaf <<'EOW'
#!/bin/bash
trap '' TERM HUP INT
echo $$ >>"$1"
case ${2-} in
stop) kill -STOP $$ ;;
child) (setsid env -i /usr/bin/test-leaf "$1" &) ;;
esac
exec /bin/sleep 1000
EOW
cat >/usr/bin/test-worker <<'EOW'
#!/bin/bash
list=${HERMES_KANBAN_DB%/*}/tree.$HERMES_KANBAN_TASK.$HERMES_KANBAN_RUN_ID
leaf=/usr/bin/test-leaf
trap '' TERM HUP INT
$leaf "$list" &
($leaf "$list" &)
(setsid $leaf "$list" &)
(env -i setsid $leaf "$list" &)
(env -i setsid $leaf "$list" child &)
$leaf "$list" stop &
(env -i setsid $leaf "$list" stop &)
echo $$ >>"$list"
until [ "$HERMES_KANBAN_TASK" = t_exited -a -e "$HOME/go" ]; do sleep 0.1; done
exit 3
EOW
chmod 755 /usr/bin/test-leaf /usr/bin/test-worker
ways="timed_out reclaimed blocked archived cancelled killed exited"
printf '[kanband]\nmax_in_progress = 100\nmemory_guard = no\nfailure_limit = 1\n[worker]\nterminate_grace = 300ms\n' >/etc/kanband/test.conf

sed 's|^\[worker\]|&\nlauncher = command\ncommand = nice -n 1|' /etc/kanband/test.conf >/etc/kanband/command.conf

# As in a container, or below DelegateSubgroup=: what is above us is ours.
delegated=/sys/fs/cgroup/delegated
mkdir -p "$delegated/kanband"
chown -R "$owner": "$delegated"

# Four dispatchers, each with a root and a launcher of its own; "group" is fork with groups.
launchers="fork group systemd command"
sql() { sqlite3 -cmd '.timeout 10000' "$home/$1/kanban.db" "$2"; }
ctl() { as_owner kanbanctl --root "$home/$1" --socket "$home/$1/sock" "${@:2}" >/dev/null || fail "kanbanctl ${*:2}"; }
for launcher in $launchers; do
	r=$home/$launcher
	as_owner mkdir -p "$r/profiles/worker"
	as_owner kanbanctl --root "$r" init >/dev/null
	for w in $ways; do
		sql $launcher "insert into tasks (id, title, status, assignee, created_at, workspace_kind, max_runtime_seconds)
			values ('t_$w', '$w', 'ready', 'worker', 1, 'scratch', iif('$w' = 'timed_out', 8, null))"
	done
	conf=test.conf
	[[ $launcher != command ]] || conf=command.conf
	(
		[[ $launcher != group ]] || echo "$BASHPID" >"$delegated/kanband/cgroup.procs"
		as_owner env HERMES_BIN=/usr/bin/test-worker HERMES_KANBAN_HOME="$r" HERMES_HOME="$r" HERMES_KANBAN_CRASH_GRACE_SECONDS=0 \
			kanband --config "/etc/kanband/$conf" --root "$r" --launcher "${launcher/group/fork}" --socket "$r/sock" 2>"/tmp/$launcher.log"
	) &
done

# tree LAUNCHER WAY : the processes of its first run
tree() { cat "$home/$1/tree.t_$2".* | sort -u; }
grown() { # 9: the worker, seven leaves, and the child of one
	local n
	n=$(ls "$home/$1/tree.t_$2".*) && [[ $(wc -l <"${n%%$'\n'*}") == 9 ]]
}
living() {
	local first p
	first=$(ls -v "$home/$1/tree.t_$2".* | head -n 1)
	for p in $(sort -u "$first"); do
		[[ -e /proc/$p/stat && $(sed 's/.*) //' "/proc/$p/stat" | cut -c1) != [ZX] ]] && echo "$p"
	done
	true
}
gone() { [[ -z $(living "$1" "$2") ]]; }
verbs=()
for launcher in $launchers; do
	for w in $ways; do wait_for 60 "no tree of $w with $launcher: $(cat /tmp/$launcher.log)" grown $launcher "$w"; done
	[[ $(living $launcher blocked | wc -l) == 9 ]] || fail "the tree does not live: $(living $launcher blocked)"
	stale="set claim_expires = 1, started_at = strftime('%s') - 7200, last_heartbeat_at = strftime('%s') - 7000"
	# in one transaction: a heartbeat from before its run began counts for nothing
	sql $launcher "begin immediate; update tasks $stale where id = 't_reclaimed';
		update task_runs $stale where task_id = 't_reclaimed'; commit"
	ctl $launcher tick
	# each waits for its worker's end, which ignores SIGTERM: side by side
	for verb in block:t_blocked archive:t_archived cancel:t_cancelled kill:t_killed; do
		ctl $launcher "${verb%:*}" "${verb#*:}" &
		verbs+=($!)
	done
done
for verb in "${verbs[@]}"; do wait "$verb"; done
touch "$home/go"
compgen -G "$delegated/kanban-*" >/dev/null || fail "no worker is in a group of its own: $(cat /tmp/group.log)"
for launcher in $launchers; do
	for w in exited timed_out reclaimed cancelled killed; do
		wait_for 30 "alive after $w with $launcher: $(sql $launcher 'select id, status, worker_pid from tasks')" gone $launcher $w
	done
	ok "$launcher: nothing is alive after exit, max runtime, reclaim, cancel and kill"
done
# The blocked one has two minutes from the end of its run: the row says that those are over, but in
# make torture, where the daemon's own clock does.
for launcher in $launchers; do
	[[ $(living $launcher blocked | wc -l) == 9 ]] || fail "blocked with $launcher: ended at once: $(living $launcher blocked)"
	[[ -z ${KANBAND_TORTURE-} ]] || continue
	sql $launcher "update task_runs set ended_at = ended_at - 150 where task_id = 't_blocked'"
	ctl $launcher tick
done
for launcher in $launchers; do
	for w in blocked archived; do wait_for 160 "alive after $w with $launcher" gone $launcher $w; done
	ok "$launcher: nothing is alive two minutes after its task was blocked or archived"
done
