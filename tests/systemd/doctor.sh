#!/bin/bash
# doctor on a host with every fault that a service manager can have: found, and gone when what
# it printed was run. Nothing but what it prints is run.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
make_root
as_owner mkdir -p "$root/profiles/coder" "$root/profiles/idle"
touch "$home/release"

# A gateway as Hermes's: holds its lock, and the lease as soon as it may.
cat >/usr/bin/hermes <<'EOH'
#!/usr/bin/perl
use Fcntl ':flock';
my $home = $ENV{HERMES_HOME};
(my $root = $home) =~ s{/profiles/.*}{};
open my $own, '>>', "$home/gateway.lock" or die;
open my $lease, '>>', "$root/kanban/.dispatcher.lock" or die;
flock $own, LOCK_EX | LOCK_NB or die;
my $may = ($ENV{HERMES_KANBAN_DISPATCH_IN_GATEWAY} // 1) ne '0';
select undef, undef, undef, 0.1 until $may && flock $lease, LOCK_EX | LOCK_NB;
sleep;
EOH
chmod 755 /usr/bin/hermes
for name in hermes-gateway hermes-gateway-coder; do
	profile=${name#hermes-gateway}
	cat >"/etc/systemd/system/$name.service" <<-EOU
		[Service]
		User=$owner
		Environment=HERMES_HOME=$root${profile:+/profiles/${profile#-}}
		ExecStart=/usr/bin/hermes gateway run
	EOU
done
# kanband: not enabled, not started, no watchdog
mkdir -p /etc/systemd/system/kanband.service.d
printf '[Service]\nWatchdogSec=0\n' >/etc/systemd/system/kanband.service.d/10-none.conf
systemctl daemon-reload
systemctl start hermes-gateway hermes-gateway-coder || fail "the gateways do not start"
doctor() { kanbanctl --root "$root" doctor --config /etc/kanband/kanband.conf 2>&1 || true; }
sees() { doctor | grep -qE -- "$1"; }
wait_for 60 "no gateway has the lease: $(doctor)" sees 'error +lease: the gateway of profile (default|coder) '

for finding in 'error +gateway default: it runs and would dispatch' \
	'error +gateway coder: it runs and would dispatch' \
	'ok +gateway idle: none was ever started' \
	'warning +unit kanband.service: it is not enabled' \
	'error +unit kanband.service: it is inactive' \
	'warning +watchdog kanband.service: there is none'; do
	sees "$finding" || fail "no \"$finding\" in: $(doctor)"
done
gateways=$(kanbanctl --root "$root" gateways || true)
grep -q 'coder .*hermes-gateway-coder.service *yes' <<<"$gateways" || fail "gateways: $gateways"
ok "a gateway that dispatches is named with its unit; so is what is wrong with kanband's"

# Round after round, whatever it says, until it says nothing.
for ((round = 1; round <= 6; round++)); do
	doctor | sed -n 's/.*; run: //p' >/tmp/remedies
	[[ -s /tmp/remedies ]] || break
	sed "s/^/# round $round: /" /tmp/remedies
	while read -r remedy; do
		timeout 100 bash -c "$remedy" >/dev/null </dev/null || echo "# failed: $remedy"
	done </tmp/remedies
	wait_for 60 "kanband does not own: $(doctor)" sees 'ok +lease: kanband'
done
kanbanctl --root "$root" doctor --config /etc/kanband/kanband.conf >/tmp/after ||
	fail "after $round rounds: $(cat /tmp/after)"
is ActiveState active || fail "kanband does not run"
[[ $(property UnitFileState) == enabled ]] || fail "kanband is not enabled"
[[ $(property WatchdogUSec) == 30s ]] || fail "the watchdog is $(property WatchdogUSec)"
for gateway in hermes-gateway.service hermes-gateway-coder.service; do
	[[ $(property ActiveState "$gateway") == active ]] || fail "$gateway does not run"
	property Environment "$gateway" | grep -q HERMES_KANBAN_DISPATCH_IN_GATEWAY=0 ||
		fail "$gateway would dispatch"
	property Wants "$gateway" | grep -q kanband.service || fail "$gateway does not want kanband"
done
task=$(add "after doctor")
wait_for 60 "nothing is dispatched" task_is status 'done' "$task"
ok "in $((round - 1)) rounds everything is put right by the commands that it printed"

# Changed files that nobody read again.
printf '[Service]\nNice=1\n' >/etc/systemd/system/kanband.service.d/20-nice.conf
sees 'warning +unit kanband.service: its files changed' || fail "stale files: $(doctor)"
bash -c "$(doctor | sed -n 's/.*its files changed.*; run: //p')"
sees 'its files changed' && fail "still: $(doctor)"
ok "unit files that changed since they were read are told"

# kanband started by hand while its unit does not run.
timeout 100 systemctl stop "$unit" || fail "stop"
as_owner kanband --root "$root" >/tmp/outside 2>&1 &
(wait_for 20 "kanband outside of its unit is not told" sees 'warning +unit kanband.service: it is inactive: kanband runs, but not in its unit') || fail "$(cat /tmp/outside; doctor)"
timeout 100 bash -c "$(doctor | sed -n 's/.*not in its unit.*; run: //p')"
sees 'not in its unit' && fail "still: $(doctor)"
outside=$(kanbanctl --root "$root" leader | grep -oE 'pid [0-9]+' | grep -oE '[0-9]+' | head -n 1)
[[ $outside != $(main_pid) ]] || fail "the unit's has the lease already"
kill "$outside"
wait_for 60 "the unit does not take over" sees "ok +lease: kanband .* pid $(main_pid),"
ok "a kanband that runs beside its unit is told, and followed by the unit's"

# No unit at all.
timeout 100 systemctl disable --now "$unit" 2>/dev/null || fail "disable"
rm -rf /usr/lib/systemd/system/kanband* /usr/lib/systemd/user/kanband* /etc/systemd/system/kanband.service.d
systemctl daemon-reload
sees 'warning +unit: kanband has none' || fail "no unit, and not told: $(doctor)"
remedy=$(doctor | sed -n 's/.*kanband has none.*; run: //p')
(cd "$top" && timeout 200 bash -c "$remedy") >/dev/null 2>&1 || fail "failed: $remedy"
sees 'kanband has none' && fail "still: $(doctor)"
wait_for 60 "kanband does not run: $(doctor)" sees 'ok +lease: kanband'
ok "where there is no unit, the command installs and starts one"
