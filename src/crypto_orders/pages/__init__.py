"""What all pages share: one look, one frame of HTML, one way to draw, and the files that browsers load."""
