#!/bin/bash
# The launcher `systemd` with the system's manager, for an account that has none of its own: refused
# as long as polkit does not let it, used when a rule of the site's does, with the account's rights.
# test-timeout: 120
. "$(dirname "$0")/lib.sh"
[[ -x /usr/lib/polkit-1/polkitd || -x /usr/libexec/polkitd ]] || { echo "SKIP: no polkitd"; exit 77; }
install_kanband
make_root
drop_in no-manager ExecStartPre=
as_owner sh -c 'echo "echo \$(id -un) >>$HOME/ran" >$HOME/says'
sed -i '2i . "$HOME/says"' /usr/bin/test-worker
systemctl start polkit.service || fail "polkit: $(systemctl status polkit.service)"

systemctl start "$unit" || fail "start"
task=$(add "refused")
wait_for 60 "no worker" has_worker "$task"
grep -q '/kanband.service$' "/proc/$(worker_of "$task")/cgroup" || fail "it is no child: $(cat "/proc/$(worker_of "$task")/cgroup")"
logged 'workers are started as children' -u "$unit" || fail "no warning"
touch "$home/release"
wait_for 60 "not done" task_is status "done" "$task"
rm "$home/release"
ok "an account that polkit does not let is not given the system's manager"

mkdir -p /etc/polkit-1/rules.d
cat >/etc/polkit-1/rules.d/50-site.rules <<'EOR'
polkit.addRule(function (action, subject) {
	if (action.id == "org.freedesktop.systemd1.manage-units" && subject.user == "kanband")
		return polkit.Result.YES;
});
EOR
chmod -R a+rX /etc/polkit-1
systemctl restart polkit.service
systemctl restart "$unit" || fail "restart"
task=$(add "let")
wait_for 60 "no worker: $(db "select error from task_runs")" has_worker "$task"
pid=$(worker_of "$task")
grep -q "/kanban.slice/kanban-default-$task-r" "/proc/$pid/cgroup" || fail "it is in $(cat "/proc/$pid/cgroup")"
[[ $(stat -c %U "/proc/$pid") == "$owner" ]] || fail "it runs as $(stat -c %U "/proc/$pid")"
timeout 60 systemctl restart "$unit" || fail "restart"
alive "$pid" || fail "it did not outlive kanband"
touch "$home/release"
wait_for 60 "not done" task_is status "done" "$task"
left() { [[ ! $(systemctl list-units --all --plain --no-legend 'kanban-default-*') ]]; }
wait_for 60 "a unit is left: $(systemctl list-units --all 'kanban-default-*')" left
[[ $(sort -u "$home/ran") == "$owner" ]] || fail "they ran as $(sort -u "$home/ran")"
ok "with a rule of the site's, its workers are units of the system's manager, run as the account, and outlive kanband"
systemctl stop "$unit"
