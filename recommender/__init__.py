"""What to show to whom, and when: pure functions over arrays; LightFM in one file."""
