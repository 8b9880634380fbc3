"""Pages: HTML that opens offline, and the figures, texts and theme that pages share. Nothing here knows a network."""
