# shellcheck shell=bash
# What with-systemd and with-vm share: a tree of this machine becomes one that boots for a test.

systemd_of_this_machine() {
	local path
	for path in /usr/lib/systemd/systemd /lib/systemd/systemd; do
		[[ ! -x $path ]] || { echo "$path"; return; }
	done
	return 1
}

# command_of_a_test COMMAND… : a script that runs it in our folder with our environment
command_of_a_test() {
	export -p | grep -vE '^declare -x (NOTIFY_SOCKET|WATCHDOG_|INVOCATION_ID|JOURNAL_STREAM|LISTEN_|XDG_RUNTIME_DIR|DBUS_|TMPDIR)' || true
	echo 'export WITH_SYSTEMD=1 LC_ALL=C.UTF-8'
	printf 'cd %q || exit 1\nexec' "$PWD"
	printf ' %q' "$@"
	echo
}

# tree_of_a_test ROOT ACTION : its systemd starts the journal, the bus and /run/with-systemd/command, whose
# end is followed by ACTION
tree_of_a_test() {
	local root=$1 action=$2
	mkdir -p "$root/run/with-systemd" "$root/run/lock" "$root/run/systemd/system" "$root/var/tmp"
	# Nothing of the host's own boot: sysctl, binfmt and the like would reach through to its
	# kernel, tmpfiles would empty /tmp, fstab would mount.
	rm -rf "$root"/{etc,lib,usr/lib,usr/local/lib}/systemd/system/*.target.wants
	rm -rf "$root"/{lib,usr/lib}/systemd/system-generators "$root/etc/fstab"
	echo kanband-test >"$root/etc/hostname"
	rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id"
	echo 6b616e62616e642d7465737473000001 >"$root/etc/machine-id"
	rm -rf "$root/var/log/journal" # the journal of this boot only, in /run
	cat >"$root/run/systemd/system/with-systemd.target" <<'EOU'
[Unit]
Requires=dbus.socket systemd-journald.service
Wants=with-systemd.service
After=dbus.socket systemd-journald.service
AllowIsolate=yes
EOU
	cat >"$root/run/systemd/system/with-systemd.service" <<EOU
[Unit]
DefaultDependencies=no
After=dbus.socket systemd-journald.service
SuccessAction=$action
FailureAction=$action
[Service]
Type=oneshot
ExecStart=/bin/bash /run/with-systemd/command
StandardInput=null
StandardOutput=append:/run/with-systemd/output
StandardError=inherit
TimeoutStartSec=infinity
Delegate=yes
EOU
	# A short wait when it ends: nothing here deserves 90 seconds of patience.
	mkdir -p "$root/run/systemd/system.conf.d"
	printf '[Manager]\nDefaultTimeoutStopSec=5s\n' >"$root/run/systemd/system.conf.d/with-systemd.conf"
}
