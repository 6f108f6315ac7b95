"""HTTP resources: one blueprint each, with its schemas in the same file."""
