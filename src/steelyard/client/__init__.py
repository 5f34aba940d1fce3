"""What a person's machine needs to talk to any compatible endpoint, ours or a vendor's. No server of ours required."""
