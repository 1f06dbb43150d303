"""Model bundles: signed files that a device checks, tries on itself, switches to, watches, and can leave again."""
