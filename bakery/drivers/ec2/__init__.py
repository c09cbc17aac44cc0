"""Images on Amazon EC2: instances, AMIs, and what belongs to them."""
