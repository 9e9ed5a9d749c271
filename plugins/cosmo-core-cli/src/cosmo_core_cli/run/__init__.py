"""`cosmo run`: host Neurons and Engrams on a bus."""
