#!/bin/bash
# The unit files themselves: verified, weighed, and each message with its text in the catalog.
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
install_kanband
export XDG_RUNTIME_DIR=/run/user/0
mkdir -p "$XDG_RUNTIME_DIR"

id "$owner" >/dev/null || fail "no account"
[[ $(getent passwd "$owner" | cut -d: -f6,7) == "$home:/bin/sh" ]] || fail "$(getent passwd "$owner")"
[[ $(stat -c '%U %a' "$root") == "$owner 750" ]] || fail "$root: $(stat -c '%U %a' "$root")"
ok "sysusers.d and tmpfiles.d make account, home and root"

# All that was installed, a template by an instance of it.
units=() services=()
for f in /usr/lib/systemd/system/kanban*; do
	f=${f##*/}
	units+=("${f/@./@$owner.}")
done
[[ " ${units[*]} " == *" kanband.service "* && " ${units[*]} " == *" kanband@$owner.service "* ]] ||
	fail "not installed: ${units[*]}"
said=$(systemd-analyze verify --man=no "${units[@]}" 2>&1) || fail "$said"
[[ -z $said ]] || fail "$said"
said=$(systemd-analyze verify --man=no --user /usr/lib/systemd/user/kanban* 2>&1) || fail "$said"
[[ -z $said ]] || fail "$said"
ok "systemd-analyze verify has nothing to say about ${units[*]} and the user units"

# Tenths of the exposure level: workers are units of their own, so the daemon's can be closed; each
# setting that is left out has its reason in the unit. The user unit runs in a person's own manager,
# where such settings are not to be had without a user namespace.
exposed() { # FILE LIMIT [OPTION] : says the level; fails when it is above the limit
	systemd-analyze security --offline=true --threshold="$2" --no-pager ${3-} "$1" | sed -n 's/^→ //p'
}
cp /usr/lib/systemd/system/kanband@.service "/run/systemd/system/kanband@$owner.service"
while read -r file limit option; do
	said=$(exposed "$file" "$limit" "$option") || fail "$said"
	[[ $said == *"exposure level for"* ]] || fail "no level of $file: $said"
	services+=("${file##*/}")
	ok "$said"
done <<EOT
/usr/lib/systemd/system/kanband.service 20
/run/systemd/system/kanband@$owner.service 20
/usr/lib/systemd/user/kanband.service 98 --user
EOT
rm "/run/systemd/system/kanband@$owner.service"
exposed /usr/lib/systemd/system/kanband.service 5 >/dev/null && fail "the threshold does not hold"
for f in "${units[@]}"; do
	[[ $f != *.service || " ${services[*]} " == *" $f "* ]] || fail "the exposure of $f has no bound here"
done
ok "every service has its bound"

missing=
while read -r name id; do
	journalctl --dump-catalog "$id" 2>/dev/null | grep -q '^Defined-By: kanband' || missing+=" $name"
done < <(sed -nE 's/^#define +(LOG_ID_[A-Z_]+) +"([0-9a-f]{32})"/\1 \2/p' "$top/include/util/log.h")
[[ -z $missing ]] || fail "no text in the catalog:$missing"
(($(grep -c 'define LOG_ID_' "$top/include/util/log.h") >= 13)) || fail "log.h was not read"
ok "every message id of log.h has a text in the catalog"
extra=$(sed -nE 's/^-- ([0-9a-f]{32})$/\1/p' "$top/systemd/kanband.catalog" |
	while read -r id; do grep -q "$id" "$top/include/util/log.h" || echo "$id"; done)
[[ -z $extra ]] || fail "in the catalog and not in log.h: $extra"
ok "and the catalog has no other"
long=$(grep -nE '.{77}' "$top/systemd/kanband.catalog" | grep -v '^[0-9]*:#' || true)
[[ -z $long ]] || fail "in the catalog, too long for a terminal: $long"
while read -r verb; do
	kanbanctl help "$verb" >/dev/null || fail "the catalog names kanbanctl $verb"
done < <(grep -ohE '\bkanbanctl( --board [^ ]+)? [a-z]+' "$top/systemd/kanband.catalog" | sed 's/.* //' | sort -u)
ok "its lines fit a terminal, and its commands are there"
