"""Work on a cluster: what the queue knows, how jobs end there, who cleans up, and launching."""
