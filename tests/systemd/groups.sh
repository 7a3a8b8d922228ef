#!/bin/bash
# The launcher `fork` with a delegated control group: each worker in one of its own, and what bears
# no mark of its run any more is found and ended by that.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
make_root
mkdir -p "/run/systemd/system/$unit.d"
cp "$top/systemd/kanband.service.d/fork.conf" "/run/systemd/system/$unit.d/"
systemctl daemon-reload
printf '[kanband]\nmemory_guard = no\nretry_backoff = 0\n[worker]\nlauncher = fork\nterminate_grace = 300ms\n' >/etc/kanband/kanband.conf.d/50-fork.conf
# Without environment, number, session and parent: nothing but its group tells whose it is.
cat >/usr/bin/test-leaf <<'EOW'
#!/bin/bash
trap '' TERM HUP INT
ulimit -S -x unlimited
echo $$ >>"$1"
[ "${2-}" != stop ] || kill -STOP $$
exec /bin/sleep 1000
EOW
cat >/usr/bin/test-worker <<'EOW'
#!/bin/bash
list=${HERMES_KANBAN_DB%/*}/tree.$HERMES_KANBAN_TASK
for how in '' '' stop; do (env -i setsid /usr/bin/test-leaf "$list" $how &); done
echo $$ >>"$list"
until [ -e "$HOME/release" ]; do sleep 0.05; done
exec kanbanctl complete
EOW
chmod 755 /usr/bin/test-leaf /usr/bin/test-worker
systemctl start "$unit" || fail "start"
base=/sys/fs/cgroup$(property ControlGroup)
grown() { [[ $(wc -l <"$root/tree.$1") == 4 ]]; }
living() {
	local p
	while read -r p; do
		[[ -e /proc/$p/stat && $(sed 's/.*) //' "/proc/$p/stat" | cut -c1) != [ZX] ]] && echo "$p"
	done <"$root/tree.$1"
	true
}
gone() { [[ ! $(living "$1") ]]; }
group_of() { sed -n 's/^0:://p' "/proc/$1/cgroup"; }
no_groups() { ! compgen -G "$base/kanban-*"; }

one=$(add "one") two=$(add "two")
for t in "$one" "$two"; do wait_for 60 "no tree" grown "$t"; done
group=$(group_of "$(worker_of "$one")")
[[ $group =~ ^$(property ControlGroup)/kanban-[0-9a-f]{16}$ ]] || fail "the worker is in $group"
[[ $group != "$(group_of "$(worker_of "$two")")" ]] || fail "two workers in one group"
for p in $(living "$one"); do
	[[ $(group_of "$p") == "$group" ]] || fail "$p is in $(group_of "$p")"
done
[[ $(living "$one" | wc -l) == 4 ]] || fail "not all live"
ok "each worker and all that it starts is in a group of its own"

as_owner kanbanctl --root "$root" kill "$one" >/dev/null || fail "kill"
wait_for 60 "alive after kill: $(living "$one")" gone "$one"
[[ $(living "$two" | wc -l) == 4 ]] || fail "the other worker's tree was met, too"
ok "nothing of it is alive after kill, whatever it did; the other worker is not touched"

# Adopted after a restart, and after a kill of kanband.
db "update tasks set status = 'blocked' where id = '$one'"
timeout 120 systemctl restart "$unit" || fail "restart"
pid=$(main_pid)
kill -KILL "$pid"
wait_for 60 "not restarted after SIGKILL" is_not MainPID "$pid"
wait_for 60 "not active" is ActiveState active
[[ $(living "$two" | wc -l) == 4 ]] || fail "the worker did not outlive kanband"
touch "$home/release"
wait_for 60 "not done" task_is status "done" "$two"
wait_for 60 "alive after its end: $(living "$two")" gone "$two"
wait_for 60 "groups are left: $(ls "$base")" no_groups
ok "an adopted one ends with all it started, and its group is removed"
systemctl stop "$unit"
