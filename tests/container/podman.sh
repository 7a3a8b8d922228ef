#!/bin/bash
# kanband in a container as kanband-deployment(7) has it: the host's own file system is its image
# (an overlay of it), since no registry is asked. Skips where podman cannot run one.
# test-timeout: 120
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-build/release}
name=kanband-test wait_s=20 pod_s=60
. tests/container/lib.sh
can_podman
limits=(--ulimit nofile=1024:4096 --ulimit nproc=1000:1000)
for runtime in crun runc ''; do
	pod run --rm "${limits[@]}" --network none --rootfs /:O true >/dev/null 2>"$dir/why" && break
	[[ $runtime ]] || skip "podman runs no container here: $(tail -n 1 "$dir/why")"
done

root=$dir/agents
mkdir "$root" "$dir/bin"
cp "$out/kanband" "$out/kanbanctl" "$dir/bin/"
ctl() { "$dir/bin/kanbanctl" --socket "$root/control.sock" "$@"; }
cat >"$dir/bin/hermes" <<'E'
#!/bin/sh
hostname >>"$RIG_RAN"
while ! [ -e "$RIG_RAN.stop" ]; do sleep 0.1; done
E
chmod 755 "$dir/bin/hermes"
"$dir/bin/kanbanctl" init "$root" >/dev/null

run() {
	pod run -d --name "$name" --hostname agents --stop-timeout 30 "${limits[@]}" \
		--network none --env HERMES_BIN="$dir/bin/hermes" --env RIG_RAN="$dir/ran" \
		--env HERMES_KANBAN_CRASH_GRACE_SECONDS=0 \
		-v "$dir:$dir" --rootfs /:O \
		"$dir/bin/kanband" --root "$root" --socket "$root/control.sock" --launcher fork >/dev/null 2>"$dir/why" ||
		fail "it does not start: $(cat "$dir/why")"
}
run
wait_for "the daemon answers" ctl leader
[[ $(ctl --json leader) == *'"host": "agents"'* ]] || fail "it is not known by the name of the container"
ok "it runs in a container and is the dispatcher"
ctl add --assignee default "a task" >/dev/null
wait_for "a worker runs" test -s "$dir/ran"
[[ $(cat "$dir/ran") == agents ]] || fail "the worker is elsewhere: $(cat "$dir/ran")"
ok "a worker runs beside it"
[[ $("$dir/bin/kanbanctl" --root "$root" --json leader --history) == *'"epoch": 1'* ]] ||
	fail "the host reads who owns the root"
ok "the host sees who owns the root"

pod stop "$name" >/dev/null 2>&1 || fail "it does not stop"
code=$(pod inspect --format '{{.State.ExitCode}}' "$name" 2>/dev/null)
[[ $code == 0 ]] || fail "it ended with $code"
[[ $("$dir/bin/kanbanctl" --root "$root" leader --history) == *'it was stopped'* ]] || fail "its end is not told"
ok "it stops in order, and says so"

# The worker ended with its container: the task runs again, and nothing is counted as a failure.
pod rm -f "$name" >/dev/null 2>&1
run

wait_for "a second worker" grep -c -z 'agents.agents' "$dir/ran"
[[ $("$dir/bin/kanbanctl" --root "$root" --json list) == *'"consecutive_failures": 0'* ]] ||
	fail "its end with the container was counted"
ok "a new container of the same name takes the task up again"
touch "$dir/ran.stop"
