#compdef kanbanctl
# Completion of kanbanctl for zsh (as _kanbanctl in a folder of $fpath). What there is to complete
# is asked of `kanbanctl words`: the verbs, their options and arguments, and the names that these
# take, with a description behind a tab.

# _kanbanctl_words KIND [WORD]: of the root and the board that the line names
_kanbanctl_words() {
  local -a where
  local -i i
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
    --root | --board | -r | -b) where+=("$words[i]" "$words[i+1]") ;;
    --root=* | --board=*) where+=("$words[i]") ;;
    esac
  done
  kanbanctl "${where[@]}" words "$@" 2>/dev/null
}

# _kanbanctl_names KIND [WORD]: the same as matches
_kanbanctl_names() {
  local -a described
  local line
  for line in "${(@f)$(_kanbanctl_words "$@")}"; do
    [[ -n $line ]] && described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  _describe -t "$1" "$1" described
}

# Names of a kind that an option or an argument takes
_kanbanctl_value() {
  case $1 in
  BOARD) _kanbanctl_names boards ;;
  PROFILE) _kanbanctl_names profiles ;;
  TASK) _kanbanctl_names tasks ;;
  TASK:*) _kanbanctl_names tasks "${1#TASK:}" ;;
  STATUS) _kanbanctl_names statuses ;;
  VERB) _kanbanctl_names verbs ;;
  FOLDER) _directories ;;
  FILE | COPY) _files ;;
  *[A-Z]*) _message "$1" ;;
  *) compadd -- ${(s:|:)1} ;;
  esac
}

_kanbanctl() {
  local line name what verb kind
  local -a options
  local -i i n=1
  # the verb: the first word that is neither an option nor the value of a global one
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
    --root | --board | --socket | -r | -b | -s) ((i++)) ;;
    -*) ;;
    *) verb=$words[i]; break ;;
    esac
  done
  options=(
    '(-r --root)'{-r,--root}'[the kanban root]:folder:_directories'
    '(-b --board)'{-b,--board}'[the board]:board:{_kanbanctl_value BOARD}'
    '(-s --socket)'{-s,--socket}'[the control socket]:socket:_files'
    '(-j --json)'{-j,--json}'[machine-readable output]'
    '(- *)'{-h,--help}'[help]'
    '1:verb:{_kanbanctl_value VERB}' # always there: without it nothing completes behind a verb that takes no argument
  )
  if [[ -z $verb ]]; then
    options+=('(- *)'{-V,--version}'[the version]')
  else
    for line in "${(@f)$(_kanbanctl_words options $verb)}"; do
      [[ -n $line ]] || continue
      name=${line%%$'\t'*} what=${${${line#*$'\t'}//\[/(}//\]/)}
      if [[ $name == *=* ]]; then
        options+=("*${name%%=*}[${what//:/\\:}]:${name#*=}:{_kanbanctl_value '${name#*=}'}")
      else
        options+=("${name}[${what//:/\\:}]")
      fi
    done
    for kind in "${(@f)$(_kanbanctl_words arguments $verb)}"; do
      [[ -n $kind ]] && options+=("$((++n)):${kind//:/\\:}:{_kanbanctl_value '$kind'}")
    done
  fi
  _arguments -s -S $options
}

_kanbanctl "$@"
