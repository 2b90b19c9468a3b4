"""The command line: one table of verbs and flags, a small parser over it, one module a verb."""
