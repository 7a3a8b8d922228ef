#compdef kanbanctl
# Completion of kanbanctl for zsh (as _kanbanctl in a folder of $fpath). Names come from
# `kanbanctl words`, with a description behind a tab.

# _kanbanctl_words KIND [STATUS]: of the root and the board that the line names
_kanbanctl_words() {
  local -a lines described where
  local line
  local -i i
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
    --root | --board) where+=("$words[i]" "$words[i+1]") ;;
    --root=* | --board=*) where+=("$words[i]") ;;
    esac
  done
  lines=("${(@f)$(kanbanctl "${where[@]}" words "$@" 2>/dev/null)}")
  for line in $lines; do
    described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  _describe -t "$1" "$1" described
}
_kanbanctl_verbs() { _kanbanctl_words verbs }
_kanbanctl_boards() { _kanbanctl_words boards }
_kanbanctl_profiles() { _kanbanctl_words profiles }
_kanbanctl_tasks() { _kanbanctl_words tasks }

_kanbanctl() {
  local curcontext=$curcontext state verb
  local -a line globals options
  local -i i
  typeset -A opt_args
  globals=(
    '--root[the kanban root]:folder:_directories'
    '--board[the board]:board:_kanbanctl_boards'
    '--socket[the control socket]:socket:_files'
    '--json[machine-readable output]'
    '(- *)--help[help]'
    '1:verb:_kanbanctl_verbs' # always there: without it nothing completes behind a verb that takes no argument
  )
  # the verb: the first word that is neither an option nor the value of a global one
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
    --root | --board | --socket) ((i++)) ;;
    -*) ;;
    *) verb=$words[i]; break ;;
    esac
  done
  case $verb in
  '') options=('(- *)--version[the version]') ;;
  init) options=('2:folder:_directories') ;;
  add) options=(
    '--assignee[who does it]:profile:_kanbanctl_profiles' '--body[what is to be done]:text:'
    '--priority[higher comes first]:number:' '*--parent[wait for that task]:task:_kanbanctl_tasks'
    '--triage[it waits in triage]' '--workspace[kind of workspace]:kind:(scratch dir worktree)'
    '--workspace-path[its folder]:folder:_directories' '--branch[branch of a worktree]:name:'
    '--max-runtime[a worker that runs longer is ended]:seconds:' '--max-retries[failures]:number:'
    '*--skill[a skill to load]:name:' '--model[the model]:name:' '--provider[its provider]:name:'
    '--tenant[whom it is for]:name:' '--created-by[who asks]:name:'
    '--idempotency-key[add it once]:key:' '2:title:') ;;
  list) options=(
    '--status[only these]:status:(triage todo scheduled ready running blocked review done archived)'
    '--assignee[only theirs]:profile:_kanbanctl_profiles' '--tenant[only theirs]:name:'
    '--all[archived ones too]' '--limit[at most so many]:number:') ;;
  show) options=('--events[newest events]:number:' '2:task:_kanbanctl_tasks') ;;
  complete) options=('--result[what came out]:text:' '--summary[what was done]:text:'
    '--metadata[facts as JSON]:json:' '--run[only for this run]:id:' '2:task:_kanbanctl_tasks') ;;
  block) options=('--reason[what is missing]:text:'
    '--kind[kind of block]:kind:(needs_input capability transient dependency)'
    '--run[only for this run]:id:' '2:task:_kanbanctl_tasks') ;;
  unblock) options=('2:task:{_kanbanctl_words tasks blocked}') ;;
  heartbeat) options=('--note[a note]:text:' '--run[only for this run]:id:'
    '2:task:{_kanbanctl_words tasks running}') ;;
  comment) options=('--author[who says it]:name:' '2:task:_kanbanctl_tasks' '3:text:') ;;
  repair) options=('--dry-run[write nothing]' '--salvage[although rows are lost]'
    '2:board:_kanbanctl_boards') ;;
  restore) options=('--dry-run[write nothing]' '2:board:_kanbanctl_boards' '3:copy:_files') ;;
  board | check | snapshot | snapshots | accept | tick | pause | resume)
    options=('2:board:_kanbanctl_boards') ;;
  drain) options=('--timeout[wait no longer]:seconds:' '--no-wait[do not wait for workers]') ;;
  notify) options=('2:what:(retry)' '3:task:_kanbanctl_tasks') ;;
  events) options=('(-f --follow)'{-f,--follow}'[go on with what happens]'
    '--since[begin behind that event]:id:') ;;
  doctor) options=('--config[kanband.conf]:file:_files') ;;
  gateways) options=('--fix[show the drop-ins]' '--yes[write them]' '--dry-run[write nothing]') ;;
  words) options=('2:kind:(verbs boards tasks profiles)' '3:status:') ;;
  esac
  _arguments -s -S $globals $options
}

_kanbanctl "$@"
