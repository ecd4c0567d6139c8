"""What learns. Nothing here yet: SFT and DPO on the factory's datasets come next."""
