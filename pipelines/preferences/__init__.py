"""Preference pairs mined from a student's own rollouts on labelled rows."""
