"""Experimental patterns: vendors' files read, processed, rated, stored and chosen from."""
