"""A world of drawn shapes: rows for the demo, and a tiny judge that a real server can load."""
