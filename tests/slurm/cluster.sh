#!/bin/bash
# Workers as jobs of a real Slurm cluster (lib.sh).
# 50 tasks, of which 5 fail and 2 run too long; a node dies; kanband is stopped and killed.
# test-timeout: 240
. "$(dirname "$0")/lib.sh"

export OPENAI_API_KEY="a secret of the daemon's profile"
cp tests/slurm/worker "$HERMES_BIN"
kanbanctl init "$root" >/dev/null
mkdir -p "$root/profiles/ada"
cat >"$state/kanband.conf" <<EOF
[kanband]
max_in_progress = 20
dispatch_interval_seconds = 5
[worker]
launcher = slurm
memory_max = 9M
cpu_quota = 100
runtime_max = 90s
terminate_grace = 4s
EOF

add() { kanbanctl add --assignee ada --max-retries 1 "$@" >/dev/null; }
odd=$'it\'s "odd": $(id) `id` %j %% \\ ; | \t\n end'
add --priority 9 --tenant "$odd" --skill "$odd" exact # the worker knows by its tenant what to do
for n in 1 2 3 4 5 6 7 8; do add --priority 9 --tenant patient "patient $n"; done
for n in 1 2 3 4; do add --priority 5 --tenant fails "fails $n"; done
add --priority 5 --tenant dies "dies 5"
for n in 1 2; do add --priority 7 --max-runtime 8 --tenant forever "forever $n"; done
for n in {1..34}; do add "quick $n"; done
[[ $(db "select count(*) from tasks") == 50 ]] || fail "not 50 tasks"

kanbanctl init "$state/other" >/dev/null
mkdir -p "$state/other/profiles/ada"
kanbanctl --root "$state/other" add --assignee ada "without a client" >/dev/null
PATH=$bin kanband --once --launcher slurm --root "$state/other" >"$state/once" 2>&1 || true
said=$(sqlite3 -readonly "$state/other/kanban.db" "select error from task_runs")
[[ $said == "sbatch is not on the PATH"* ]] || fail "without sbatch: $said, $(<"$state/once")"
ok "a host without the client is told so"

kanband=
start_kanband() {
	kanband --config "$state/kanband.conf" --root "$root" >>"$state/kanband.log" 2>&1 &
	kanband=$!
}
done_are() { [[ $(db "select count(*) from tasks where status = 'done'") -ge $1 ]]; }
begun() { compgen -G "$state/begun/*" | wc -l; }
patient_run() {
	local n=0 task
	for task in $(db "select id from tasks where title like 'patient%'"); do
		[[ ! $(compgen -G "$state/begun/$task.*") ]] || n=$((n + 1))
	done
	((n == 8))
}

start_kanband
wait_for 60 "the patient ones do not begin" patient_run
ok "jobs begin"

# of one that waits for us: the others end while we look
patient=$(db "select group_concat('kanban-default-' || id || '-r' || current_run_id) from tasks where title like 'patient%'")
job=$(squeue --noheader --states=running --name="$patient" --format='%A %k' | head -n 1)
[[ ${job#* } == "Kanban run "*" on $root from $(uname -n)" ]] || fail "the comment is: $job"
shown=$(scontrol show job "${job%% *}")
[[ $shown == *"Requeue=0"* && $shown == *"TimeLimit=00:02:00"* && $shown == *"MinMemoryNode=9M"* ]] ||
	fail "the options did not become the job's: $shown"
ok "limits are options of the job, it is not queued again, its comment tells the root"

seen() {
	kanbanctl --root "$root" --json workers >"$state/workers.json"
	sqlite3 :memory: "select count(*), sum(w.value ->> 'job' > 0),
		sum(w.value ->> 'memory' > 0 and w.value ->> 'cpu_s' >= 0) > 0
		from json_each(cast(readfile('$state/workers.json') as text), '$.workers') w where w.value ->> 'title' like 'patient%'"
}
all_seen() { [[ $(seen) == "8|8|1" ]]; }
wait_for 90 "kanbanctl workers says: $(seen)" all_seen
[[ $(kanbanctl --root "$root" workers) == *"job ${job%% *}"* ]] || fail "no job: $(kanbanctl --root "$root" workers)"
ok "kanbanctl workers tells the job of each, and what it uses on its node"

# ---- kanband is stopped, and killed ---------------------------------------------------------

kill -TERM "$kanband"
wait "$kanband" || fail "kanband ended with $?"
start_kanband
wait_for 40 "after a stop nothing goes on" done_are 5
kill -KILL "$kanband"
wait "$kanband" 2>/dev/null || true
start_kanband

# ---- a node dies --------------------------------------------------------------------------

only_patient() { [[ $(db "select count(*) from tasks where status in ('ready', 'running')") == 8 ]]; }
wait_for 60 "the others do not end" only_patient
patient=$(db "select group_concat('kanban-default-' || t.id || '-r' || t.current_run_id) from tasks t
	where t.title like 'patient%'")
node=$(squeue --noheader --name="$patient" --format=%N | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }')
lost=$(squeue --noheader --name="$patient" --nodelist="$node" --format=%A)
others=$(squeue --noheader --nodelist="$node" --states=running --format=%A)
n_lost=$(wc -w <<<"$lost")
((n_lost > 0)) || fail "no job on $node"
kill -KILL "$(<"$state/$node.pid")"
for id in $others; do
	for pid in $(pgrep -f "^slurmstepd: \[$id\.batch\]"); do
		kill -KILL "$pid" # what it started ends by itself: ends.sh
	done
done

lost_again() {
	[[ $(db "select count(*) from task_runs where outcome = 'reclaimed'
		and json_extract(metadata, '$.reason') = 'host_fault'
		and task_id in (select id from tasks where title like 'patient%')") == "$n_lost" ]]
}
wait_for 60 "the jobs of the dead node are not found out" lost_again
touch "$state/release"
all_ended() { [[ $(db "select count(*) from tasks where status not in ('done', 'blocked')") == 0 ]]; }
wait_for 60 "not all tasks end" all_ended

# ---- what became of them -------------------------------------------------------------------

# expect WHAT QUERY ANSWER
expect() {
	local is
	is=$(db "$2")
	[[ $is == "$3" ]] || fail "$1: \"$is\" instead of \"$3\""
	ok "$1"
}
expect "43 tasks are done, each by one run" "select count(*), count(distinct task_id) from task_runs
	where outcome = 'completed'" "43|43"
expect "4 failed with their exit status, once" "select count(*), min(error), max(error) from (
	select replace(error, json_extract(r.metadata, '$.pid'), 'PID') as error from task_runs r join tasks t on t.id = r.task_id
	where t.title like 'fails%' and t.status = 'blocked' and outcome in ('crashed', 'gave_up'))" \
	"4|pid PID exited with code 3; last output: this cannot work|pid PID exited with code 3; last output: this cannot work"
expect "one was killed by its signal" "select count(*) from task_runs r join tasks t on t.id = r.task_id
	where t.title like 'dies%' and t.status = 'blocked' and error like '%killed by signal 11%'" 1
expect "2 ran too long" "select count(*) from task_runs r join tasks t on t.id = r.task_id
	where t.title like 'forever%' and t.status = 'blocked' and outcome = 'timed_out'" 2
expect "what the dead node had was not counted" "select count(*) from tasks where status = 'done'
	and consecutive_failures <> 0" 0
# a claim that kanband did not live to act on has had no job
unstarted=$(db "select count(*) from task_runs where outcome = 'reclaimed' and error = 'dispatcher restarted'
	and json_extract(metadata, '$.worker_pid') is null")
expect "and there are no other runs" "select count(*) from task_runs" "$((50 + n_lost + unstarted))"
jobs=$(squeue --noheader --states=all --format=%A | wc -l)
((jobs == 50 + n_lost)) || fail "$jobs jobs for $((50 + n_lost)) runs"
ok "and each run was one job"

tr '\0' '\n' <"$state/environment" | grep -q '^SLURM_JOB' && fail "the job's own variables reach the worker"
grep -zqxF "HERMES_TENANT=$(tr '\n' '\f' <<<"$odd" | sed 's/\f$//')" <(tr '\n' '\f' <"$state/environment") ||
	fail "the environment is not the worker's: $(tr '\0' '\n' <"$state/environment")"
grep -zqF "$(tr '\n' '\f' <<<"$odd" | sed 's/\f$//')" <(tr '\n' '\f' <"$state/words") ||
	fail "the arguments are not the worker's: $(tr '\0' '\n' <"$state/words")"
ok "arguments and environment arrive byte for byte"
grep -rqF "$OPENAI_API_KEY" "$state/ctld" && fail "the cluster has got a secret"
ok "no secret in what the controller keeps"

gone() { [[ ! $(squeue --noheader) ]] && ! pgrep -f "^[^ ]*kanband --slurm-attendant" && ! pgrep -f "$HERMES_BIN"; }
wait_for 15 "something runs on: $(squeue --noheader; pgrep -af slurm-attendant)" gone
[[ ! $(ls "$root/kanban/.kanband.jobs") ]] || fail "files are left: $(ls "$root/kanban/.kanband.jobs")"
kill -TERM "$kanband"
wait "$kanband" || fail "kanband ended with $?"
ok "nothing runs on, and no file is left"

# ---- attendants that are killed ---------------------------------------------------------------

# While the cluster does not answer: nobody can end the job, and yet it never runs beside the next.
rm -f "$state/release"
add --max-retries 3 --tenant patient "left alone"
task=$(db "select id from tasks where title = 'left alone'")
first=$(("$(db "select max(id) from task_runs")" + 1))
start_kanband
begun_run() { [[ -e $state/begun/$task.$1 ]]; }
wait_for 30 "it does not begin" begun_run "$first"
job=$(squeue --noheader --states=running --name="kanban-default-$task-r$first" --format=%A)
[[ $(head -n 1 "$root/kanban/.kanband.jobs/kanban-default-$task-r$first.job") == "$job" ]] || fail "no note of job $job"
kill -STOP "$(<"$state/ctld.pid")"
kill -KILL "$(db "select worker_pid from tasks where id = '$task'")"
again() { [[ $(db "select count(*) from task_runs where task_id = '$task' and worker_pid > 0") == 2 ]]; }
wait_for 90 "no second run: $(db "select * from task_runs where task_id = '$task'")" again
kill -CONT "$(<"$state/ctld.pid")"
second=$(db "select max(id) from task_runs where task_id = '$task'")
wait_for 40 "the second does not begin: $(<"$root/kanban/logs/$task.log")" begun_run "$second"
told=$(scontrol --oneliner show job "$job")
next=$(scontrol --oneliner show job "$(squeue --noheader --name="kanban-default-$task-r$second" --format=%A)")
ended=$(sed -E 's/.* EndTime=([^ ]*).*/\1/' <<<"$told") began=$(sed -E 's/.* StartTime=([^ ]*).*/\1/' <<<"$next")
[[ $told =~ JobState=(CANCELLED|FAILED) && ! $began < $ended ]] || fail "both ran: $told; $next"
[[ $(db "select consecutive_failures from tasks where id = '$task'") == 0 ]] || fail "the task was charged"
touch "$state/release"
done_again() { [[ $(db "select status from tasks where id = '$task'") == "done" ]]; }
wait_for 30 "not done" done_again
ok "a job whose attendant was killed is ended before the next run of its task begins"

# One that no row speaks of any more is found by its note.
about="Kanban run 9999 of default on $root from $(uname -n)"
job=$(sbatch --parsable --job-name=kanban-default-t_gone-r9999 --comment="$about" --output=/dev/null --wrap "sleep 1000")
printf '\n%s\n' "$about" >"$root/kanban/.kanband.jobs/kanban-default-t_gone-r9999.job"
swept() { [[ ! $(squeue --noheader --jobs="$job") && ! -e $root/kanban/.kanband.jobs/kanban-default-t_gone-r9999.job ]]; }
wait_for 40 "job $job goes on" swept
wait_for 15 "something runs on: $(squeue --noheader; pgrep -af slurm-attendant)" gone
[[ ! $(ls "$root/kanban/.kanband.jobs") ]] || fail "files are left: $(ls "$root/kanban/.kanband.jobs")"
kill -TERM "$kanband"
wait "$kanband" || fail "kanband ended with $?"
ok "a job whose attendant is dead and whose run is forgotten is swept"
