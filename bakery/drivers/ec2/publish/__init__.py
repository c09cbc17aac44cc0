"""How an image that was made here becomes an AMI."""
