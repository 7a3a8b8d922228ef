#!/bin/bash
# make install and uninstall below a DESTDIR: everything in its place, nothing left. Needs no root.
# test-timeout: 300
set -euo pipefail
cd "$(dirname "$0")/../.."
dest=$(mktemp -d "${TMPDIR:-/tmp}/install.XXXXXX")
trap 'rm -rf "$dest"' EXIT
trap 'echo "not ok - line $LINENO: $BASH_COMMAND"' ERR

# What was built, as it is.
run() {
	local out=${OUT:-build/${MODE:-release}}
	make -s --no-print-directory MODE="${MODE:-release}" DESTDIR="$dest" \
		-o "$out/kanband" -o "$out/kanbanctl" "$@"
}
fail() {
	echo "not ok - $*"
	exit 1
}
conf=$dest/etc/kanband/kanband.conf

run prefix=/usr install
for f in bin/kanband bin/kanbanctl lib/systemd/system/kanband.service lib/systemd/system/kanband@.service \
	lib/systemd/system/kanban.slice lib/systemd/user/kanband.service lib/systemd/user/kanban.slice \
	lib/systemd/catalog/kanband.catalog lib/sysusers.d/kanband.conf lib/tmpfiles.d/kanband.conf \
	share/man/man8/kanband.8; do
	[[ -s $dest/usr/$f ]] || fail "$f is not there"
done
for f in man/*.[1-8]; do
	[[ -s $dest/usr/share/man/man${f##*.}/${f#man/} ]] || fail "$f is not there"
done
[[ -s $conf && -d $conf.d ]] || fail "no configuration"
[[ -x $dest/usr/bin/kanband && -x $dest/usr/bin/kanbanctl ]] || fail "not executable"
ok=$(find "$dest" -type f ! -path '*/bin/*' ! -perm 644)
[[ -z $ok ]] || fail "not mode 644: $ok"
echo "ok - every file is in its place"

grep -rlE '@[a-z]+dir@' "$dest/usr/lib" && fail "a placeholder is left"
grep -qx 'ExecStart=/usr/bin/kanband' "$dest/usr/lib/systemd/system/kanband.service" || fail "ExecStart"
"$dest/usr/bin/kanband" --version | grep -q . || fail "it does not run"
echo "ok - the units name the folders that were given"

echo '# mine' >>"$conf"
run prefix=/usr install
grep -qx '# mine' "$conf" || fail "install overwrote the configuration"
run prefix=/usr uninstall | grep -q "kept: $conf" || fail "a changed configuration is not mentioned"
[[ $(find "$dest" ! -type d) == "$conf" ]] || fail "left: $(find "$dest" ! -type d)"
echo "ok - a changed configuration is neither overwritten nor removed"

rm "$conf"
run prefix=/opt/kanband sysconfdir=/opt/etc install
grep -qx 'ExecStart=/opt/kanband/bin/kanband' "$dest/opt/kanband/lib/systemd/system/kanband.service" ||
	fail "prefix"
run prefix=/opt/kanband sysconfdir=/opt/etc uninstall
run prefix=/usr uninstall
[[ -z $(find "$dest" ! -type d) ]] || fail "left: $(find "$dest" ! -type d)"
[[ -z $(find "$dest" -name '*kanband.conf*' -o -path '*/etc/kanband*') ]] || fail "a folder of ours is left"
echo "ok - uninstall leaves nothing"
