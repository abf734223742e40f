"""The asset graph. An asset is a docstring and one call into the core; descriptions are in the catalogue."""
