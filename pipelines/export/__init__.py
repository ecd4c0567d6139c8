"""A dataset as conversations for trainers elsewhere: TRL, LLaMA-Factory, ms-swift."""
