"""Rewards for GRPO: formulas, a server over vLLM, and adapters for trainers."""
