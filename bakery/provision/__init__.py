"""Other provisioning tools, driven from a task."""
