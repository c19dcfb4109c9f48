"""`metamon-ext doctor`: check the installation, and print a fix for each failed check."""
