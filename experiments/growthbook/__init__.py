"""GrowthBook's own forms: what its SDKs read, and what its users bring along."""
