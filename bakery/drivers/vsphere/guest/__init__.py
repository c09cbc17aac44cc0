"""A way into a machine without a network: the guest operations of VMware Tools."""
