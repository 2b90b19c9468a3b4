"""The requirements of the specification, one test each, a module a part of its text."""
