"""The success metrics as asset checks: each a sentence that should be true, and what it means if it is not.

A check is a signal, never the safety: every guard stands in the core as well. A check that had nothing to
look at does not pass.
"""
