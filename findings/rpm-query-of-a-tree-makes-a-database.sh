#!/usr/bin/env bash
# rpm 4.18.0 (Debian 12)
#
# Guess:   `rpm --root TREE -qa` reads; in a tree without rpm it prints nothing, or says that there is no database.
# Seen:    it makes one, TREE/root/.rpmdb/rpmdb.sqlite with two files beside it, prints nothing and exits 0, and
#          makes TREE/root where there was none. (The place is Debian's: its rpm keeps a database for each user.)
# Matters: whoever asks an unpacked image what it has, with rpm as one of several package managers, changes it:
#          Debian and Alpine trees get a database of rpm, which then is shipped, hashed and compared.
# Needs:   rpm.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rpm --version
mkdir -p "$work/tree/etc"
code=0
said=$(rpm --root "$work/tree" --query --all) || code=$?
made=$(cd "$work/tree" && find . -type f -printf '%P\n' | sort | tr '\n' ' ')
echo "exit $code, it printed '$said', and the tree now has: $made"
[[ $code -eq 0 && -z $said && $made == *root/.rpmdb/rpmdb.sqlite* ]]
