"""`cosmo new`: create the distribution of a plugin, ready to publish."""
