"""Every figure that the data of a campaign or a training run supports, with what is said of it."""
