"""From a machine that is off to an image, and from that to the user's own."""
