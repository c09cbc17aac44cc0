#!/usr/bin/env bash
# xorriso 1.5.4, isoinfo of genisoimage 1.1.11 (both Debian 12)
#
# Guess:   `xorriso -indev FILE -ls` fails for a file that is no ISO image, or is not there.
# Seen:    exit 0 for a text file ("Media status : is written", volume id "ISOIMAGE", no nodes) and for a name that does
#          not exist; extracting "/" from the text file is a success, too, and makes an empty folder. isoinfo exits 255.
# Matters: a download that is an error page, or a path that is misspelt, goes through "can it be read" and through the
#          unpacking of an installer ISO; what fails is a later step that misses a kernel.
# Needs:   xorriso, isoinfo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '<html>404 Not Found</html>' >installer.iso
try() { # the exit code of a command, and its text in ./told
  local code=0
  "$@" >told 2>&1 || code=$?
  echo "$code"
}
listing=$(try xorriso -indev installer.iso -ls)
echo "a text file, -ls: exit $listing, $(grep 'Volume id' told | tr -s ' ')"
unpacking=$(try xorriso -osirrox on -indev installer.iso -extract / unpacked)
echo "a text file, -extract /: exit $unpacking, $(find unpacked -mindepth 1 | wc -l) files"
absent=$(try xorriso -indev no-such.iso -ls)
echo "no file at all, -ls: exit $absent"
other=$(try isoinfo -l -i installer.iso)
echo "isoinfo with the text file: exit $other"
[[ "$listing $unpacking $absent $other" == '0 0 0 255' ]]
