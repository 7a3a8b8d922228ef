# What zsh makes of a line when the tab key is pressed: complete.zsh FILE LINE
#
# An interactive zsh on a pseudo terminal gets the line and the keys, and writes down what its
# line editor holds then.
if [[ -n $KB_COMPLETION ]]; then # in that interactive shell
  PS1= PS2= RPS1=
  unsetopt beep
  LISTMAX=10000
  autoload -Uz compinit && compinit -u -d $HOME/dump
  functions[_kanbanctl]="$(<$KB_COMPLETION)"
  compdef _kanbanctl kanbanctl
  tell() { print -r -- "$BUFFER<end>" >$HOME/zsh.out }
  zle -N tell
  bindkey '^I' complete-word '^T' tell
  : >$HOME/zsh.ready
  return
fi
zmodload zsh/zpty || exit 3
until_there() { # FILE [WORD]: within ten seconds
  local junk
  local -i i
  for ((i = 0; i < 200; i++)); do
    [[ -e $1 && "$(<$1)" == *$2* ]] && return
    zpty -r -t z junk
    sleep 0.05
  done
  return 1
}
rm -f $HOME/zsh.{out,ready}
export KB_COMPLETION=$1
zpty z "zsh -f -i"
zpty -w z "source ${(q)0}"
until_there $HOME/zsh.ready || exit 4
zpty -w -n z "$2"$'\t\x14'
until_there $HOME/zsh.out '<end>' || exit 5
zpty -d z
line="$(<$HOME/zsh.out)"
print -r -- "${line%'<end>'}"
