#!/bin/bash
# Every command of the EXAMPLES of every manual is run, and every piece of configuration is read.
#
#   examples.sh [--show]      --show: print what each command says, to paste into the manuals
#
# In a display the lines behind "$ " are commands and the others what they say; one without such
# lines is a script, a worker (it begins with #!) or configuration (it begins with a [section]).
# test-timeout: 300
. "$(dirname "$0")/lib.sh"
command -v jq >/dev/null || { echo "SKIP: no jq; run: make deps"; exit 77; }
install_kanband
show=${1-}

# ── the host that the manuals speak of ──────────────────────────────────────────────────────
make_root
as_owner mkdir -p "$root/profiles/coder" "$root/profiles/anna" "$root/profiles/ben"
as_owner kanbanctl --root "$root" --board web init >/dev/null
id() { echo "t_1a2b3c4$1"; }
row() { # BOARD ID TITLE ASSIGNEE PRIORITY
	local db=$root/kanban.db
	[[ $1 == default ]] || db=$root/kanban/boards/$1/kanban.db
	sqlite3 -cmd '.timeout 10000' "$db" "insert into tasks (id, title, status, assignee, priority, created_at, workspace_kind)
		values ('$2', '$3', 'ready', '$4', $5, strftime('%s', 'now'), 'scratch')"
}
row default "$(id d)" "Draw the plan" dora 0
row default "$(id e)" "Measure the rooms" worker 0
for i in 0 1 2 3 4 5; do row web "t_2b3c4d5$i" "Page $i" "" 0; done
useradd --create-home --home-dir /var/lib/alice alice 2>/dev/null || true
setpriv --reuid=alice --regid=alice --init-groups env HOME=/var/lib/alice kanbanctl --root /var/lib/alice/.hermes init >/dev/null
mkdir -p ~/.hermes /var/lib/hermes
kanbanctl --root ~/.hermes init >/dev/null
kanbanctl --root /var/lib/hermes init >/dev/null
mkdir /tmp/bin
printf '#!/bin/sh\necho "all rooms"\n' >/tmp/bin/make # what the worker of an example calls
chmod 755 /tmp/bin/make
systemctl start "$unit" || fail "start"
wait_for 60 "no worker" has_worker "$(id e)"
kanbanctl --root "$root" snapshot web >/dev/null || fail "no snapshot"
export HERMES_KANBAN_HOME=$root
cd ~

# What a question begins with, by the words that it has.
before() { # MANUAL TEXT
	case $2 in
	*"kanbanctl drain"*) touch "$home/release" ;; # what runs ends
	*"repair --dry-run web"*) # something else was written over it
		systemctl stop "$unit"
		head -c 40960 /dev/zero | tr '\0' Z | as_owner tee "$root/kanban/boards/web/kanban.db" >/dev/null
		systemctl start "$unit"
		damaged() { [[ $(kanbanctl boards --json | jq -r '.boards[] | select(.slug == "web").state') =~ quarantined|lost ]]; }
		wait_for 60 "web is not quarantined" damaged
		;;
	esac
}

# What cannot be had here, and why. Anything else is run.
unless() { # COMMAND
	case $1 in
	*) return 1 ;;
	esac
}

# ── the manuals ─────────────────────────────────────────────────────────────────────────────
# displays FILE : its displays below EXAMPLES, each ended by a NUL
displays() {
	awk '/^\.Sh /{ on = /EXAMPLES/ } on && /^\.Bd -literal/ { in_it = 1; next }
		on && /^\.Ed/ { in_it = 0; printf "%c", 0; next }
		in_it { gsub(/\\e/, "\\"); gsub(/\\&/, ""); gsub(/\\\(aq/, "\047"); gsub(/\\-/, "-"); print }' "$1"
}

commands=0
run() { # MANUAL COMMAND : 0, or 1 where a look found something
	local status=0 said
	commands=$((commands + 1))
	said=$(cd ~ && eval "$2" 2>&1) || status=$?
	[[ $show ]] && printf '%s\n' "$1: $ $2" "$said"
	((status <= 1)) || fail "$1: $2: $status: $said"
}

for manual in "$top"/man/*.[1-8]; do
	name=${manual##*/}
	while IFS= read -r -d '' display; do
		before "$name" "$display"
		case $display in
		'#!'*) # a worker: it does a task
			cat >/usr/bin/test-worker <<<"$display"
			sed -i '1a PATH=/tmp/bin:$PATH' /usr/bin/test-worker
			done_=$(add "by the worker of an example")
			wait_for 60 "$name: the worker did not report: $display" task_is status "done" "$done_"
			;;
		'['*)
			printf '%s\n' "$display" >/tmp/example.conf
			kanband --check-config --config /tmp/example.conf >/dev/null || fail "$name: $display"
			;;
		*'$ '*)
			while read -r command; do
				unless "$command" || run "$name" "$command"
			done < <(sed -n 's/^\$ //p' <<<"$display")
			;;
		*)
			unless "$display" || run "$name" "$display"
			;;
		esac
	done < <(displays "$manual")
	ok "$name"
done
((commands >= 20)) || fail "only $commands commands were found"
ok "$commands commands were run"
