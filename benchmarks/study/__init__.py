"""The learning study: relabelling and adaptation, measured; run by ``learning_study.py``."""
