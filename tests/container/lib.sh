# shellcheck shell=bash
# What the tests with podman share. Sourced first, with the $name of the container, $wait_s, how
# long a condition is waited for, and $pod_s, how long one podman may take (0: without end).
#
# A test says `ok "what holds"` for each thing it has seen, and ends by `fail "what does not"`,
# which prints the container's log, or by `skip "why not here"`.
# shellcheck disable=SC2154  # those, see above
dir=$(mktemp -d)
clean() {
	local at
	pod rm -f -t 1 "$name" >/dev/null 2>&1 || true
	while read -r at; do
		umount -l "$at" 2>/dev/null || true
	done < <(awk -v d="$dir/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r)
	rm -rf -- "$dir"
}
trap clean EXIT

skip() {
	echo "SKIP: $*"
	exit 77
}
ok() { echo "ok - $*"; }
fail() {
	echo "not ok - $*"
	pod logs "$name" 2>&1 | tail -n 20 | sed 's/^/# /'
	exit 1
}

# A store of its own, and whichever runtime is found to work with this host's cgroups.
runtime=''
pod() {
	timeout "$pod_s" podman ${runtime:+--runtime "$runtime"} --cgroup-manager cgroupfs --storage-driver vfs \
		--root "$dir/store" --runroot "$dir/run" "$@"
}

# can_podman : is there one, and may it be tried
can_podman() {
	((EUID == 0)) || skip "podman is tried as root"
	command -v podman >/dev/null || skip "there is no podman"
}

# wait_for WHAT COMMAND… : until COMMAND is true
wait_for() {
	local deadline=$((SECONDS + wait_s * ${KANBAND_PATIENCE:-1})) what=$1
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || fail "$what"
		sleep 0.05
	done
}
