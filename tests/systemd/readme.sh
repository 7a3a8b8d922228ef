#!/bin/bash
# What README says, word for word, on a fresh host: each command of its indented lines and of its table
# is run, in this order. In a display with "$ " only those lines are commands.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
[[ ${MODE:-release} == release ]] || { echo "SKIP: README builds what people install"; exit 77; }
rm -f /etc/kanband/kanband.conf
cd "$top"
rm -rf /tmp/try
export npm_config_fetch_retries=0 # nothing is to be had from here
# A host of which nobody has root's rights by sudo: root is who runs this.
printf '#!/bin/sh\nexec "$@"\n' >/usr/local/bin/sudo
chmod 755 /usr/local/bin/sudo

# As a person that README speaks of has it.
useradd --create-home --home-dir /var/lib/alice alice 2>/dev/null || true
loginctl enable-linger alice
as_alice() { # in her own service manager
	setpriv --reuid=alice --regid=alice --init-groups env HOME=/var/lib/alice \
		XDG_RUNTIME_DIR="/run/user/$(id -u alice)" DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$(id -u alice)/bus" "$@"
}
alice_there() { as_alice systemctl --user show >/dev/null; }

# What is not run, and why.
unless() {
	case $1 in
	"make demo"* | "make check"*) : "they are tests of their own, and this is one of make check" ;;
	"make deb "*) : "systemd/package installs, upgrades and purges the package" ;;
	"do-the-work"*) : "the text of a worker" ;;
	"notify retry") : "the end of the command before it" ;;
	*) return 1 ;;
	esac
}

ran=0
# run COMMAND : as it stands there, with the names that are left to the reader filled in
run() {
	local command=$1 status=0 said
	command=${command//BOARD/default}
	command=${command//t_1a2b3c4d/$task}
	! unless "$command" || return 0
	ran=$((ran + 1))
	case $command in
	*"@alice"*) as_alice kanbanctl init >/dev/null || fail "alice has no root" ;;&
	*"--user"*)
		wait_for 60 "no service manager of alice" alice_there
		systemctl stop kanband@alice
		said=$(as_alice bash -c "$command" 2>&1) || status=$?
		;;
	*" & "*) # goes on beside what follows
		eval "$command"
		wait_for 60 "not begun: $command" grep -qE "epoch|standby" /tmp/try/log
		return
		;;
	export*) eval "$command" && return 0 ;;
	*"events -f"* | *" web" | *" logs -f"*) said=$(timeout --preserve-status 3 bash -c "$command" 2>&1 </dev/null) || status=$? ;;
	*) said=$(eval "$command" 2>&1 </dev/null) || status=$? ;;
	esac
	case $command in
	kanbanctl\ restore* | kanbanctl\ repair* | kanbanctl\ accept*) ((status <= 1)) && return 0 ;; # nothing is to be mended
	kanbanctl\ doctor* | kanbanctl\ gateways*) ((status <= 1)) && return 0 ;;                     # it found something
	kanbanctl\ drain*) kanbanctl resume >/dev/null ;;
	*"events -f" | *" web") ((status == 143 || status == 130)) && return 0 ;;
	esac
	((status == 0)) || fail "$command: $status: $said $(cat /tmp/try/log 2>/dev/null)"
}

# displays FROM TO : the commands of the indented lines from one heading to the other
displays() {
	awk -v from="## $1" -v to="## $2" '$0 == from { on = 1; next } $0 == to { exit } on && /^    / { print substr($0, 5) }' README.md |
		awk '{ line[NR] = $0; shell += /^\$ / } END { for (i = 1; i <= NR; i++)
			if (!shell) print line[i]; else if (line[i] ~ /^\$ /) print substr(line[i], 3) }' | sed 's/[[:space:]]\{2,\}#.*//'
}

task=t_1a2b3c4d
while IFS= read -r command; do run "$command"; done < <(displays Install "Day two")
((ran >= 8)) || fail "only $ran commands of the installation were found"
is ActiveState active || fail "kanband does not run"
is UnitFileState enabled || fail "kanband is not enabled"
[[ $(kanbanctl leader) == *kanband.service* ]] || fail "$(kanbanctl leader)"
ok "installed and started as README says"

as_owner mkdir -p "$root/profiles/worker"
as_owner kanbanctl init >/dev/null
task=$(as_owner kanbanctl add --assignee worker "a task")
n=$ran
while IFS= read -r command; do run "$command"; done < <(
	awk '/^## Day two/ { on = 1; next } /^## / { on = 0 } on && /^\| / { split($0, cell, " \\| "); print cell[2] }' README.md |
		grep -oE '`[a-z][^`]*`' | tr -d '`' | grep -E '^(kanband|kanbanctl|journalctl|systemctl|sudo) ')
((ran >= n + 10)) || fail "only $((ran - n)) commands of the table were found"
ok "$((ran - n)) commands of day two"

n=$ran
while IFS= read -r command; do run "$command"; done < <(displays "When a board is quarantined" "Any program can be a worker")
((ran >= n + 6)) || fail "only $((ran - n)) commands about a damaged board were found"
ok "$((ran - n)) commands about a damaged board"

n=$ran
while IFS= read -r command; do run "$command"; done < <(displays "A minute that convinces" "Two commands")
((ran >= n + 10)) || fail "only $((ran - n)) commands of the minute were found"
grep -q "adopted worker" /tmp/try/log || fail "no adoption: $(cat /tmp/try/log)"
[[ $(kanbanctl --root /tmp/try list --status "done") == *"Say hello"* ]] || fail "the task is not done: $(cat /tmp/try/log)"
ok "the minute that convinces: $((ran - n)) commands, and the worker was adopted"
