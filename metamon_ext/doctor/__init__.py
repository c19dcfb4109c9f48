"""`metamon-ext doctor`: what is installed, what of it cannot work, and the cure."""
