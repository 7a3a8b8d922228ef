# Completion of kanbanctl for fish. What there is to complete is asked of `kanbanctl words`: the
# verbs, their options and arguments, and the names that these take, with a description behind a
# tab, which is what fish takes.

# The options of the line that say which root and which board are meant.
function __kanbanctl_where
    set -l words (commandline -opc)
    for i in (seq (count $words))
        switch $words[$i]
            case --root --board -r -b
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

# --NAME or --NAME=VALUE, a line each, of the verb and of all
function __kanbanctl_options
    test -n "$argv[1]"; and __kanbanctl_words options $argv[1]
    printf '%s\n' --root=FOLDER\t'the kanban root' --board=BOARD\t'the board' \
        --socket=FILE\t'the control socket' --json\t'machine-readable output' --help\thelp
    test -n "$argv[1]"; or printf '%s\n' --version\t'the version'
end

# Names of a kind that an option or an argument takes
function __kanbanctl_value
    switch $argv[1]
        case BOARD
            __kanbanctl_words boards
        case PROFILE
            __kanbanctl_words profiles
        case TASK
            __kanbanctl_words tasks
        case 'TASK:*'
            __kanbanctl_words tasks (string replace TASK: '' $argv[1])
        case STATUS
            __kanbanctl_words statuses
        case VERB
            __kanbanctl_words verbs
        case FOLDER
            __fish_complete_directories (commandline -ct)
        case FILE COPY
            __fish_complete_path (commandline -ct)
        case '*'
            string match -qr '[A-Z]' -- $argv[1]; or string split '|' $argv[1]
    end
end

# Everything that can stand where the cursor is
function __kanbanctl_here
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -e words[1]
    set -l verb
    set -l n 1
    set -l takes
    for word in $words
        if test -n "$takes"
            set takes
            continue
        end
        switch $word
            case -r
                set takes FOLDER
            case -b
                set takes BOARD
            case -s
                set takes FILE
            case '--*=*'
            case '--*'
                set takes (__kanbanctl_options $verb | string replace -r '\t.*' '' | string match -- "$word=*" | string replace -r '^[^=]*=' '')
            case '-*'
            case '*'
                if test -z "$verb"
                    set verb $word
                else
                    set n (math $n + 1)
                end
        end
    end
    if test -n "$takes"
        __kanbanctl_value $takes[1]
    else if string match -q -- '-*' $current
        __kanbanctl_options $verb | string replace -r '=[^\t]*' ''
    else if test -z "$verb"
        __kanbanctl_value VERB
    else
        set -l kinds (__kanbanctl_words arguments $verb)
        test $n -le (count $kinds); and __kanbanctl_value $kinds[$n]
    end
end

complete -c kanbanctl -f -a '(__kanbanctl_here)'
