"""A real VirtualBox for tests on hosts without its kernel module: everything is VirtualBox's own but the running guest.

`root` makes a folder with VirtualBox from Debian sid and runs its programs; `startvm_stand_in` is what the command
VBoxManage is there: it hands every verb on to the real one, and plays those that start, stop and look at a running
machine by booting the machine's real disk in QEMU.
"""
