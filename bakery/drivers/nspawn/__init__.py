"""Machines that are containers on this host: provisioned at native speed, captured as bootable disks."""
