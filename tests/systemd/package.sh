#!/bin/bash
# The Debian package in a real systemd: install, start, upgrade while workers run, remove, purge.
# dpkg and its database are those of the throw-away view; the machine's own are not touched.
# DEB=PATH tests that package; else one is made of the programs that were built.
# test-timeout: 300
if ! command -v dpkg >/dev/null; then
	echo "SKIP: no dpkg here"
	exit 77
fi
. "$(dirname "$0")/lib.sh"
rm -f /usr/sbin/policy-rc.d # image builders' word that nothing may start
rm -f /var/lib/man-db/auto-update
export DEBIAN_FRONTEND=noninteractive

installed() { dpkg-query -W -f '${db:Status-Abbrev}${Version}' kanband 2>/dev/null; }
package() { dpkg "$@" >/tmp/dpkg.log 2>&1 || fail "dpkg $*: $(cat /tmp/dpkg.log)"; }
# tree FOLDER : every file below it with what is in it
tree() { (cd "$1" && find . -type f -exec sha256sum {} + -o -printf '%y %m %u %p\n' | sort -k 2); }

[[ ${MODE:-release} == release ]] || export DEB_BUILD_OPTIONS=nostrip
first=${DEB-}
if [[ ! $first ]]; then
	first=$(sh "$top/conf/mkdeb" --built "${OUT:-build/${MODE:-release}}" /tmp/deb) || fail "no package"
fi
# The same with a higher number, to upgrade to.
dpkg-deb -R "$first" /tmp/second
sed -i '/^Version:/s/$/+upgrade/' /tmp/second/DEBIAN/control
second=/tmp/second.deb
dpkg-deb -Znone -b /tmp/second "$second" >/dev/null
if [[ ${MODE:-release} != release ]]; then
	true # what a sanitizer links is not for a package
elif command -v lintian >/dev/null; then
	said=$(lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$first") ||
		fail "lintian: $said"
	ok "lintian has neither error nor warning"
else
	echo "SKIP: lintian is missing; run: make deps-dev"
fi
for name in $(sed -n 's/^PKGS *:= *//p' "$top/Makefile"); do
	dev=$(sed -n "s/^pc:$name \([^ ]*\) .*/\1/p" "$top/conf/deps")
	grep -qE "^ $dev,?$" "$top/conf/debian/control" || fail "Build-Depends lacks $dev ($name)"
done
ok "the package asks for every library that the build does"

# ── install ──
package -i "$first"
[[ $(installed) == "ii "* ]] || fail "not installed: $(installed)"
[[ $(systemctl is-enabled "$unit" || true) == disabled ]] || fail "installation enabled $unit"
is ActiveState inactive || fail "installation started $unit"
[[ ! -e /etc/systemd/user/default.target.wants/kanband.service ]] || fail "enabled for every person"
ok "installed; which account dispatches is left to the operator"
id "$owner" >/dev/null || fail "no account"
[[ $(stat -c '%U %a' "$root") == "$owner 750" ]] || fail "$root: $(stat -c '%U %a' "$root")"
[[ $(dpkg-query -W -f '${Conffiles}' kanband) == *" /etc/kanband/kanband.conf "* ]] || fail "no conffile"
journalctl --dump-catalog 5f1c7b1d0c2e4f0d9a61f5f0a3c3d101 2>/dev/null | grep -q '^Defined-By: kanband' ||
	fail "not in the catalog"
kanband --check-config >/dev/null || fail "--check-config"
ok "account, root, configuration and catalog are there"

# ── start: for the host, for a person, and in that person's own manager ──
make_root
printf 'u tester 1999 "A person" /home/tester /bin/sh\n' | systemd-sysusers - 2>/dev/null
install -d -o tester -g tester /home/tester /home/tester/.hermes
as_tester() { # COMMAND… : with tester's account, home and root
	local owner=tester home=/home/tester root=/home/tester/.hermes
	"$@"
}
cp /etc/kanband/environment /tmp/environment
as_tester make_root
cp /etc/kanband/environment /etc/kanband/environment.tester
systemctl start network-online.target
systemctl enable --now --quiet "$unit" kanband@tester.service || fail "enable --now"
[[ $(systemctl is-active "$unit" kanband@tester.service | sort -u) == active ]] || fail "not active"
task=$(add "through the upgrade") theirs=$(as_tester add "through the upgrade")
wait_for 60 "no worker" has_worker "$task"
wait_for 60 "no worker of tester's" as_tester has_worker "$theirs"
worker=$(worker_of "$task") worker2=$(as_tester worker_of "$theirs")
systemctl start user@1999.service || fail "no user manager"
user() { as_tester as_owner XDG_RUNTIME_DIR=/run/user/1999 timeout 120 systemctl --user "$@"; }
user start kanband || fail "start of the user unit"
ok "systemctl enable --now: dispatching for the host and for a person"

# ── a gateway, pointed at the owner by the drop-in that comes along ──
example=/usr/share/doc/kanband/examples/hermes-gateway.service.d
if [[ -d $example ]]; then
	printf '[Service]\nExecStart=/bin/sleep infinity\n' >/run/systemd/system/hermes-gateway.service
	cp -r "$example" /etc/systemd/system/
	systemctl daemon-reload
	systemctl start hermes-gateway.service || fail "the gateway does not start with the drop-in"
	[[ $(property Environment hermes-gateway.service) == *HERMES_KANBAN_DISPATCH_IN_GATEWAY=0* ]] ||
		fail "the drop-in does not hold: $(property Environment hermes-gateway.service)"
	ok "the drop-in keeps a gateway from dispatching"
fi

# ── upgrade while all of that runs ──
echo '# mine' >>/etc/kanband/kanband.conf
pids() { echo "$(main_pid) $(property MainPID kanband@tester.service) $(user show --value -p MainPID kanband)"; }
before=$(pids)
package -i "$second"
[[ $(installed) == "ii "*+upgrade ]] || fail "not upgraded: $(installed)"
# differ N : is the N-th process another one than before, and there
differ() {
	local old new
	read -ra old <<<"$before"
	read -ra new <<<"$(pids)"
	((new[$1] > 0 && new[$1] != old[$1]))
}
for n in 0 1 2; do
	wait_for 60 "the upgrade did not restart daemon $n of: $before, now $(pids)" differ "$n"
done
[[ $(systemctl is-active "$unit" kanband@tester.service | sort -u) == active ]] || fail "not active"
alive "$worker" && alive "$worker2" || fail "the upgrade ended a worker"
grep -qx '# mine' /etc/kanband/kanband.conf || fail "the configuration was overwritten"
ok "an upgrade restarts every daemon, the workers go on"
touch "$home/release" /home/tester/release
wait_for 60 "the adopted worker's task is not done" task_is status "done" "$task"
wait_for 60 "the adopted worker's task of tester's is not done" as_tester task_is status "done" "$theirs"
runs="select group_concat(outcome || ' ' || (select consecutive_failures from tasks)) from task_runs"
[[ $(db "$runs") == "completed 0" && $(as_tester db "$runs") == "completed 0" ]] ||
	fail "runs: $(db "$runs"); $(as_tester db "$runs")"
ok "and finish their only run"

# ── remove: stopped, the worker lives, what is anybody's stays ──
rm "$home/release"
task=$(add "through the removal")
wait_for 60 "no worker after the upgrade" has_worker "$task"
worker=$(worker_of "$task")
# Drop-ins of gateways: the host's, a person's in place of an older one, and one that is not ours.
dropins=/home/tester/.config/systemd/user
install -d -o tester -g tester "$dropins" "$dropins"/{hermes-gateway,mine}.service.d
cp /etc/systemd/system/hermes-gateway.service.d/kanband.conf "$dropins/hermes-gateway.service.d/"
printf '[Service]\nNice=5\n' | tee "$dropins/mine.service.d/kanband.conf" \
	>"$dropins/hermes-gateway.service.d/kanband.conf.old"
chown -R tester: /home/tester/.config
package --remove kanband
for u in "$unit" kanband@tester.service; do
	[[ $(property ActiveState "$u") == inactive ]] || fail "$u is $(property ActiveState "$u") after the removal"
done
wait_for 60 "the user unit goes on" test "$(user show --value -p MainPID kanband)" = 0
alive "$worker" || fail "the removal ended a worker"
grep -qx '# mine' /etc/kanband/kanband.conf || fail "the removal took the configuration"
[[ $(db 'pragma integrity_check') == ok ]] || fail "integrity"
[[ ! -e /etc/systemd/system/hermes-gateway.service.d ]] || fail "the host's gateway stays mute"
for unit_ in hermes-gateway mine; do
	[[ $(cat "$dropins/$unit_.service.d/kanband.conf") == *Nice=5* ]] || fail "$unit_ of tester's is not as it was"
done
[[ ! -e $dropins/hermes-gateway.service.d/kanband.conf.old ]] || fail "what was there before lies beside it"
[[ $(grep -c 'restart that gateway' /tmp/dpkg.log) == 2 ]] || fail "not told: $(cat /tmp/dpkg.log)"
systemctl daemon-reload
systemctl restart hermes-gateway.service
[[ $(property Environment hermes-gateway.service) != *HERMES_KANBAN_DISPATCH_IN_GATEWAY* ]] ||
	fail "the gateway is mute: $(property Environment hermes-gateway.service)"
ok "a removal lets the gateways dispatch again, the host's and people's, and says so"
ok "a removal stops the daemons and leaves workers, boards and configuration"

# ── purge ──
kill -KILL "$worker"
wait_for 60 "the worker does not end" dead "$worker"
ours=$(tree "$root") theirs=$(tree /home/tester)
package --purge kanband
[[ $(tree "$root") == "$ours" ]] || fail "the purge touched $root: $(diff <(echo "$ours") <(tree "$root"))"
[[ $(tree /home/tester) == "$theirs" ]] || fail "the purge touched /home/tester"
[[ ! -e /etc/kanband ]] || fail "left: $(find /etc/kanband)"
left=$(find /etc/systemd /lib/systemd /usr/lib/systemd /usr/lib/sysusers.d /usr/lib/tmpfiles.d /usr/bin /usr/share \
	/run/kanband* /var/lib/systemd -xdev -name '*kanban*' ! -path "$top/*" ! -path '*/hermes-gateway*' 2>/dev/null || true)
[[ -z $left ]] || fail "left: $left"
[[ -z $(installed) || $(installed) == "un "* ]] || fail "still there: $(installed)"
ok "a purge takes everything of its own and no file of a kanban root"

# ── once more, with a root that never had a board ──
rm -rf "$home"
package -i "$second"
systemctl reset-failed 2>/dev/null || true
systemctl enable --now --quiet "$unit" || fail "start after a purge"
package --purge kanband
[[ ! -e $home ]] || fail "left: $(find "$home")"
[[ ! -e /run/kanband ]] || fail "left: $(find /run/kanband)"
ok "installed again it starts; a home that was never used goes with a purge"
