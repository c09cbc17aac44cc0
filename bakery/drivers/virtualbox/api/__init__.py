"""The way to VirtualBox: VBoxManage run with deadlines, its answers read, its refusals translated."""
