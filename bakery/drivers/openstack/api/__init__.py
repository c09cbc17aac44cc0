"""How an OpenStack is called: the cloud, its errors, resources and tags."""
