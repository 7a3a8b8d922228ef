#!/bin/bash
# Nothing of a job's tree is alive after its run, however that ends, with the process tracking of
# Slurm that knows ancestors only. The tree forks, forks twice, makes sessions, clears its
# environment and all marks, ignores SIGTERM, stops itself. kanband has a pid namespace of its own,
# so that it sees nothing of the nodes, as if they were other machines.
# test-timeout: 200
. "$(dirname "$0")/lib.sh"

cat >"$state/leaf" <<'EOW'
#!/bin/bash
trap '' TERM HUP INT
ulimit -S -x unlimited
echo $$ >>"$1"
case ${2-} in
stop) kill -STOP $$ ;;
child) (setsid env -i "$0" "$1" &) ;;
esac
exec /bin/sleep 1000
EOW
cat >"$HERMES_BIN" <<'EOW'
#!/bin/bash
state=${HERMES_BIN%/*} leaf=${HERMES_BIN%/*}/leaf
list=$state/tree.$HERMES_KANBAN_TASK.$HERMES_KANBAN_RUN_ID
trap '' TERM HUP INT
"$leaf" "$list" &
("$leaf" "$list" &)
(setsid "$leaf" "$list" &)
(env -i setsid "$leaf" "$list" &)
(env -i setsid "$leaf" "$list" child &)
"$leaf" "$list" stop &
(env -i setsid "$leaf" "$list" stop &)
echo $$ >>"$list"
until [[ -e $state/go ]]; do sleep 0.1; done
case $HERMES_KANBAN_TASK in
t_exited) exit 3 ;;
t_died) kill -SEGV $$ ;;
t_done) exec kanbanctl complete --summary "done" ;;
esac
until false; do sleep 0.1; done
EOW
chmod 755 "$state/leaf" "$HERMES_BIN"
kanbanctl init "$root" >/dev/null
mkdir -p "$root/profiles/ada"
cat >"$state/kanband.conf" <<EOF
[kanband]
max_in_progress = 20
failure_limit = 1
dispatch_interval_seconds = 5
[worker]
launcher = slurm
terminate_grace = 4s
EOF
sql() { sqlite3 -cmd '.timeout 20000' "$root/kanban.db" "$1"; }
ways="timed_out reclaimed blocked archived cancelled killed exited died done deserted"
for w in $ways; do
	sql "insert into tasks (id, title, status, assignee, created_at, workspace_kind, max_runtime_seconds)
		values ('t_$w', '$w', 'ready', 'ada', 1, 'scratch', iif('$w' = 'timed_out', 15, null))"
done
HERMES_KANBAN_CRASH_GRACE_SECONDS=0 unshare --pid --fork --kill-child --mount-proc \
	kanband --config "$state/kanband.conf" --root "$root" --socket "$state/sock" 2>"$state/kanband.log" &
kanband=$!
child() { inner=$(pgrep -P "$kanband" -x kanband) && kanbanctl --root "$root" --socket "$state/sock" workers; }
wait_for 20 "kanband does not answer" child
ctl() { nsenter --target "$inner" --pid --mount kanbanctl --root "$root" --socket "$state/sock" "$@" >>"$state/ctl" 2>&1 || fail "kanbanctl $*: $(tail -n 3 "$state/ctl")"; }
grown() { # 9: the worker, seven leaves, and the child of one
	local n
	n=$(ls "$state/tree.t_$1".*) && [[ $(wc -l <"$n") == 9 ]]
}
living() { # WAY : what is alive of its first run
	local p
	while read -r p; do
		[[ -e /proc/$p/stat && $(sed 's/.*) //' "/proc/$p/stat" | cut -c1) != [ZX] ]] && echo "$p"
	done <"$(ls -v "$state/tree.t_$1".* | head -n 1)"
	true
}
gone() { [[ ! $(living "$1") ]]; }
for w in $ways; do wait_for 60 "no tree of $w" grown "$w"; done
[[ $(living blocked | wc -l) == 9 ]] || fail "the tree does not live: $(living blocked)"

stale="set claim_expires = 1, started_at = strftime('%s') - 7200, last_heartbeat_at = strftime('%s') - 7000"
sql "begin immediate; update tasks $stale where id = 't_reclaimed';
	update task_runs $stale where task_id = 't_reclaimed'; commit"
ctl tick
verbs=()
for verb in block:t_blocked archive:t_archived cancel:t_cancelled kill:t_killed; do
	ctl "${verb%:*}" "${verb#*:}" &
	verbs+=($!)
done
for verb in "${verbs[@]}"; do wait "$verb"; done
# of one the node's end goes away, as if slurmstepd had crashed
job=$(squeue --noheader --name="kanban-default-t_deserted-r$(sql "select current_run_id from tasks where id = 't_deserted'")" --format=%A)
kill -KILL "$(pgrep -f "^slurmstepd: \[$job\.batch\]")"
touch "$state/go"
for w in timed_out reclaimed cancelled killed exited died "done" deserted; do
	wait_for 60 "alive after $w: $(living "$w" | xargs)" gone "$w"
done
ok "nothing is alive after max runtime, reclaim, cancel, kill, exit, a signal, completion, and without slurmstepd"
[[ $(living blocked | wc -l) == 9 ]] || fail "blocked: ended at once: $(living blocked)"
sql "update task_runs set ended_at = ended_at - 150 where task_id in ('t_blocked', 't_archived')"
ctl tick
for w in blocked archived; do wait_for 60 "alive after $w: $(living "$w")" gone "$w"; done
ok "nothing is alive two minutes after its task was blocked or archived"

is() { # WAY QUERY ANSWER
	[[ $(sql "select $2 from task_runs r where task_id = 't_$1' order by id limit 1") == "$3" ]] ||
		fail "$1: $(sql "select * from task_runs where task_id = 't_$1'")"
}
ended() { [[ $(sql "select count(*) from task_runs where ended_at is null and task_id in ('t_exited', 't_died', 't_done')") == 0 ]]; }
wait_for 30 "they are not recorded" ended
is exited "error like '%exited with code 3%'" 1
is died "error like '%killed by signal 11%'" 1
is "done" outcome completed
ok "the job ends as its worker did"
kill -TERM "$inner"
wait "$kanband" || fail "kanband ended with $?"
