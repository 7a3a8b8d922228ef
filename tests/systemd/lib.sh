# shellcheck shell=bash
# What the tests under a real systemd share. Sourced first; boots one and runs the test inside.
#
# A test says `ok "what holds"` for each thing it has seen, and ends by `fail "what does not"`,
# which prints the unit's status and journal. Waits are for a condition, with a bound that a busy
# machine does not reach.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
if [[ -z ${WITH_SYSTEMD-} ]]; then
	cd "$top"
	limit=$(sed -nE "s/^# test-timeout: ([0-9]+).*/\1/p" "$0")
	within=with-systemd
	[[ -z ${KANBAND_VM-} ]] || within=with-vm # make check-vm
	exec "$here/$within" --seconds $((${limit:-120} * ${KANBAND_PATIENCE:-1} - 10)) bash "$here/$(basename "$0")" "$@"
fi

unit=kanband.service
home=/var/lib/kanband
root=$home/.hermes
owner=kanband

ok() {
	echo "ok - $*"
}

fail() {
	echo "not ok - $*"
	systemctl status --no-pager --full --lines=0 "$unit" | sed 's/^/# /' || true
	# what kanband complained of may be long ago
	journalctl --no-pager -b -o short-precise -p warning -u "$unit" | tail -n 20 | sed 's/^/# ! /' || true
	journalctl --no-pager -b -o short-precise | tail -n 60 | sed 's/^/# /'
	exit 1
}
trap 'echo "not ok - $0 line $LINENO: $BASH_COMMAND"' ERR

# wait_for SECONDS WHAT COMMAND… : until COMMAND is true; what is not in time, fails
wait_for() {
	local deadline=$((SECONDS + $1 * ${KANBAND_PATIENCE:-1} + 1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || fail "$what"
		sleep 0.02
	done
}

# property NAME [UNIT] : a property of the unit
property() {
	systemctl show --value -p "$1" "${2:-$unit}"
}

is() { [[ $(property "$1") == "$2" ]]; }
is_not() { [[ $(property "$1") != "$2" ]]; }
main_pid() { property MainPID; }
alive() { kill -0 "$1" 2>/dev/null; }
dead() { ! alive "$1"; }

# logged PATTERN [MATCH…] : does the journal have such a message (an extended regular expression)
logged() {
	local pattern=$1
	shift
	journalctl --no-pager -b -o cat "$@" | grep -Eq -- "$pattern"
}

# drop_in NAME LINE… : a drop-in of the unit
drop_in() {
	local folder=/run/systemd/system/$unit.d name=$1
	shift
	mkdir -p "$folder"
	printf '%s\n' '[Service]' "$@" >"$folder/$name.conf"
	systemctl daemon-reload
}

# install_kanband : as an operator does, with prefix=/usr; what was built, as it is
install_kanband() {
	local out=${OUT:-build/${MODE:-release}}
	make -s -C "$top" --no-print-directory MODE="${MODE:-release}" prefix=/usr \
		-o "$out/kanband" -o "$out/kanbanctl" install >/dev/null
	systemd-sysusers kanband.conf 2>/dev/null
	systemd-tmpfiles --create kanband.conf
	journalctl --update-catalog
	systemctl daemon-reload
	systemctl start network-online.target # nothing provides it here; do not let it wait
}

as_owner() {
	setpriv --reuid="$owner" --regid="$owner" --init-groups env HOME="$home" "$@"
}

# make_root : profile "worker", board "alpha", and a worker that goes on until $home/release is there
make_root() {
	as_owner mkdir -p "$root/profiles/worker"
	as_owner kanbanctl --root "$root" init >/dev/null
	cat >/usr/bin/test-worker <<'EOW'
#!/bin/sh
echo "working on $HERMES_KANBAN_TASK"
until [ -e "$HOME/release" ]; do sleep 0.05; done
exec kanbanctl complete
EOW
	chmod 755 /usr/bin/test-worker
	printf '%s\n' HERMES_BIN=/usr/bin/test-worker HERMES_KANBAN_CRASH_GRACE_SECONDS=0 >/etc/kanband/environment
}

db() {
	sqlite3 -cmd '.timeout 10000' "$root/kanban.db" "$@"
}

# add TITLE : a ready task for the worker; prints its id
add() {
	as_owner kanbanctl --root "$root" add --board default --assignee worker "$1" | grep -oE 't_[0-9a-f]{8}' | head -n 1
}

task_is() { # COLUMN VALUE ID
	[[ $(db "select $1 from tasks where id = '$3'") == "$2" ]]
}

worker_of() { db "select worker_pid from tasks where id = '$1' and worker_pid > 0"; }
has_worker() { [[ $(worker_of "$1") ]]; }
