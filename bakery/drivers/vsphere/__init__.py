"""Images on VMware vSphere, in a vCenter or on an ESXi host: templates, and machines with a snapshot."""
