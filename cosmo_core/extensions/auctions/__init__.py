"""Offers of work: bids, awards and declines."""
