"""`cosmo new`: create an application, or the distribution of a plugin, ready to publish."""
