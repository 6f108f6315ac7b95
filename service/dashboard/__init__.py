"""Pages for analysts: rendered here, readable without JavaScript, on a phone and on paper."""
