"""An instance from its base image to the moment it lets us in."""
