"""Everything that imports Metamon or AMAGO."""
