"""Documents made of other documents in bulk: builders of maggma, and their parallel run."""
