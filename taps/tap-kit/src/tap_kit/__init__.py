"""What the Singer taps of Dativo share."""
