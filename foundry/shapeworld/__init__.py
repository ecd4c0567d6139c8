"""A world of drawn shapes: rows whose truth is known, and a small judge that sees them."""
