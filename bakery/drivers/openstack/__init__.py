"""Images on OpenStack: servers, volumes, Glance images, and what belongs to them."""
