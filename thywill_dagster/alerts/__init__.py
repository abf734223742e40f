"""Tells people: what began to fail, what still does, what is right again."""
