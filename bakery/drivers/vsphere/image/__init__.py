"""From a running machine to a template, or to a machine with a snapshot, under its final name."""
