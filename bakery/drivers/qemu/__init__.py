"""Local virtual machines: QEMU on this host, accelerated where that works."""
