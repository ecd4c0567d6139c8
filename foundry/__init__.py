"""What others import: rewards, evaluations, and a small drawn world with known truth."""
