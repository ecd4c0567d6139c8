"""What is asked of a scored row before it may stand in a dataset. A gate keeps or rejects."""
