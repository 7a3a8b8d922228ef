# Completion of kanbanctl for fish. Names come from `kanbanctl words`, with a description behind
# a tab, which is what fish takes.

# The options of the line that say which root and which board are meant.
function __kanbanctl_where
    set -l words (commandline -opc)
    for i in (seq (count $words))
        switch $words[$i]
            case --root --board
                set -l next (math $i + 1)
                test $next -le (count $words); and printf '%s\n' $words[$i] $words[$next]
            case '--root=*' '--board=*'
                printf '%s\n' $words[$i]
        end
    end
end

function __kanbanctl_words
    kanbanctl (__kanbanctl_where) words $argv 2>/dev/null
end

# The verb of the line, and how many words are behind it.
function __kanbanctl_verb
    set -l words (commandline -opc)
    set -e words[1]
    set -l skip 0
    set -l found
    for word in $words
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case --root --board --socket --assignee --body --priority --parent --workspace --workspace-path --branch --max-runtime --max-retries --skill --model --provider --tenant --created-by --idempotency-key --status --limit --events --result --summary --metadata --run --reason --kind --note --author --timeout --since --config
                set skip 1
            case '-*'
            case '*'
                set -a found $word
        end
    end
    set -q found[1]; and printf '%s\n' $found
end

function __kanbanctl_is
    set -l words (__kanbanctl_verb)
    test (count $words) -ge 1; and contains -- $words[1] $argv
end

function __kanbanctl_first
    set -l words (__kanbanctl_verb)
    test (count $words) -eq 1; and contains -- $words[1] $argv
end

function __kanbanctl_none
    set -l words (__kanbanctl_verb)
    test (count $words) -eq 0
end

complete -c kanbanctl -f
complete -c kanbanctl -n __kanbanctl_none -a '(__kanbanctl_words verbs)'
complete -c kanbanctl -l root -r -a '(__fish_complete_directories)' -d 'the kanban root'
complete -c kanbanctl -l board -x -a '(__kanbanctl_words boards)' -d 'the board'
complete -c kanbanctl -l socket -r -F -d 'the control socket'
complete -c kanbanctl -l json -d 'machine-readable output'
complete -c kanbanctl -l help -d 'help'
complete -c kanbanctl -n __kanbanctl_none -l version -d 'the version'

complete -c kanbanctl -n '__kanbanctl_first show complete block comment' -a '(__kanbanctl_words tasks)'
complete -c kanbanctl -n '__kanbanctl_first unblock' -a '(__kanbanctl_words tasks blocked)'
complete -c kanbanctl -n '__kanbanctl_first heartbeat' -a '(__kanbanctl_words tasks running)'
complete -c kanbanctl -n '__kanbanctl_first board check repair snapshot snapshots restore accept tick pause resume' -a '(__kanbanctl_words boards)'
complete -c kanbanctl -n '__kanbanctl_first notify' -a retry
complete -c kanbanctl -n '__kanbanctl_first words' -a 'verbs boards tasks profiles'
complete -c kanbanctl -n '__kanbanctl_is restore init' -F

complete -c kanbanctl -n '__kanbanctl_is add list' -l assignee -x -a '(__kanbanctl_words profiles)' -d 'who does it'
complete -c kanbanctl -n '__kanbanctl_is add list' -l tenant -x -d 'whom it is for'
complete -c kanbanctl -n '__kanbanctl_is add' -l body -x -d 'what is to be done'
complete -c kanbanctl -n '__kanbanctl_is add' -l priority -x -d 'higher comes first'
complete -c kanbanctl -n '__kanbanctl_is add' -l parent -x -a '(__kanbanctl_words tasks)' -d 'wait for that task'
complete -c kanbanctl -n '__kanbanctl_is add' -l triage -d 'it waits in triage'
complete -c kanbanctl -n '__kanbanctl_is add' -l workspace -x -a 'scratch dir worktree' -d 'kind of workspace'
complete -c kanbanctl -n '__kanbanctl_is add' -l workspace-path -r -a '(__fish_complete_directories)' -d 'its folder'
complete -c kanbanctl -n '__kanbanctl_is add' -l branch -x -d 'branch of a worktree'
complete -c kanbanctl -n '__kanbanctl_is add' -l max-runtime -x -d 'seconds'
complete -c kanbanctl -n '__kanbanctl_is add' -l max-retries -x -d 'failures'
complete -c kanbanctl -n '__kanbanctl_is add' -l skill -x -d 'a skill to load'
complete -c kanbanctl -n '__kanbanctl_is add' -l model -x -d 'the model'
complete -c kanbanctl -n '__kanbanctl_is add' -l provider -x -d 'its provider'
complete -c kanbanctl -n '__kanbanctl_is add' -l created-by -x -d 'who asks'
complete -c kanbanctl -n '__kanbanctl_is add' -l idempotency-key -x -d 'add it once'
complete -c kanbanctl -n '__kanbanctl_is list' -l status -x -a 'triage todo scheduled ready running blocked review done archived' -d 'only these'
complete -c kanbanctl -n '__kanbanctl_is list' -l all -d 'archived ones too'
complete -c kanbanctl -n '__kanbanctl_is list' -l limit -x -d 'at most so many'
complete -c kanbanctl -n '__kanbanctl_is show' -l events -x -d 'newest events'
complete -c kanbanctl -n '__kanbanctl_is complete' -l result -x -d 'what came out'
complete -c kanbanctl -n '__kanbanctl_is complete' -l summary -x -d 'what was done'
complete -c kanbanctl -n '__kanbanctl_is complete' -l metadata -x -d 'facts as JSON'
complete -c kanbanctl -n '__kanbanctl_is complete block heartbeat' -l run -x -d 'only for this run'
complete -c kanbanctl -n '__kanbanctl_is block' -l reason -x -d 'what is missing'
complete -c kanbanctl -n '__kanbanctl_is block' -l kind -x -a 'needs_input capability transient dependency' -d 'kind of block'
complete -c kanbanctl -n '__kanbanctl_is heartbeat' -l note -x -d 'a note'
complete -c kanbanctl -n '__kanbanctl_is comment' -l author -x -d 'who says it'
complete -c kanbanctl -n '__kanbanctl_is repair restore gateways' -l dry-run -d 'write nothing'
complete -c kanbanctl -n '__kanbanctl_is repair' -l salvage -d 'although rows are lost'
complete -c kanbanctl -n '__kanbanctl_is drain' -l timeout -x -d 'seconds'
complete -c kanbanctl -n '__kanbanctl_is drain' -l no-wait -d 'do not wait for workers'
complete -c kanbanctl -n '__kanbanctl_is events' -s f -l follow -d 'go on with what happens'
complete -c kanbanctl -n '__kanbanctl_is events' -l since -x -d 'begin behind that event'
complete -c kanbanctl -n '__kanbanctl_is doctor' -l config -r -F -d 'kanband.conf'
complete -c kanbanctl -n '__kanbanctl_is gateways' -l fix -d 'show the drop-ins'
complete -c kanbanctl -n '__kanbanctl_is gateways' -l yes -d 'write them'
