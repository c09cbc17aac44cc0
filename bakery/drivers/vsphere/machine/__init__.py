"""A machine from what it is cloned from to the moment it lets us in."""
