"""Files that run inside Ansible's own process, which may be another Python: they import Ansible and nothing of ours."""
