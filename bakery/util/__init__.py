"""Ground floor, without a word of image building: waiting, retrying, running programs, whole files, sizes, times."""
