"""Rules that say when somebody is to be told."""
