#!/bin/bash
# conf/Containerfile, built and run as kanband-deployment(7) has it, and the unit that Quadlet makes
# of conf/kanband.container. No registry is asked: BASE is a bare Debian as a tarball, as
# tests/distro makes one (KANBAND_BASE_TAR=FILE). Skips without one, or where podman cannot build.
# test-timeout: 1200
set -euo pipefail
cd "$(dirname "$0")/../.."
tar=${KANBAND_BASE_TAR-}
name=kanband-image wait_s=60 pod_s=0
. tests/container/lib.sh

# ── Quadlet: Podman 4.4 or newer brings it; QUADLET=FILE names another ──
quadlet=${QUADLET:-/usr/libexec/podman/quadlet}
if [[ -x $quadlet ]]; then
	mkdir "$dir/units"
	cp conf/kanband.container "$dir/units/"
	QUADLET_UNIT_DIRS=$dir/units "$quadlet" -dryrun >"$dir/unit" 2>"$dir/why" || fail "Quadlet: $(cat "$dir/why")"
	for word in '^Type=notify' 'ExecStart=.* --hostname agents .*--sdnotify=container .*--user 10001 ' \
		'ExecStart=.* -v /srv/agents:/srv/agents ' '^RequiresMountsFor=/srv/agents' '^TimeoutStopSec=200'; do
		grep -qE -- "$word" "$dir/unit" || fail "Quadlet's unit lacks $word: $(cat "$dir/unit")"
	done
	ok "Quadlet makes a unit of conf/kanband.container"
fi

can_podman
[[ -s $tar ]] || skip "KANBAND_BASE_TAR names no bare Debian"

pod import "$tar" base >/dev/null 2>"$dir/why" || skip "podman imports nothing here: $(tail -n 1 "$dir/why")"
git clone -q . "$dir/src"
# what was fetched before, in a folder of its own: apt locks it
mkdir -p "$dir/archives/partial"
cp -l "${tar%.tar}".archives/*.deb "$dir/archives/" 2>/dev/null ||
	cp "${tar%.tar}".archives/*.deb "$dir/archives/" 2>/dev/null || true
(cd "$dir/src" && pod build --format docker -f conf/Containerfile -t kanband --build-arg BASE=localhost/base:latest \
	--isolation chroot --network host --ulimit nofile=1024:4096 --ulimit nproc=4000:4000 \
	-v "$dir/archives:/var/cache/apt/archives" .) \
	>"$dir/log" 2>&1 || fail "the image is not built: $(tail -n 20 "$dir/log")"
ok "the image is built"

root=$dir/agents
mkdir -p "$root"
cat >"$root/hermes" <<'H'
#!/bin/sh
kanbanctl complete --summary "by $(id -un) on $(hostname)"
H
chmod 755 "$root/hermes"
chown -R 10001 "$root"
run() {
	pod run -d --name "$name" --hostname agents --network none --ulimit nofile=1024:4096 \
		--ulimit nproc=1000:1000 --env HERMES_BIN=/srv/agents/hermes -v "$root:/srv/agents" \
		localhost/kanband:latest >/dev/null 2>"$dir/why"
}
for runtime in crun runc ''; do
	run && break
	pod rm -f "$name" >/dev/null 2>&1 || true
	[[ $runtime ]] || skip "podman runs no container here: $(tail -n 1 "$dir/why")"
done
inside() { pod exec "$name" kanbanctl "$@"; }
wait_for "the daemon answers in it" inside leader
inside init >/dev/null || fail "init"
task=$(inside add --assignee default "in a container") || fail "add"
done_() { [[ $(inside show "$task") == *"by agents on agents"* ]]; }
wait_for "the task is not done: $(inside show "$task")" done_
[[ $(inside status) == *"from the daemon at /srv/agents/control.sock"* ]] || fail "$(inside status)"
ok "kanbanctl in it needs no option, and a worker does its task as the account agents"
pod healthcheck run "$name" >/dev/null 2>"$dir/why" || fail "health check: $(cat "$dir/why")"
ok "the health check passes"
pod stop -t 30 "$name" >/dev/null 2>&1 || fail "it does not stop"
[[ $(pod inspect --format '{{.State.ExitCode}}' "$name") == 0 ]] || fail "it ended with an error"
ok "it stops in order"
