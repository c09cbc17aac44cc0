"""How vCenter or a single ESXi host is spoken to: sessions, faults, tasks, the inventory, marks."""
