"""From a source or an image to a virtual machine that runs, and how it is reached and powered off."""
