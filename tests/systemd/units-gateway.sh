#!/bin/bash
# From the dispatcher inside the gateway to kanband and back, step by step as
# kanband-deployment(7) has it, with two gateways that lock as Hermes's do.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
printf 'u tester 1999 "A person" /home/tester /bin/sh\n' | systemd-sysusers - 2>/dev/null
install -d -o tester -g tester /home/tester /home/tester/.hermes
owner=tester home=/home/tester root=/home/tester/.hermes unit=kanband@tester.service
make_root
as_owner mkdir -p "$root/profiles/coder"
cp /etc/kanband/environment /etc/kanband/environment.tester
touch "$home/release"

# hermes -p PROFILE gateway run: holds its gateway.lock, and the lease as soon as it may. (Not
# flock(1): the kernel would name a process that is gone as the holder.)
cat >/usr/bin/hermes <<'EOH'
#!/usr/bin/perl
use Fcntl ':flock';
my $root = '/home/tester/.hermes';
my $home = $ARGV[1] eq 'default' ? $root : "$root/profiles/$ARGV[1]";
open my $own, '>>', "$home/gateway.lock" or die;
open my $lease, '>>', "$root/kanban/.dispatcher.lock" or die;
flock $own, LOCK_EX | LOCK_NB or die;
my $may = ($ENV{HERMES_KANBAN_DISPATCH_IN_GATEWAY} // 1) ne '0';
select undef, undef, undef, 0.1 until $may && flock $lease, LOCK_EX | LOCK_NB;
sleep;
EOH
chmod 755 /usr/bin/hermes
gateways=(hermes-gateway.service hermes-gateway-coder.service)
# What only the manager knows: a specifier, and that a unit is masked.
as_owner mkdir -p "$root/profiles/ben" "$root/profiles/old"
printf '%s\n' '[Service]' User=tester "Environment=HERMES_HOME=$root/profiles/%j" \
	'ExecStart=/usr/bin/hermes -p %j gateway run' >/etc/systemd/system/hermes-gateway-ben.service
sed "s/%j/old/" /etc/systemd/system/hermes-gateway-ben.service >/usr/lib/systemd/system/hermes-gateway-old.service
for profile in default coder; do
	name=hermes-gateway-$profile
	cat >"/etc/systemd/system/${name%-default}.service" <<-EOU
		[Service]
		User=tester
		Environment=HERMES_HOME=$root$([[ $profile == default ]] || echo "/profiles/$profile")
		ExecStart=/usr/bin/hermes -p $profile gateway run
	EOU
done
systemctl daemon-reload
systemctl mask --quiet hermes-gateway-old.service
systemctl start "${gateways[@]}" || fail "the gateways do not start"
leader() { as_owner kanbanctl --root "$root" leader 2>&1; }
# led_by UNIT… : one of them has the lease, says the kernel
led_by() {
	local pid u
	pid=$(leader | grep -oE 'pid [0-9]+' | head -n 1)
	for u; do [[ $pid == "pid $(property MainPID "$u")" ]] && return; done
	return 1
}
wait_for 60 "no gateway has the lease: $(leader)" led_by "${gateways[@]}"
# the other one begins with two files, too
begun() { [[ -e $root/gateway.lock && -e $root/profiles/coder/gateway.lock ]]; }
wait_for 60 "a gateway does not begin" begun
ok "before: a gateway dispatches, and kanbanctl leader names it"

tree() { (cd "$root" && find . -type f -exec sha256sum {} + | sort -k 2); }
before=$(tree)
as_owner kanband --once --dry-run --root "$root" >/dev/null || fail "the dry run fails"
[[ $(tree) == "$before" ]] || fail "the dry run wrote something"
systemctl enable --now --quiet "$unit" || fail "start beside a gateway"
# shellcheck disable=SC2053  # a pattern
status_is() { [[ $(property StatusText) == $1 ]]; }
wait_for 60 "no standby: $(property StatusText)" status_is '*standby*'
task=$(add "for whoever owns")
led_by "${gateways[@]}" || fail "kanband took the lease: $(leader)"
ok "kanband stands by: $(property StatusText)"

found=$(kanbanctl --root "$root" gateways) || true
for u in "${gateways[@]}" hermes-gateway-ben.service; do
	[[ $found == *"${u%.service}"* ]] || fail "gateways does not show $u: $found"
done
[[ $found != *hermes-gateway-old* ]] || fail "a masked unit starts nothing: $found"
ok "gateways knows what the manager knows: a unit that names its profile by %j, and a masked one"
kanbanctl --root "$root" gateways --fix >/dev/null || true
for u in "${gateways[@]}"; do
	[[ ! -e /etc/systemd/system/$u.d ]] || fail "--fix alone wrote something"
done
kanbanctl --root "$root" gateways --fix --yes >/dev/null || true
systemctl daemon-reload
for u in "${gateways[@]}"; do
	[[ $(property Environment "$u") == *HERMES_KANBAN_DISPATCH_IN_GATEWAY=0* ]] || fail "no drop-in for $u"
done
ok "kanbanctl gateways --fix --yes writes the drop-ins, --fix alone does not"

systemctl restart "${gateways[@]}" || fail "restart of the gateways"
wait_for 60 "kanband does not own: $(leader)" led_by "$unit"
wait_for 60 "the task is not done" task_is status "done" "$task"
for u in "${gateways[@]}"; do
	[[ $(property ActiveState "$u") == active ]] || fail "$u does not run"
done
ok "after: kanband dispatches, the gateways run on"

as_owner kanbanctl --root "$root" drain >/dev/null || fail "drain"
systemctl disable --now --quiet "$unit"
kanbanctl --root "$root" gateways --undo --yes >/dev/null || fail "undo"
for u in "${gateways[@]}" hermes-gateway-ben.service; do
	[[ ! -e /etc/systemd/system/$u.d ]] || fail "--undo left the drop-in of $u"
done
systemctl daemon-reload
systemctl restart "${gateways[@]}"
wait_for 60 "no gateway has the lease: $(leader)" led_by "${gateways[@]}"
[[ $(db 'pragma integrity_check') == ok ]] || fail "integrity"
ok "and back: a gateway has the lease again"
