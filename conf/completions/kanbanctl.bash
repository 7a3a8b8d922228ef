# shellcheck shell=bash
# Completion of kanbanctl for bash. What there is to complete is asked of `kanbanctl words`: the
# verbs, their options and arguments, and the names that these take; it prints only what no shell
# can take for more than a name. Here its lines are compared, never expanded.

# Those of the lines on standard input that begin with $1 become the answer.
_kanbanctl_choose() {
	local word
	while IFS=$'\t' read -r word _; do
		if [[ $word == "$1"* ]]; then COMPREPLY+=("$word"); fi
	done
}

# _kanbanctl_words KIND [WORD]: of the root and the board that the line names
_kanbanctl_words() {
	"${COMP_WORDS[0]}" "${_kanbanctl_where[@]}" words "$@" 2>/dev/null
}

# What the options of the line are: --NAME or --NAME=VALUE, a line each
_kanbanctl_options() {
	[[ $1 ]] && _kanbanctl_words options "$1"
	printf '%s\n' --root=FOLDER --board=BOARD --socket=FILE --json --help
	[[ $1 ]] || printf '%s\n' --version
}

# _kanbanctl_value CURRENT KIND: names of that kind; for most there is nothing to offer
_kanbanctl_value() {
	case $2 in
	BOARD) _kanbanctl_choose "$1" < <(_kanbanctl_words boards) ;;
	PROFILE) _kanbanctl_choose "$1" < <(_kanbanctl_words profiles) ;;
	TASK) _kanbanctl_choose "$1" < <(_kanbanctl_words tasks) ;;
	TASK:*) _kanbanctl_choose "$1" < <(_kanbanctl_words tasks "${2#TASK:}") ;;
	STATUS) _kanbanctl_choose "$1" < <(_kanbanctl_words statuses) ;;
	VERB) _kanbanctl_choose "$1" < <(_kanbanctl_words verbs) ;;
	FOLDER) mapfile -t COMPREPLY < <(compgen -d -- "$1") ;;
	FILE | COPY) mapfile -t COMPREPLY < <(compgen -f -- "$1") ;;
	*[A-Z]*) ;;
	*) _kanbanctl_choose "$1" < <(tr '|' '\n' <<<"$2") ;;
	esac
}

_kanbanctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} verb='' takes='' n=0 i option
	local -a _kanbanctl_where=() kinds
	COMPREPLY=()
	# --name=value is three words to readline
	for ((i = 1; i < COMP_CWORD; i++)); do
		local word=${COMP_WORDS[i]}
		takes=''
		if [[ $word == --* ]]; then
			while IFS=$'\t' read -r option _; do
				[[ $option == "$word="* ]] && takes=${option#*=}
			done < <(_kanbanctl_options "$verb")
			[[ $takes ]] || continue
			[[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
			((++i >= COMP_CWORD)) && break
			takes=''
			if [[ $word == --root || $word == --board ]]; then
				_kanbanctl_where+=("$word" "${COMP_WORDS[i]}")
			fi
		elif [[ $word == -[rbs] ]]; then
			((++i < COMP_CWORD)) || return
			[[ $word == -s ]] || _kanbanctl_where+=("$word" "${COMP_WORDS[i]}")
		elif [[ $word != -* ]]; then
			[[ $verb ]] && ((n++))
			verb=${verb:-$word}
		fi
	done
	if [[ $takes ]]; then
		[[ $cur == = ]] && cur=''
		_kanbanctl_value "$cur" "$takes"
	elif [[ $cur == -* ]]; then
		_kanbanctl_choose "$cur" < <(_kanbanctl_options "$verb" | sed 's/=.*//; s/\t.*//')
	elif [[ ! $verb ]]; then
		_kanbanctl_value "$cur" VERB
	else
		mapfile -t kinds < <(_kanbanctl_words arguments "$verb")
		_kanbanctl_value "$cur" "${kinds[n]:-NONE}"
	fi
}
complete -F _kanbanctl kanbanctl
