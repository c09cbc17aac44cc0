"""A Glance image from its capture or upload to its retirement."""
