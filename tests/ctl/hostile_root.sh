#!/bin/bash
# test-timeout: 300
#
# Every command of kanbanctl and kanband on a root whose owner laid traps: links to other people's
# files in the place of databases, lock files, folders and configuration, a journal that names a
# file to remove, FIFOs. strace sees what is opened to write, removed, renamed, or given other
# modes and owners: nothing of it lies outside the root, the runtime folder and TMPDIR. Root runs
# them where root runs this: kanbanctl gives root's rights up first.
set -u
cd "$(dirname "$0")/../.." || exit 1
OUT=${OUT:-build/release}

skip() {
	echo "SKIP: $*"
	exit 77
}
command -v strace >/dev/null || skip "strace is not installed"
strace -qq -o /dev/null true 2>/dev/null || skip "strace may not trace here"
[[ ${MODE:-release} == release || ${MODE:-} == debug ]] || skip "sanitizers do not like to be traced"

W=$(mktemp -d "${TMPDIR:-/tmp}/kb-hostile.XXXXXX") || exit 1
chmod 755 "$W"
trap 'rm -rf "$W"' EXIT
R=$W/root out=$W/outside run=$W/run tmp=$W/tmp
mkdir -p "$R" "$out/dir" "$run" "$tmp" "$W/home" "$W/bin"
cp "$OUT/kanbanctl" "$OUT/kanband" "$W/bin" || exit 1 # the tree may lie where its owner alone can go
ctl=$W/bin/kanbanctl daemon=$W/bin/kanband
chmod 1777 "$tmp" "$run"
user=()
if [[ $(id -u) == 0 ]]; then
	chown -R 54321:54321 "$R" "$W/home"
	user=(setpriv --reuid 54321 --regid 54321 --clear-groups)
fi
as_owner() { "${user[@]}" env -i PATH="$PATH" HOME="$W/home" TMPDIR="$tmp" "$@"; }

# ---- the traps -------------------------------------------------------------------------------
as_owner "$ctl" --root "$R" init >/dev/null || exit 1
as_owner mkdir -p "$R/profiles/dev"
id=$(as_owner "$ctl" --root "$R" add --assignee dev task)
for b in link journal fifo logs whole; do
	as_owner "$ctl" --root "$R" --board $b init >/dev/null || exit 1
	as_owner "$ctl" --root "$R" --board $b add --assignee dev task >/dev/null
done
as_owner "$ctl" --root "$R" snapshot whole >/dev/null
B=$R/kanban/boards
cp "$R/kanban.db" "$out/victim.db"
echo other >"$out/victim"
trap_link() {
	as_owner rm -rf "$2"
	as_owner ln -s "$1" "$2"
}
trap_link "$out/victim.db" "$B/link/kanban.db"
trap_link "$out/dir" "$B/logs/logs"
trap_link "$out/dir" "$B/logs/snapshots"
trap_link "$out/dir" "$B/elsewhere"
trap_link "$out/new" "$R/kanban/.kanband.outbox"
trap_link "$out/victim" "$R/profiles/dev/config.yaml"
trap_link "$out/victim" "$B/whole/kanban.db.health.json"
as_owner rm -f "$B/fifo/kanban.db" && as_owner mkfifo "$B/fifo/kanban.db"
# a hot journal whose super-journal is somebody else's file, see
# https://sqlite.org/fileformat2.html#the_rollback_journal
printf '\xd9\xd5\x05\xf9\x20\xa1\x63\xd7\0\0\0\0\0\0\0\1\0\0\0\1\0\0\2\0\0\0\x10\0' |
	as_owner tee "$B/journal/kanban.db-journal" >/dev/null
as_owner truncate -s 512 "$B/journal/kanban.db-journal"
as_owner tee "$W/home/stub" >/dev/null <<<'#!/bin/sh'
as_owner chmod 755 "$W/home/stub"
sums() { (cd "$out" && find . -type f -exec sha256sum {} + | sort && find . | sort); }
before=$(sums)

# ---- what may be written ---------------------------------------------------------------------
allowed() {
	case $1 in
	"$R" | "$R"/* | "$run"/* | "$tmp"/* | "$W"/home/* | /dev/null | /dev/tty | /dev/pts/* | /proc/* | pipe:* | socket:* | anon_inode:*) return 0 ;;
	esac
	return 1
}

# resolved PATH : without links in its folder
resolved() {
	local folder=${1%/*}
	echo "$(realpath -m "${folder:-/}")/${1##*/}"
}

bad=0
traced=0
declare -A tried=() # verbs of kanbanctl
# One command; whatever it says and ends with, it writes where it may.
try() {
	local line path fd rest before_it word option=
	for word; do
		[[ $word != -* ]] || { option=$word; continue; }
		[[ $option == --board ]] || tried[$word]=1 # if it is a verb
		option=
	done
	rm -f "$W"/trace.*
	# a file for each thread: a call that another one interrupts stays one line
	timeout -k 5 30 strace -ff -qq -y -s 4096 -o "$W/trace" \
		-e trace=open,openat,openat2,creat,mknod,mknodat,rmdir,unlink,unlinkat,rename,renameat,renameat2,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,mkdir,mkdirat,link,linkat,symlink,symlinkat,truncate,ftruncate \
		env -i PATH="$PATH" HOME="$W/home" TMPDIR="$tmp" XDG_RUNTIME_DIR="$run" KANBAND_RUN="$run" HERMES_BIN="$W/home/stub" \
		HERMES_KANBAN_BUSY_TIMEOUT_MS=500 "$@" >"$W/said" 2>&1 </dev/null
	((traced++))
	while read -r line; do
		[[ $line == *' = -1 '* || $line != *'('*') = '* ]] && continue
		rest=$line
		case $rest in
		open* | creat*)
			[[ $rest == *O_WRONLY* || $rest == *O_RDWR* || $rest == *O_CREAT* || $rest == *O_TRUNC* ]] || continue
			path=${rest##*<}
			path=${path%>*}
			path=${path%'(deleted)'}
			allowed "$path" || { echo "not ok - $*: $rest"; bad=1; }
			;;
		fchmod'('* | fchown'('* | ftruncate'('*)
			path=${rest#*<}
			path=${path%%>*}
			allowed "${path%' (deleted)'}" || { echo "not ok - $*: $rest"; bad=1; }
			;;
		*)
			fd=
			while [[ $rest == *\"*\"* ]]; do
				before_it=${rest%%\"*} rest=${rest#*\"}
				path=${rest%%\"*} rest=${rest#*\"}
				if [[ $before_it == *'<'* ]]; then
					fd=${before_it##*<}
					fd=${fd%%>*}
				fi
				[[ $path == /* ]] || path=${fd:-$PWD}/$path
				# what a link says is text, not a place
				[[ $line == *symlink* && $rest == *\"* ]] && continue
				allowed "$(resolved "$path")" || { echo "not ok - $*: $path: $line"; bad=1; }
			done
			;;
		esac
	done < <(cat "$W"/trace.*)
}

# ---- every command ---------------------------------------------------------------------------
k=("$ctl" --root "$R")
for board in default link journal fifo logs elsewhere whole; do
	for verb in list board check 'repair --dry-run' repair snapshot snapshots 'restore --dry-run' restore accept 'gc --older-than 0'; do
		# shellcheck disable=SC2086  # words
		try "${k[@]}" --board $board $verb
	done
	try "${k[@]}" --board $board init
	try "${k[@]}" --board $board add more
	try "${k[@]}" --board $board words tasks
	try "${k[@]}" --board $board logs "$id"
	try "${k[@]}" --board $board why "$id"
	try "${k[@]}" --board $board restore --to "$R/copy-of-$board.db"
done
for verb in show start heartbeat complete block unblock retry kill cancel archive schedule 'comment x' 'edit --title y' 'assign dev' 'link t_x' 'unlink t_x' 'subscribe --platform x --chat y'; do
	# shellcheck disable=SC2086  # words
	set -- $verb
	first=$1
	shift
	case $first in
	comment | assign | link | unlink) try "${k[@]}" "$first" "$id" "$@" ;;
	*) try "${k[@]}" "$first" "$id" "$@" ;;
	esac
done
for verb in status boards leader 'leader --history' workers events top metrics reload drain handover tick pause resume notify 'notify retry' doctor gateways 'gateways --fix' help 'words verbs' 'words boards' 'words profiles' 'words statuses' 'words options add' 'words arguments restore'; do
	# shellcheck disable=SC2086  # words
	try "${k[@]}" $verb
done
try timeout -s INT 3 "${k[@]}" web
# and those that are not named above
while IFS=$'\t' read -r verb _; do
	[[ ${tried[$verb]-} ]] && continue
	try "${k[@]}" "$verb"
	try "${k[@]}" "$verb" "$id"
done < <("$ctl" words verbs)

d=("${user[@]}" "$daemon" --root "$R" --launcher fork)
try "${d[@]}" --once --dry-run
try "${d[@]}" --once
try "${d[@]}" --once --json
for board in link journal fifo logs elsewhere; do try "${d[@]}" --once --board $board; done
try "${d[@]}" --check-config --json
for launcher in auto command slurm systemd; do try "${user[@]}" "$daemon" --root "$R" --launcher $launcher --once --dry-run; done
try "${d[@]}" --check-config
try timeout -s TERM 5 "${d[@]}" --socket "$run/s.sock"

[[ $(sums) == "$before" ]] || { echo "not ok - what lies outside is not as it was"; bad=1; }
((bad == 0)) || exit 1
echo "ok - $traced commands wrote only where they may"
