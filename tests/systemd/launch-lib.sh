# shellcheck shell=bash
# What the tests of the launcher `systemd` share: a root, and a worker for each way to end.
# shellcheck disable=SC2154  # of lib.sh, which is sourced before
mount --make-rshared / # as systemd does where it is no container's: mounts reach the services
install_kanband
make_root
uid=$(id -u "$owner")
user() { as_owner XDG_RUNTIME_DIR="/run/user/$uid" timeout 60 systemctl --user "$@"; }
unit_of() { echo "kanban-default-$1-r$(db "select max(id) from task_runs where task_id = '$1'").service"; }
ended() { [[ $(db "select count(*) from task_runs where task_id = '$1' and ended_at is not null") -ge 1 ]]; }
no_units() { [[ -z $(user list-units --all --plain --no-legend 'kanban-*') ]]; }

metadata() { db "select outcome || ' ' || json_extract(metadata, '\$.exit_kind') || ' ' || json_extract(metadata, '\$.exit_code') from task_runs where task_id = '$1' order by id limit 1"; }
# number TITLE STATUS N : so many tasks whose title begins so have that status
number() { [[ $(db "select count(*) from tasks where title like '$1%' and status = '$2'") == "$3" ]]; }
working() { [[ $(db "select count(*) from tasks where title like '$1%' and status = 'running' and worker_pid > 0") == "$2" ]]; }
# each_ran_once TITLE N : nothing was started twice, nothing was counted
each_ran_once() {
	local of="task_id in (select id from tasks where title like '$1%')" twice
	[[ $(db "select count(*), sum(outcome = 'completed') from task_runs where $of") == "$2|$2" ]] ||
		fail "runs: $(db "select outcome, error, count(*) from task_runs where $of group by 1, 2")"
	[[ $(db "select max(consecutive_failures) from tasks where title like '$1%'") == 0 ]] || fail "one was counted"
	twice=$(sort "$home/started" | cut -d' ' -f1 | uniq -d)
	[[ ! $twice ]] || fail "started twice: $twice"
}

# What a worker sees of itself, and a worker for each way to end.
cat >/usr/bin/test-worker <<'EOW'
#!/bin/bash
echo "$HERMES_KANBAN_TASK $$" >>"$HOME/started"
grep -a . /proc/self/cgroup | tail -n 1 >"$HOME/cgroup.$HERMES_KANBAN_TASK"
tr '\0' '\n' <"/proc/$$/environ" >"$HOME/environ.$HERMES_KANBAN_TASK"
printf '%s\n' "$@" >"$HOME/argv.$HERMES_KANBAN_TASK"
title=$(sqlite3 -cmd '.timeout 10000' "$HERMES_KANBAN_DB" "select title from tasks where id = '$HERMES_KANBAN_TASK'")
case $title in
exit*) until [ -e "$HOME/go" ]; do sleep 0.05; done; exit "${title#exit }" ;;
signal*) until [ -e "$HOME/go" ]; do sleep 0.05; done; kill -s "${title#signal }" $$ ;;
esac
until [ -e "$HOME/release" ]; do sleep 0.05; done
exec kanbanctl complete
EOW
# shellcheck disable=SC2016  # as it is written there
printf '%s\n' 'ODD=50%% $HOME ${PATH} "q" \\n' 'OTHER_API_KEY=secret' >>/etc/kanband/environment
printf '[kanband]\nmax_in_progress = 100\nmemory_guard = no\nretry_backoff = 0\ndispatch_interval_seconds = 5\n' >/etc/kanband/kanband.conf.d/50-test.conf

