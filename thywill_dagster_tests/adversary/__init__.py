"""Sites that were made to be misread, and what a repair may and may not do to them."""
