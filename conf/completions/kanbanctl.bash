# shellcheck shell=bash
# Completion of kanbanctl for bash. Names come from `kanbanctl words`, which prints only what no
# shell can take for more than a name; here they are compared, never expanded.

# Those of the lines on standard input that begin with $1 become the answer.
_kanbanctl_choose() {
	local word
	while IFS=$'\t' read -r word _; do
		if [[ $word == "$1"* ]]; then COMPREPLY+=("$word"); fi
	done
}

# _kanbanctl_words CURRENT KIND [STATUS]: of the root and the board that the line names
_kanbanctl_words() {
	local cur=$1
	shift
	_kanbanctl_choose "$cur" < <("${COMP_WORDS[0]}" "${_kanbanctl_where[@]}" words "$@" 2>/dev/null)
}

_kanbanctl_lines() {
	local cur=$1
	shift
	_kanbanctl_choose "$cur" < <(printf '%s\n' "$@")
}

_kanbanctl_options() {
	local globals='--root --board --socket --json --help'
	case $1 in
	'') globals+=' --version' ;;
	add) globals+=' --assignee --body --priority --parent --triage --workspace --workspace-path --branch --max-runtime --max-retries --skill --model --provider --tenant --created-by --idempotency-key' ;;
	list) globals+=' --status --assignee --tenant --all --limit' ;;
	show) globals+=' --events' ;;
	complete) globals+=' --result --summary --metadata --run' ;;
	block) globals+=' --reason --kind --run' ;;
	heartbeat) globals+=' --note --run' ;;
	comment) globals+=' --author' ;;
	repair) globals+=' --dry-run --salvage' ;;
	restore) globals+=' --dry-run' ;;
	drain) globals+=' --timeout --no-wait' ;;
	events) globals+=' --follow --since' ;;
	doctor) globals+=' --config' ;;
	gateways) globals+=' --fix --yes --dry-run' ;;
	esac
	printf '%s\n' $globals # words of ours, meant to be split
}

# Is $1 an option that takes a value
_kanbanctl_takes() {
	case $1 in
	--root | --board | --socket | --assignee | --body | --priority | --parent | --workspace | \
		--workspace-path | --branch | --max-runtime | --max-retries | --skill | --model | --provider | \
		--tenant | --created-by | --idempotency-key | --status | --limit | --events | --result | \
		--summary | --metadata | --run | --reason | --kind | --note | --author | --timeout | --since | \
		--config) return 0 ;;
	esac
	return 1
}

# The value of option $2, which begins with $1; for most there is nothing to offer.
_kanbanctl_value() {
	case $2 in
	--board) _kanbanctl_words "$1" boards ;;
	--assignee) _kanbanctl_words "$1" profiles ;;
	--parent) _kanbanctl_words "$1" tasks ;;
	--status) _kanbanctl_lines "$1" triage todo scheduled ready running blocked review 'done' archived ;;
	--workspace) _kanbanctl_lines "$1" scratch dir worktree ;;
	--kind) _kanbanctl_lines "$1" needs_input capability transient dependency ;;
	--root | --workspace-path) mapfile -t COMPREPLY < <(compgen -d -- "$1") ;;
	--socket | --config) mapfile -t COMPREPLY < <(compgen -f -- "$1") ;;
	esac
}

_kanbanctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev='' verb='' n=0 i
	local -a _kanbanctl_where=()
	COMPREPLY=()
	# --name=value is three words to readline
	for ((i = 1; i < COMP_CWORD; i++)); do
		local word=${COMP_WORDS[i]}
		if [[ $word == -* ]]; then
			_kanbanctl_takes "$word" || continue
			[[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
			if ((++i >= COMP_CWORD)); then
				prev=$word
			elif [[ $word == --root || $word == --board ]]; then
				_kanbanctl_where+=("$word" "${COMP_WORDS[i]}")
			fi
		elif [[ $verb ]]; then
			((n++))
		else
			verb=$word
		fi
	done
	if [[ $prev ]]; then
		[[ $cur == = ]] && cur=''
		_kanbanctl_value "$cur" "$prev"
		return
	fi
	if [[ $cur == -* ]]; then
		_kanbanctl_choose "$cur" < <(_kanbanctl_options "$verb")
		return
	fi
	case $verb:$n in
	:*) _kanbanctl_words "$cur" verbs ;;
	unblock:0) _kanbanctl_words "$cur" tasks blocked ;;
	heartbeat:0) _kanbanctl_words "$cur" tasks running ;;
	show:0 | complete:0 | block:0 | comment:0) _kanbanctl_words "$cur" tasks ;;
	board:0 | check:0 | repair:0 | snapshot:0 | snapshots:0 | restore:0 | accept:0 | tick:0 | pause:0 | resume:0)
		_kanbanctl_words "$cur" boards ;;
	restore:1) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	init:0) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
	notify:0) _kanbanctl_lines "$cur" retry ;;
	notify:1) _kanbanctl_words "$cur" tasks ;;
	words:0) _kanbanctl_lines "$cur" verbs boards tasks profiles ;;
	esac
}
complete -F _kanbanctl kanbanctl
