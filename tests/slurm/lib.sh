# Sourced by the tests of this folder: munged, slurmctld and two slurmd in namespaces of their own, so
# that neither a Slurm nor a systemd of this host is touched and no process can stay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for tool in munged slurmctld slurmd sbatch sqlite3 ip unshare; do
	command -v "$tool" >/dev/null || { echo "SKIP: no $tool; run: make deps"; exit 77; }
done
((EUID == 0)) || { echo "SKIP: slurmd wants to be root"; exit 77; }
if [[ -z ${IN_CLUSTER-} ]]; then
	unshare --net --pid --mount --fork true 2>/dev/null ||
		{ echo "SKIP: no namespaces can be made here"; exit 77; }
	state=$(mktemp -d "${TMPDIR:-/tmp}/kanband-slurm.XXXXXX")
	trap 'rm -rf "$state"' EXIT
	IN_CLUSTER=$state unshare --net --pid --mount --fork --kill-child --mount-proc "tests/slurm/${0##*/}" "$@"
	exit
fi
state=$IN_CLUSTER
bin=$(realpath "${OUT:-build/${MODE:-release}}")
mount -t tmpfs tmpfs /run
ip link set lo up
ip address add 192.0.2.1/32 dev lo # without one that is not 127.*, Slurm resolves none
chmod 755 "$state"

root=$state/root

db() { sqlite3 -readonly -cmd '.timeout 20000' "$root/kanban.db" "$1"; }

ok() {
	echo "ok - $*"
}

fail() {
	echo "not ok - $*"
	squeue --states=all --noheader -o '%i %T %N %j %k' | sed 's/^/# /' || true
	db "select id, title, status, consecutive_failures, last_failure_error from tasks
		where status <> 'done'" | sed 's/^/# /' || true
	db "select task_id, id, outcome, error from task_runs where outcome <> 'completed' or outcome is null" |
		sed 's/^/# /' || true
	tail -n 40 "$state/kanband.log" "$state/ctld.log" | sed 's/^/# /'
	exit 1
}
trap 'echo "not ok - $0 line $LINENO: $BASH_COMMAND"' ERR

# wait_for SECONDS WHAT COMMAND… : until COMMAND is true; what is not in time, fails
wait_for() {
	local deadline=$((SECONDS + $1 * ${KANBAND_PATIENCE:-1} + 1)) what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || fail "$what"
		sleep 0.1
	done
}

# ---- the cluster --------------------------------------------------------------------------

munge=$state/munge
mkdir -p "$munge" "$state/ctld" "$state/n1" "$state/n2" "$state/begun"
dd if=/dev/urandom of="$munge/key" bs=1024 count=1 status=none
as=(env)
if getent passwd munge >/dev/null; then
	chown -R munge: "$munge"
	as=(setpriv --reuid munge --regid munge --clear-groups)
fi
chmod 400 "$munge/key"
chmod 755 "$munge"
"${as[@]}" munged --key-file="$munge/key" --socket="$munge/socket" --pid-file="$munge/pid" \
	--log-file="$munge/log" --seed-file="$munge/seed"
export SLURM_CONF=$state/slurm.conf
cat >"$SLURM_CONF" <<EOF
ClusterName=kanban
SlurmctldHost=$(uname -n | cut -d. -f1)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$munge/socket
SlurmctldPort=16817
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/%n
SlurmctldPidFile=$state/ctld.pid
SlurmdPidFile=$state/%n.pid
SlurmctldLogFile=$state/ctld.log
SlurmdLogFile=$state/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
MpiDefault=none
ReturnToService=2
SlurmdTimeout=$((12 * ${KANBAND_PATIENCE:-1}))
KillWait=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
NodeName=n1 NodeAddr=127.0.0.1 Port=16821 CPUs=32 Sockets=1 CoresPerSocket=32 RealMemory=1000
NodeName=n2 NodeAddr=127.0.0.1 Port=16822 CPUs=32 Sockets=1 CoresPerSocket=32 RealMemory=1000
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=60 State=UP LLN=YES
EOF
slurmctld
slurmd -N n1
slurmd -N n2
nodes_idle() { [[ $(sinfo --noheader --states=idle -o %D) == 2 ]]; }
wait_for 20 "the cluster does not come up: $(tail -n 3 "$state"/*.log)" nodes_idle
ok "a cluster of two nodes"

# ---- the surroundings of kanband ----------------------------------------------------------

for name in $(env | sed -n 's/^\(HERMES_[A-Z_]*\)=.*/\1/p') NOTIFY_SOCKET WATCHDOG_USEC; do
	unset "$name"
done
export PATH="$bin:$PATH" HERMES_KANBAN_HOME="$root" XDG_RUNTIME_DIR="$state" HERMES_BIN="$state/hermes"
