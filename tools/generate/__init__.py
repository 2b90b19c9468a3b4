"""Man pages, shell completions and docs/verbs.md, made from the table of verbs and flags (pyoci/cli/table.py)."""
