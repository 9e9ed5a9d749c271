"""Auctions: offers of work, bids, awards and declines."""
