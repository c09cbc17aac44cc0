"""What a step depends on: its code, and every file, value and module that it was seen to read."""
