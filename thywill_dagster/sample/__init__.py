"""A ThyWill v1 site of our own: a seeded generator and a damager with a ground truth."""
