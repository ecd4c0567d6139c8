"""GRPO on ShapeWorld: a tiny policy writes scenes, the reward server scores their pictures."""
