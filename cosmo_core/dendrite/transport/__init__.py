"""The link to the Synapse: encoding, middleware, subscriptions."""
