"""What a task holds in its hand: the machine, its commands and files, and the way to it (`transport`)."""
