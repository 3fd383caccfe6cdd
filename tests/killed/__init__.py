"""Commands that are killed at any moment leave the old results or the new ones, and nothing beside them."""
