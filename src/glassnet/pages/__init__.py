"""Pages: HTML that opens offline, and the figures, texts and theme that pages share. They do not depend on networks."""
