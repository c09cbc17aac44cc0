# Runs one command in a guest that is reached by guest operations alone, which give a program no input and return no
# output: both are files beside this one, in pieces. For any POSIX shell: dash, bash, busybox.
#
# $1: the command's number, with which all its files begin: its line is in N.cmd.
# $2: how many pieces of input there are, N.in.0 and so on; `-` where they come until there is N.in.end.
# the rest: numbers of commands that have ended, whose files nobody needs any more.
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
cd "${0%/*}" || exit 1
n=$1 count=$2
shift 2
mkdir "$n.started" 2>/dev/null || exit 0 # we were asked once already; that answer was lost
for old; do rm -rf "$old".*; done

# What VMware Tools start belongs to their unit, and ends with it when a task installs a new version of them.
if grep -q -e vm-tools -e vmtoolsd /proc/self/cgroup 2>/dev/null; then
  for group in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    { echo 0 >"$group/cgroup.procs"; } 2>/dev/null
  done
fi

pause() { sleep 0.1 2>/dev/null || sleep 1; }

take() { # NAME: standard input becomes pieces, as it comes; no more than two that nobody has fetched
  i=0
  while :; do
    while [ -e "$n.$1.$((i - 2))" ]; do pause; done
    [ -e run ] || exit # the folder was removed
    dd bs=65536 count=64 of="$n.$1.$i" 2>/dev/null || { : >"$n.$1.lost"; exit; }
    [ -s "$n.$1.$i" ] || break
    i=$((i + 1))
  done
  : >"$n.$1.end"
}

give() { # the pieces of input, one after the other
  i=0
  while [ "$i" != "$count" ]; do
    if [ -e "$n.in.$i" ]; then
      cat "$n.in.$i" || exit
      rm -f "$n.in.$i"
      i=$((i + 1))
    elif [ -e "$n.in.end" ]; then
      [ -e "$n.in.$i" ] || exit
    else
      pause
    fi
    [ -e run ] && [ ! -e "$n.exit" ] || exit
  done
}

# What sshd gives to whoever logs in, so that a task sees the same.
user=$(id -un)
entry=$(getent passwd "$user" 2>/dev/null) || entry=$(grep "^$user:" /etc/passwd)
shell=${entry##*:} home=${entry%:*}
home=${home##*:}
[ "$(id -u)" = 0 ] || PATH=/usr/local/bin:/usr/bin:/bin:/usr/games
own=
! command -v setsid >/dev/null 2>&1 || own=setsid # a session of its own, by which it and all that it starts can be ended
run() {
  umask 022
  file=$PWD/$n.cmd
  cd /
  exec $own env -i PATH="$PATH" HOME="${home:-/}" USER="$user" LOGNAME="$user" SHELL="${shell:-/bin/sh}" /bin/sh "$file"
}

mkfifo "$n.o" "$n.e" || exit 1
take out <"$n.o" &
take err <"$n.e" &
if [ "$count" = 0 ]; then
  (run) </dev/null >"$n.o" 2>"$n.e"
else
  mkfifo "$n.i" || exit 1
  give >"$n.i" &
  (run) <"$n.i" >"$n.o" 2>"$n.e"
fi
echo $? >"$n.code"
mv "$n.code" "$n.exit"
