#!/bin/bash
# make install and uninstall below a DESTDIR: everything in its place, no file more, nothing left.
# Needs no root.
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

# What must be there, as FOLDER/NAME below prefix, from what the sources have.
wanted() {
	local f name
	printf '%s\n' bin/kanband bin/kanbanctl lib/systemd/user/kanban.slice lib/systemd/catalog/kanband.catalog \
		lib/sysusers.d/kanband.conf lib/tmpfiles.d/kanband.conf share/doc/kanband/README.md
	for f in $(git ls-files --cached --others --exclude-standard systemd man conf 2>/dev/null || find systemd man conf -type f); do
		[[ -e $f ]] || continue
		name=$(basename "${f%.in}")
		case $f in
		systemd/user/*) echo "lib/systemd/user/$name" ;;
		systemd/*.d/*) echo "share/doc/kanband/examples/$(basename "$(dirname "$f")")/$name" ;;
		systemd/*.service* | systemd/*.socket* | systemd/*.slice) echo "lib/systemd/system/$name" ;;
		man/*) echo "share/man/man${f##*.}/$name" ;;
		conf/completions/*.bash) echo share/bash-completion/completions/kanbanctl ;;
		conf/completions/*.zsh) echo share/zsh/site-functions/_kanbanctl ;;
		conf/completions/*.fish) echo "share/fish/vendor_completions.d/$name" ;;
		conf/grafana/* | conf/prometheus/*) echo "share/doc/kanband/${f#conf/}" ;;
		conf/openapi.yaml) echo share/doc/kanband/openapi.yaml ;;
		esac
	done
}

mkdir -p "$dest/usr/share/doc/other" # of somebody else
run prefix=/usr install
said=$(diff <(wanted | sort) <(find "$dest/usr" -type f -size +0 -printf '%P\n' | sort)) ||
	fail "wanted (<) and there (>): $said"
for f in lib/systemd/{system/kanband,system/kanband@,user/kanband}.service lib/systemd/system/kanban.slice \
	share/man/{man1/kanbanctl.1,man5/kanband.conf.5,man7/kanband-deployment.7,man7/kanband-recovery.7,man8/kanband.8}; do
	[[ -s $dest/usr/$f ]] || fail "$f is not there"
done
[[ -s $conf && -d $conf.d ]] || fail "no configuration"
[[ -x $dest/usr/bin/kanband && -x $dest/usr/bin/kanbanctl ]] || fail "not executable"
[[ $(find "$dest/etc" -type f) == "$conf" ]] || fail "in /etc: $(find "$dest/etc" -type f)"
ok=$(find "$dest" -type f ! -path '*/bin/*' ! -perm 644)
[[ -z $ok ]] || fail "not mode 644: $ok"
echo "ok - every file is in its place, and no other"

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
left=$(find "$dest" \( -name '*kanban*' -o -name '*hermes*' \) ! -path "$dest/opt/kanband")
[[ -z $left ]] || fail "a folder of ours is left: $left"
[[ -d $dest/usr/share/doc/other ]] || fail "took a folder that is not ours"
echo "ok - uninstall leaves nothing"
