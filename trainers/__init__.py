"""What learns: reward models, by SFT on the factory's datasets and by DPO on preferences."""
