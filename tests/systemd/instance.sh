#!/bin/bash
# kanband@NAME for a person, and the user unit in that person's own service manager.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
printf 'u tester 1999 "A person" /home/tester /bin/sh\n' | systemd-sysusers - 2>/dev/null
install -d -o tester -g tester /home/tester /home/tester/.hermes
owner=tester home=/home/tester root=/home/tester/.hermes unit=kanband@tester.service
make_root
echo HERMES_BIN=/usr/bin/test-worker >/etc/kanband/environment.tester
touch "$home/release"

systemctl start "$unit" || fail "start of the instance"
[[ $(ps -o user= -p "$(main_pid)") == tester ]] || fail "not as tester"
task=$(add "for the instance")
wait_for 60 "the instance does not dispatch" task_is status "done" "$task"
ok "kanband@tester dispatches tester's root"

# In the person's own manager, beside the instance: it stands by, then owns.
mkdir -p /home/tester/.config/kanband
echo HERMES_BIN=/usr/bin/test-worker >/home/tester/.config/kanband/environment
chown -R tester:tester /home/tester
systemctl start user@1999.service || fail "no user manager"
user() { as_owner XDG_RUNTIME_DIR=/run/user/1999 timeout 120 systemctl --user "$@"; }
user start kanband || fail "start of the user unit"
# shellcheck disable=SC2053  # a pattern
is_user() { [[ $(user show --value -p "$1" kanband) == $2 ]]; }
wait_for 60 "the user unit does not stand by: $(user show --value -p StatusText kanband)" \
	is_user StatusText '*standby*'
ok "the user unit stands by while the instance owns"
systemctl stop "$unit"
wait_for 60 "it does not take over: $(user show --value -p StatusText kanband)" \
	is_user StatusText '[!s]*'
task=$(add "for the user unit")
wait_for 60 "the user unit does not dispatch" task_is status "done" "$task"
user stop kanband || fail "stop of the user unit"
ok "and takes over when the instance stops"
