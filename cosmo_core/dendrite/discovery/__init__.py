"""Discovery: announcements, the directory of live Neurons, and the resolution of ids."""
