"""Machines of VirtualBox on this host, and images for it: OVA, OVF, VDI, VMDK, VHD."""
