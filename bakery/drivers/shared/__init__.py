"""What EC2 and OpenStack do alike: marks on resources, requests made once, connections, settings, retention."""
