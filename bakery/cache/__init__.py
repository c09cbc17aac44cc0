"""Not doing again what has not changed."""
