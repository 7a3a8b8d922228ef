#!/bin/bash
# The launcher `systemd` with the system's manager, for an account that has none of its own: refused
# as long as polkit does not let it, used when the rule
# does that is shipped as an example, with the account's rights.
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
cp "$top/systemd/polkit-rules.d/50-kanband.rules" /etc/polkit-1/rules.d/ # the example that we ship
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
ok "with the example's rule, its workers are units of the system's manager, run as the account, and outlive kanband"

# asks ACCOUNT UNIT : what the manager says to ACCOUNT that asks it to stop UNIT
asks() {
	setpriv --reuid "$1" --clear-groups busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
		org.freedesktop.systemd1.Manager StopUnit ss "$2" replace 2>&1 || true
}
[[ $(asks "$owner" kanban-none.service) == *"not loaded"* ]] || fail "it may not stop kanban-*: $(asks "$owner" kanban-none.service)"
for who in "$owner kanband.service" "$owner kanban.slice" "nobody kanban-none.service"; do
	# shellcheck disable=SC2086  # two words
	[[ $(asks $who) =~ denied|uthentication ]] || fail "$who: $(asks $who)"
done
ok "the rule is for units of that name, and for no other account"
systemctl stop "$unit"
