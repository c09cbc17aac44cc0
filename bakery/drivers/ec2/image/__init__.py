"""An AMI from its capture to its retirement: copies, shares, fast launch, checkpoints."""
